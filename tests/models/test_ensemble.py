"""ENSEMBLE: pooled only where numbers mean the same; intervals keep their level."""

import atexit
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.core.records import LevelOfTheory, PropertyValue
from nanoos.models import ALIGNNModel, CGCNNModel, ModelCatalog
from nanoos.models.checkpoints import (
    join_checkpoints,
    load_checkpoint,
    read_header,
    save_checkpoint,
)
from nanoos.models.ensemble import EnsembleModel, combine
from nanoos.models.explain import explain
from nanoos.models.graph_network import JoinedNetworksModel
from nanoos.models.sampled_uncertainty import predict_with_uncertainty
from nanoos.testing.checkpoints import tiny_checkpoint
from nanoos.testing.crystals import rocksalt
from nanoos.testing.models import ModelContract

PBE = LevelOfTheory(functional="PBE", corrections="none", reference="none")


@cache
def small_catalog() -> ModelCatalog:
    folder = Path(mkdtemp())
    atexit.register(shutil.rmtree, folder)
    tiny_checkpoint(folder / "c.safetensors", targets=("bandgap", "formation_energy"))
    tiny_checkpoint(folder / "a.safetensors", family="ALIGNN", targets=("bandgap",), seed=1)
    return ModelCatalog(
        {
            "CGCNN": CGCNNModel([folder / "c.safetensors"]),
            "ALIGNN": ALIGNNModel([folder / "a.safetensors"]),
            "ENSEMBLE": JoinedNetworksModel([]),
        }
    )


@pytest.fixture
def catalog() -> ModelCatalog:
    return small_catalog()


class TestEnsembleContract(ModelContract):
    name = "ENSEMBLE"

    @classmethod
    def make(cls):
        return small_catalog().get("ENSEMBLE")


@cache
def joined_file() -> Path:
    """CGCNN and ALIGNN in one checkpoint, with a measured error, as one that is shipped."""
    folder = Path(mkdtemp())
    atexit.register(shutil.rmtree, folder)
    parts = []
    for seed, family in enumerate(("CGCNN", "ALIGNN")):
        path = folder / f"{family}.safetensors"
        tiny_checkpoint(path, family=family, seed=seed, calibrated=False)
        parts.append(load_checkpoint(path))
    tiny_checkpoint(folder / "metrics.safetensors")
    metrics = load_checkpoint(folder / "metrics.safetensors").header.metrics
    path = folder / "ensemble.safetensors"
    save_checkpoint(path, join_checkpoints(parts, name="ensemble").with_header(metrics=metrics))
    return path


def value(number, sigma=None, half=None, **more):
    quantiles = {} if half is None else {0.8: (number - half, number + half)}
    return PropertyValue(
        value=number, unit="eV", sigma=sigma, quantiles=quantiles, level_of_theory=PBE, **more
    )


def test_members_weigh_by_their_variance_and_disagreement_widens_sigma():
    both = combine([value(1.0, 0.1), value(2.0, 0.2)])
    assert both.value == pytest.approx((1.0 * 4 + 2.0) / 5)
    own = (4 * 0.1**2 + 0.2**2) / 5
    apart = (4 * 0.2**2 + 0.8**2) / 5
    assert both.sigma == pytest.approx(np.sqrt(own + apart))
    assert combine([value(1.0, 0.1), value(2.0, 0.2)], weighting="mean").value == 1.5
    alike = combine([value(1.0, 0.1), value(1.0, 0.1)])
    assert alike.sigma == pytest.approx(0.1)  # errors are not independent: not 0.1 / sqrt(2)


def test_without_sigmas_only_the_disagreement_is_known():
    both = combine([value(1.0, 0.1), value(2.0)])
    assert (both.value, both.sigma) == (1.5, pytest.approx(0.5))
    assert both.quantiles == {}
    assert combine([value(1.0), value(1.0)]).sigma is None


def test_the_interval_holds_those_of_all_calibrated_members():
    both = combine([value(1.0, 0.1, half=0.3), value(2.0, 0.2, half=0.1), value(5.0, 1.0)])
    assert both.quantiles == {0.8: (pytest.approx(0.7), pytest.approx(2.1))}
    assert both.confidence is None
    far = combine([value(1.0, half=0.1), value(9.0)])
    assert far.quantiles[0.8][1] == far.value  # never beside its own prediction


def test_coverage_of_the_hull_is_at_least_that_of_the_best_member():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=4000)
    inside = 0
    for number in truth:
        members = [value(float(number + rng.normal(0, s)), s, half=1.2816 * s) for s in (0.3, 0.5)]
        low, high = combine(members).quantiles[0.8]
        inside += low <= number <= high
    assert inside / len(truth) > 0.8


