import pytest

from nanoos.core.errors import ConflictError, NotFoundError, UnavailableError
from nanoos.models import (
    MODEL_REGISTRY,
    MeanModel,
    default_models,
    get_model,
    list_models,
    predict_properties_for_structure,
    register_model,
)
from nanoos.testing.crystals import rocksalt


def test_reference_members_are_never_a_default():
    assert default_models() == {"formation_energy": "CHGNet"}


def test_default_prediction_is_that_of_the_default_model():
    prediction = predict_properties_for_structure(rocksalt())
    assert prediction.provenance.producer == "CHGNet"
    assert not prediction.not_for_decisions


def test_next_best_answers_where_the_best_is_missing(monkeypatch):
    from nanoos.models import formation_energy

    real = formation_energy.packaged_weights
    monkeypatch.setattr(
        formation_energy, "packaged_weights", lambda n: None if n == "CHGNet" else real(n)
    )
    assert default_models() == {"formation_energy": "SevenNet"}


def test_several_defaults_are_merged_property_by_property(monkeypatch):
    class Gap(MeanModel):
        name = "GapModel"

        def info(self):
            from dataclasses import replace

            return replace(super().info(), not_for_decisions=False)

    register_model("GapModel", lambda: Gap("bandgap", [1.0, 3.0], unit="eV"))
    try:
        prediction = predict_properties_for_structure(rocksalt())
        assert prediction.properties["bandgap"].value == pytest.approx(2.0)
        assert "formation_energy" in prediction.properties
        assert prediction.provenance.parameters["models"]["bandgap"] == "GapModel"
        with pytest.raises(ConflictError):
            register_model("gapmodel", MeanModel)
    finally:
        MODEL_REGISTRY.unregister("GapModel")


def test_stub_only_by_name():
    assert (
        predict_properties_for_structure(rocksalt(), "stub", structure_id="x")
        == get_model("STUB").predict([rocksalt()], ids=["x"])[0]
    )


def test_unknown_and_unavailable_models():
    with pytest.raises(NotFoundError, match="CHGNot") as caught:
        predict_properties_for_structure(rocksalt(), "CHGNot")
    assert "CHGNet" in caught.value.hint
    with pytest.raises(UnavailableError, match="not fitted"):
        predict_properties_for_structure(rocksalt(), "MEAN")


def test_list_names_reason_and_command_of_what_is_missing():
    infos = {info.name: info for info in list_models()}
    assert set(infos) >= {"CHGNet", "SevenNet", "STUB", "MEAN"}
    assert infos["MEAN"].unavailable_reason
    assert infos["CHGNet"].weights_sha256 != infos["SevenNet"].weights_sha256
    assert "MPtrj" in infos["CHGNet"].seen_in_training
