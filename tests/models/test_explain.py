"""Explanations add up, are alike for like atoms, and say what they are measured from."""

import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError
from nanoos.features.packed import PackedGraphs
from nanoos.models import ALIGNNModel, CGCNNModel, explain, get_model
from nanoos.models.catalog import BestModels
from nanoos.models.explain import BASELINE, baseline_vectors
from nanoos.structures import Structure
from nanoos.testing.checkpoints import tiny_checkpoint
from nanoos.testing.crystals import perturbed, rocksalt

TARGETS = ("bandgap", "formation_energy", "e_above_hull_subset", "bulk_modulus", "is_metal")


@pytest.fixture(scope="module", params=["CGCNN", "ALIGNN"])
def model(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    tiny_checkpoint(path, family=request.param, targets=TARGETS, calibrated=False)
    return {"CGCNN": CGCNNModel, "ALIGNN": ALIGNNModel}[request.param]([path])


def test_contributions_add_up_to_the_prediction_minus_the_baseline(model):
    structure = perturbed(rocksalt(4.3, "Ti", "C"))
    found = explain(model, structure)
    assert set(found) == set(TARGETS)
    predicted = model.predict([structure])[0].properties
    for name, one in found.items():
        assert sum(one.atoms) == pytest.approx(one.value - one.baseline, rel=1e-6, abs=1e-9)
        assert sum(one.elements.values()) == pytest.approx(sum(one.atoms))
        assert len(one.atoms) == structure.n_sites
        if one.value > 0:  # no bound was applied
            assert one.value == pytest.approx(predicted[name].value, rel=1e-4)
        assert any(abs(contribution) > 1e-6 for contribution in one.atoms)


def test_symmetry_equivalent_atoms_contribute_alike(model):
    crystal = rocksalt()
    doubled = Structure(
        lattice=crystal.lattice * [[1], [1], [2]],
        species=crystal.species * 2,
        frac_coords=np.vstack([crystal.frac_coords, crystal.frac_coords + np.array([0, 0, 1])])
        / [1, 1, 2],
    )
    one = explain(model, crystal)["bandgap"]
    two = explain(model, doubled)["bandgap"]
    assert two.atoms[0] == pytest.approx(two.atoms[2], rel=1e-4)
    assert two.atoms[1] == pytest.approx(two.atoms[3], rel=1e-4)
    assert two.elements["Mg"] == pytest.approx(one.elements["Mg"], rel=1e-4)
    assert one.atoms[0] != pytest.approx(one.atoms[1], rel=1e-3)


def test_the_baseline_is_the_training_mean_where_the_checkpoint_has_it(tmp_path):
    crystals = [rocksalt(4.2), rocksalt(5.6, "Na", "Cl")]
    tiny_checkpoint(tmp_path / "a.safetensors", calibrated=False)
    bare = CGCNNModel([tmp_path / "a.safetensors"])
    assert explain(bare, rocksalt())["bandgap"].baseline_kind == "zero vector"
    mean = baseline_vectors(bare.predictors[0], PackedGraphs.from_structures(crystals))
    assert mean.shape == (2, 8)
    tiny_checkpoint(tmp_path / "b.safetensors", calibrated=False, arrays={BASELINE: mean})
    model = CGCNNModel([tmp_path / "b.safetensors"])
    one = explain(model, rocksalt())["formation_energy"]
    assert one.baseline_kind == "training mean"
    assert sum(one.atoms) == pytest.approx(one.value - one.baseline, rel=1e-6, abs=1e-9)


def test_of_several_models_the_graph_networks_are_explained(model):
    together = BestModels(
        {model.name: model, "CHGNet": get_model("CHGNet")},
        {"bandgap": model.name, "formation_energy": "CHGNet"},
    )
    assert set(explain(together, rocksalt())) == {"bandgap"}
    assert set(explain(model, rocksalt(), ["is_metal"])) == {"is_metal"}


def test_what_cannot_be_explained_says_so(model):
    with pytest.raises(InvalidInputError) as caught:
        explain(get_model("STUB"), rocksalt())
    assert caught.value.error_code == "not_explainable"
