"""Which model answers, and with which weights."""

from dataclasses import replace

import pytest

from nanoos.core.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from nanoos.models import (
    MODEL_REGISTRY,
    ALIGNNModel,
    CGCNNModel,
    MeanModel,
    ModelCatalog,
    default_models,
    get_model,
    list_models,
    predict_properties_for_structure,
    register_model,
)
from nanoos.models.catalog import BestModels
from nanoos.models.checkpoint_predictor import LoadedCheckpoints
from nanoos.models.graph_network import JoinedNetworksModel
from nanoos.testing.checkpoints import tiny_checkpoint
from nanoos.testing.crystals import rocksalt

NO_JOINED = {"ENSEMBLE": JoinedNetworksModel([])}
NO_NETWORKS = {"CGCNN": CGCNNModel([]), "ALIGNN": ALIGNNModel([]), **NO_JOINED}


class Gap(MeanModel):
    """A model without intervals."""

    name = "GapModel"

    def info(self):
        return replace(super().info(), not_for_decisions=False)


@pytest.fixture
def gap_model():
    register_model("GapModel", lambda: Gap("bandgap", [1.0, 3.0], unit="eV"))
    yield
    MODEL_REGISTRY.unregister("GapModel")


@pytest.fixture
def bare():
    """The catalog of an installation without checkpoints of our own."""
    return ModelCatalog(NO_NETWORKS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights")
    tiny_checkpoint(
        path / "c.safetensors",
        targets=("bandgap", "formation_energy", "e_above_hull_subset"),
        mae=0.3,
    )
    tiny_checkpoint(path / "k.safetensors", targets=("bulk_modulus",), name="k", version="2")
    tiny_checkpoint(path / "a.safetensors", family="ALIGNN", targets=("bandgap",), mae=0.2)
    return path


@pytest.fixture(scope="module")
def networks(folder):
    return ModelCatalog(
        {
            "CGCNN": CGCNNModel([folder / "c.safetensors", folder / "k.safetensors"]),
            "ALIGNN": ALIGNNModel([folder / "a.safetensors"]),
            **NO_JOINED,
        }
    )


def test_reference_members_are_never_a_default(bare):
    assert bare.defaults() == {"formation_energy": "CHGNet"}
    assert not {"STUB", "MEAN"} & set(default_models().values())


def test_next_best_answers_where_the_best_is_missing(bare, monkeypatch):
    from nanoos.models import formation_energy

    real = formation_energy.packaged_weights
    monkeypatch.setattr(
        formation_energy, "packaged_weights", lambda n: None if n == "CHGNet" else real(n)
    )
    assert bare.defaults() == {"formation_energy": "SevenNet"}


def test_calibrated_networks_come_first_and_the_smaller_measured_error_leads(networks):
    assert networks.defaults() == {
        "bandgap": "ALIGNN",
        "bulk_modulus": "CGCNN",
        "e_above_hull_subset": "CGCNN",
        "formation_energy": "CGCNN",
        "stability_score": "CGCNN",
    }


def test_an_error_measured_on_seen_crystals_counts_for_nothing(networks):
    flattered = networks.get("ALIGNN").info()
    (error,) = flattered.test_error["bandgap"]
    seen = replace(flattered, test_error={"bandgap": (replace(error, seen_in_training=True),)})

    class Seen:
        def info(self):
            return seen

    catalog = ModelCatalog({"CGCNN": networks.get("CGCNN"), "ALIGNN": Seen(), **NO_JOINED})
    assert catalog.defaults()["bandgap"] == "CGCNN"


def test_a_default_prediction_takes_each_property_from_its_best_model(networks, monkeypatch):
    def refused(*_, **__):
        pytest.fail("a universal potential ran although the networks answer everything")

    monkeypatch.setattr(type(get_model("CHGNet")), "predict", refused)
    model = networks.best()
    assert isinstance(model, BestModels)
    (found,) = model.predict([rocksalt()])
    info = model.info()
    assert found.provenance.producer == info.name == "ALIGNN+CGCNN"
    assert found.provenance.weights_sha256 == info.weights_sha256
    gap = networks.get("ALIGNN").predict([rocksalt()])[0].properties["bandgap"]
    assert found.properties["bandgap"] == gap
    assert found.properties["formation_energy"].interval(0.9) is not None
    assert info.weights["bandgap"].name == "alignn_bandgap_v1"
    assert info.weights["bulk_modulus"].name == "cgcnn_bulk_modulus_v2"
    assert info.weights["stability_score"].name == "cgcnn_e_above_hull_subset_v1"


def test_only_the_weights_that_are_needed_are_used(networks, folder):
    model = networks.best(["bandgap", "bulk_modulus"])
    assert model.models["CGCNN"].files == (folder / "k.safetensors",)
    assert set(model.predict([rocksalt()])[0].properties) == {"bandgap", "bulk_modulus"}
    score = networks.get("CGCNN").narrowed(["stability_score"])
    assert score.files == (folder / "c.safetensors",)
    with pytest.raises(InvalidInputError, match="colour"):
        networks.best(["colour"])
    with pytest.raises(InvalidInputError):
        networks.get("ALIGNN").narrowed(["bulk_modulus"])


def test_the_card_figures_are_in_the_info(networks):
    info = networks.get("CGCNN").info()
    (error,) = info.test_error["bandgap"]
    assert (error.mae, error.n, error.seen_in_training) == (0.3, 500, False)
    assert error.mae_interval == pytest.approx((0.27, 0.33))
    assert info.calibration["bandgap"][0.9] == 0.91
    assert info.calibration["stability_score"] == info.calibration["e_above_hull_subset"]
    assert info.sigma_rank_correlation["bandgap"] == 0.5


def test_the_first_file_gives_a_property_and_the_hash_covers_all(folder):
    files = [folder / "c.safetensors", folder / "k.safetensors"]
    both = CGCNNModel(files)
    assert both.info().version == "1+2"
    assert both.weights_sha256 != CGCNNModel(files[:1]).weights_sha256
    assert both.weights_sha256 == CGCNNModel(files[::-1]).weights_sha256  # share no property


def test_loaded_checkpoints_are_kept_by_hash_and_the_oldest_goes(folder):
    kept = LoadedCheckpoints(kept=1)
    first = kept.get(folder / "c.safetensors", "c")
    assert kept.get(folder / "c.safetensors", "c") is first
    kept.get(folder / "k.safetensors", "k")
    assert kept.get(folder / "c.safetensors", "c") is not first


def test_several_defaults_are_merged_property_by_property(gap_model, bare):
    prediction = bare.predict([rocksalt()])[0]
    assert prediction.properties["bandgap"].value == pytest.approx(2.0)
    assert "formation_energy" in prediction.properties
    assert prediction.provenance.parameters["models"]["bandgap"] == "GapModel"
    assert prediction.provenance.producer == "CHGNet+GapModel"
    with pytest.raises(ConflictError):
        register_model("gapmodel", MeanModel)


def test_stub_only_by_name():
    assert (
        predict_properties_for_structure(rocksalt(), "stub", structure_id="x")
        == get_model("STUB").predict([rocksalt()], ids=["x"])[0]
    )


def test_unknown_and_unavailable_models(bare):
    with pytest.raises(NotFoundError, match="CHGNot") as caught:
        predict_properties_for_structure(rocksalt(), "CHGNot")
    assert "CHGNet" in caught.value.hint
    with pytest.raises(UnavailableError, match="not fitted"):
        predict_properties_for_structure(rocksalt(), "MEAN")
    with pytest.raises(UnavailableError) as missing:
        bare.predict([rocksalt()], model_name="CGCNN")
    assert missing.value.hint == "nanoos train CONFIG.yaml"


def test_list_names_reason_and_command_of_what_is_missing():
    infos = {info.name: info for info in list_models()}
    assert set(infos) >= {"ALIGNN", "CGCNN", "CHGNet", "ENSEMBLE", "MEAN", "STUB", "SevenNet"}
    assert infos["MEAN"].unavailable_reason
    assert infos["CHGNet"].weights_sha256 != infos["SevenNet"].weights_sha256
    assert "MPtrj" in infos["CHGNet"].seen_in_training