def test_unlike_numbers_are_never_combined():
    other = LevelOfTheory(functional="r2SCAN", corrections="none", reference="none")
    with pytest.raises(InvalidInputError) as caught:
        combine([value(1.0), PropertyValue(value=1.0, unit="eV", level_of_theory=other)])
    assert caught.value.error_code == "unlike_quantities"
    with pytest.raises(InvalidInputError):
        combine([value(1.0), PropertyValue(value=1.0, unit="meV", level_of_theory=PBE)])


def test_a_missing_number_and_flags():
    both = combine([value(1.0, 0.1, out_of_domain=False), value(None, out_of_domain=True)])
    assert (both.value, both.out_of_domain) == (1.0, True)
    assert combine([value(None), value(None)]).value is None


def test_only_properties_of_two_members_on_one_level(catalog):
    ensemble = catalog.get("ENSEMBLE")
    info = ensemble.info()
    assert "bandgap" in info.supported_properties
    members = {name: {one.name for one in infos} for name, infos in ensemble.groups().items()}
    assert members["bandgap"] >= {"CGCNN", "ALIGNN"}
    assert "CHGNet" not in members.get("formation_energy", ())  # another reference
    prediction = ensemble.predict([rocksalt()])[0]
    each = [
        catalog.get(name).predict([rocksalt()])[0].properties["bandgap"]
        for name in members["bandgap"]
    ]
    low, high = prediction.properties["bandgap"].interval(0.9)
    for one in each:
        assert low <= one.interval(0.9)[0] <= one.interval(0.9)[1] <= high


def test_networks_of_several_architectures_share_a_checkpoint():
    header = read_header(joined_file())
    assert (header.family, header.n_members) == ("ENSEMBLE", 4)
    assert [kind.family for kind in header.architectures()] == ["CGCNN"] * 2 + ["ALIGNN"] * 2
    both = JoinedNetworksModel([joined_file()]).predict([rocksalt()])[0].properties
    each = [
        model([joined_file().with_name(f"{model.family}.safetensors")])
        .predict([rocksalt()])[0]
        .properties["formation_energy"]
        for model in (CGCNNModel, ALIGNNModel)
    ]
    assert both["formation_energy"].value == pytest.approx(np.mean([one.value for one in each]))
    other = joined_file().with_name("other.safetensors")
    tiny_checkpoint(other, targets=("bandgap",), calibrated=False)
    unlike = [load_checkpoint(joined_file()), load_checkpoint(other)]
    with pytest.raises(InvalidInputError) as caught:
        join_checkpoints(unlike, name="x")
    assert caught.value.error_code == "unlike_checkpoints"


def test_networks_that_were_calibrated_together_answer_unless_others_are_active(no_shipped_models):
    joined = JoinedNetworksModel([joined_file()])
    ensemble = EnsembleModel(ModelCatalog(), joined=joined)
    info = ensemble.info()
    assert set(info.weights) == {"bandgap", "formation_energy"}
    assert info.weights["bandgap"].name == "ensemble_bandgap_v1"
    said = ensemble.predict([rocksalt()])[0].properties
    alone = joined.predict([rocksalt()])[0].properties
    assert {name: said[name].value for name in alone} == {n: v.value for n, v in alone.items()}
    assert ensemble.narrowed(["bandgap"]).info().name == "ENSEMBLE"
    assert set(explain(ensemble, rocksalt())) == {"bandgap", "formation_energy"}
    sampled = predict_with_uncertainty(ensemble, rocksalt(), method="ensemble")
    assert len(sampled["bandgap"].samples) == 4

    active = EnsembleModel(small_catalog(), joined=joined)
    assert set(active.info().weights) == set()
    assert "bandgap" in active.groups()


def test_only_what_was_measured_together_is_a_default(no_shipped_models):
    replaced = {"ENSEMBLE": JoinedNetworksModel([joined_file()])}
    assert ModelCatalog(replaced).defaults()["formation_energy"] == "ENSEMBLE"
    replaced |= {name: small_catalog().get(name) for name in ("CGCNN", "ALIGNN")}
    assert "ENSEMBLE" not in ModelCatalog(replaced).defaults().values()


def test_nothing_to_combine_says_so():
    ensemble = EnsembleModel(ModelCatalog({"CGCNN": CGCNNModel([]), "ALIGNN": ALIGNNModel([])}))
    if not ensemble.info().available:
        with pytest.raises(UnavailableError):
            ensemble.predict([rocksalt()])
