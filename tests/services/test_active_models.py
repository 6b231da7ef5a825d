"""The weights that are active in a laboratory answer, and changing them takes effect at once."""

import uuid

import pytest
from sqlalchemy import func, select
from stored_models import add_model

from nanoos.core.errors import NotFoundError, UnavailableError
from nanoos.db import PredictionTable
from nanoos.models.checkpoint_predictor import LOADED
from nanoos.models.graph_network import CGCNNModel
from nanoos.services.access import LOCAL_PRINCIPAL
from nanoos.services.container import Services
from nanoos.testing.crystals import rocksalt

pytestmark = pytest.mark.usefixtures("no_shipped_models")


@pytest.fixture
def lab(services_on_both: Services) -> Services:
    return services_on_both


@pytest.fixture
def mgo(lab: Services) -> uuid.UUID:
    return lab.structures.add(rocksalt(), LOCAL_PRINCIPAL, source={"kind": "test"})[0].id


def test_a_family_answers_each_property_with_its_active_row(lab, mgo, tmp_path):
    first = add_model(lab, tmp_path, targets=("bandgap", "formation_energy"))
    add_model(lab, tmp_path, targets=("bandgap",), name="other", version="2", active=False, seed=1)
    before = lab.predictions.predict(mgo, LOCAL_PRINCIPAL, model_name="cgcnn")
    weights = before.metadata["weights"]
    assert weights["bandgap"]["name"] == "mine_bandgap"
    assert weights["bandgap"]["sha256"] == lab.models.get(first["bandgap"]).weights_sha256

    lab.models.activate("other_bandgap", LOCAL_PRINCIPAL)
    lab.predictions.forget()  # otherwise within 2 s
    after = lab.predictions.predict(mgo, LOCAL_PRINCIPAL, model_name="CGCNN")
    assert not after.cached
    assert after.metadata["weights"]["bandgap"]["name"] == "other_bandgap"
    assert after.metadata["weights"]["formation_energy"] == weights["formation_energy"]
    assert after.properties["bandgap"] != before.properties["bandgap"]
    same = pytest.approx(before.properties["formation_energy"], abs=1e-6)  # summed elsewhere
    assert after.properties["formation_energy"] == same

    lab.models.activate("mine_bandgap", LOCAL_PRINCIPAL)
    lab.predictions.forget()
    again = lab.predictions.predict(mgo, LOCAL_PRINCIPAL, model_name="CGCNN")
    assert (again.id, again.cached) == (before.id, True)


def test_the_default_uses_the_active_weights_and_any_level_is_in_the_row(lab, mgo, tmp_path):
    add_model(lab, tmp_path)
    record = lab.predictions.predict(mgo, LOCAL_PRINCIPAL)
    assert set(record.properties) >= {"bandgap", "formation_energy", "stability_score"}
    for name in ("bandgap", "formation_energy", "bulk_modulus", "stability_score"):
        assert record.metadata["weights"][name]["sha256"]
        wide, narrow = record.intervals(0.95)[name], record.intervals(0.7)[name]
        assert wide.lower <= narrow.lower <= narrow.upper <= wide.upper
        assert record.metadata["level_of_theory"][name]["functional"] == "PBE"


def test_a_row_answers_by_its_own_name(lab, mgo, tmp_path):
    add_model(lab, tmp_path, targets=("bandgap", "formation_energy"), active=False)
    record = lab.predictions.predict(mgo, LOCAL_PRINCIPAL, model_name="mine_bandgap")
    assert record.model_name == "mine_bandgap"
    assert set(record.properties) == {"bandgap"}
    by_name = {known.name: known for known in lab.predictions.models()}
    assert by_name["mine_bandgap"].available
    assert by_name["mine_bandgap"].metrics["mae_interval"] == pytest.approx([0.09, 0.11])
    with pytest.raises(NotFoundError):
        lab.predictions.predict(mgo, LOCAL_PRINCIPAL, model_name="mine_colour")


def test_weights_that_are_gone_leave_the_other_properties(lab, mgo, tmp_path):
    add_model(lab, tmp_path, targets=("bandgap",))
    add_model(lab, tmp_path, targets=("formation_energy",), name="lost", seed=3)
    row = lab.models.find("lost_formation_energy")
    (lab.runs_dir.parent / "trained" / f"{row.weights_sha256}.safetensors").unlink()
    record = lab.predictions.predict(mgo, LOCAL_PRINCIPAL, model_name="CGCNN")
    assert "bandgap" in record.properties
    assert "formation_energy" not in record.properties
    with pytest.raises(UnavailableError):
        lab.predictions.predict(mgo, LOCAL_PRINCIPAL, model_name="lost_formation_energy")


def test_a_batch_goes_through_the_network_together(lab, tmp_path, monkeypatch):
    add_model(lab, tmp_path, targets=("bandgap",))
    ids = [
        lab.structures.add(crystal, LOCAL_PRINCIPAL, source={"kind": "test"})[0].id
        for crystal in (rocksalt(), rocksalt(6.5, "Rf", "O"), rocksalt(5.6, "Na", "Cl"))
    ]
    sizes = []
    predict = CGCNNModel.predict

    def counted(self, structures, *, ids=None):
        sizes.append(len(structures))
        return predict(self, structures, ids=ids)

    monkeypatch.setattr(CGCNNModel, "predict", counted)
    answer = lab.predictions.batch(
        [ids[0], ids[1], ids[2], ids[0]], LOCAL_PRINCIPAL, model_name="CGCNN"
    )
    assert sizes[0] == 3
    assert [p.structure_id for p in answer.predictions] == [ids[0], ids[2], ids[0]]
    assert [p.cached for p in answer.predictions] == [False, False, True]
    assert [(e.structure_id, e.code) for e in answer.errors] == [(ids[1], "unknown_element")]
    sizes.clear()
    cached = lab.predictions.batch([ids[0], ids[2]], LOCAL_PRINCIPAL, model_name="CGCNN")
    assert (cached.cached, cached.new, sizes) == (2, 0, [])
    forced = lab.predictions.batch(
        [ids[0], ids[2]], LOCAL_PRINCIPAL, model_name="CGCNN", force_recompute=True
    )
    assert [p.generation for p in forced.predictions] == [1, 1]
    assert [p.generation for p in lab.predictions.history(ids[0], LOCAL_PRINCIPAL)] == [1, 0]


def test_warming_up_loads_what_answers_by_default_and_stores_nothing(lab, tmp_path):
    add_model(lab, tmp_path)  # of every property that another model here could give
    digest = lab.models.find("mine_bandgap").weights_sha256
    LOADED._loaded.clear()
    lab.predictions.active.warm_up()
    assert digest in LOADED._loaded
    with lab.database.read() as session:
        assert session.scalar(select(func.count()).select_from(PredictionTable)) == 0


def test_warming_up_without_a_model_is_no_failure(lab, monkeypatch):
    def no_model(_name):
        raise UnavailableError("No property model can run here.")

    monkeypatch.setattr(lab.predictions.active, "choose", no_model)
    lab.predictions.active.warm_up()
