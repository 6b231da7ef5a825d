"""CGCNN and ALIGNN as property models."""

import atexit
import shutil
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError
from nanoos.core.records import PropertyValue
from nanoos.models import ALIGNNModel, CGCNNModel
from nanoos.models.checkpoint_model import TargetWeights
from nanoos.models.likely_metals import without_index_of_metals
from nanoos.structures import Structure
from nanoos.testing.checkpoints import tiny_checkpoint
from nanoos.testing.crystals import rocksalt
from nanoos.testing.models import ModelContract

TARGETS = ("bandgap", "formation_energy", "e_above_hull_subset", "bulk_modulus", "is_metal")


def _folder() -> Path:
    folder = Path(mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return folder


class TestCGCNN(ModelContract):
    name = "CGCNN"
    tolerance = 2e-2  # the untrained logarithm of a modulus is large

    @classmethod
    def make(cls):
        path = _folder() / "c.safetensors"
        tiny_checkpoint(path, targets=TARGETS)
        return CGCNNModel([path])


class TestALIGNN(ModelContract):
    name = "ALIGNN"

    @classmethod
    def make(cls):
        path = _folder() / "a.safetensors"
        tiny_checkpoint(path, family="ALIGNN", targets=TARGETS[:3], domain=True)
        return ALIGNNModel([path])

    def test_what_is_outside_the_domain_is_flagged_and_its_interval_widens(self, model):
        crystal = rocksalt()
        apart = Structure(
            lattice=crystal.lattice * 3, species=crystal.species, frac_coords=crystal.frac_coords
        )
        inside, outside = (
            p.properties["formation_energy"] for p in model.predict([crystal, apart])
        )
        assert outside.out_of_domain
        assert any("Outside" in note for note in model.predict([apart])[0].notes)
        widths = [np.subtract(*one.interval(0.9)[::-1]) for one in (inside, outside)]
        assert widths[1] > widths[0]


@pytest.mark.parametrize("family", [CGCNNModel, ALIGNNModel])
def test_intervals_do_not_depend_on_what_else_is_asked(tmp_path, family):
    tiny_checkpoint(tmp_path / "w.safetensors", family=family.family)
    model = family([tmp_path / "w.safetensors"])
    structures = [rocksalt(4.0 + 0.1 * i) for i in range(5)]
    for alone, together in zip(structures, model.predict(structures), strict=True):
        (single,) = model.predict([alone])
        for name, value in single.properties.items():
            assert value.sigma == pytest.approx(together.properties[name].sigma, rel=1e-4)
            assert value.confidence == pytest.approx(together.properties[name].confidence, rel=1e-4)


def test_the_stability_score_follows_the_hull(tmp_path):
    tiny_checkpoint(tmp_path / "c.safetensors", targets=("e_above_hull_subset",))
    found = CGCNNModel([tmp_path / "c.safetensors"]).predict([rocksalt()])[0].properties
    hull, score = found["e_above_hull_subset"], found["stability_score"]
    assert score.value == pytest.approx(np.exp(-hull.value / 0.1))
    low, high = hull.interval(0.9)
    assert score.interval(0.9) == pytest.approx((np.exp(-high / 0.1), np.exp(-max(low, 0) / 0.1)))
    assert 0.0 <= score.confidence <= 1.0


def test_each_property_comes_from_the_weights_assigned_to_it(tmp_path):
    for seed in (0, 1):
        tiny_checkpoint(tmp_path / f"{seed}.safetensors", seed=seed, calibrated=False)
    one, two = (CGCNNModel([tmp_path / f"{seed}.safetensors"]) for seed in (0, 1))
    mixed = CGCNNModel(
        targets={
            "bandgap": TargetWeights(path=one.files[0], name="mine", version="7"),
            "formation_energy": TargetWeights(path=two.files[0], name="other", version="7"),
        }
    )
    said = [model.predict([rocksalt()])[0].properties for model in (one, two, mixed)]
    assert said[2]["bandgap"] == said[0]["bandgap"]
    assert said[2]["formation_energy"] == said[1]["formation_energy"]
    assert said[2]["formation_energy"] != said[0]["formation_energy"]
    assert mixed.info().weights["bandgap"].name == "mine"


def test_elements_beyond_the_table_are_refused(tmp_path):
    tiny_checkpoint(tmp_path / "c.safetensors", calibrated=False)
    with pytest.raises(InvalidInputError) as caught:
        CGCNNModel([tmp_path / "c.safetensors"]).predict([rocksalt(6.0, "Rf", "O")])
    assert caught.value.error_code == "unknown_element"


def test_the_refractive_index_of_a_metal_is_marked():
    values = {
        name: PropertyValue(value=value, unit="1", out_of_domain=False)
        for name, value in (("is_metal", 0.9), ("refractive_index", 6.0), ("bandgap", 0.0))
    }
    marked, notes = without_index_of_metals(values)
    assert marked["refractive_index"].out_of_domain
    assert not marked["bandgap"].out_of_domain
    assert notes[0].startswith("Outside the domain (refractive index)")
    insulator = values | {"is_metal": PropertyValue(value=0.1, unit="1")}
    assert without_index_of_metals(insulator) == (insulator, ())
    assert without_index_of_metals({"bandgap": values["bandgap"]})[1] == ()
