"""Predictions: one row for each structure, model and weights, whoever asks and how often."""

import math
import multiprocessing
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from other_process import predict_one
from sqlalchemy import func, select

from nanoos.core.errors import (
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from nanoos.core.records import LevelOfTheory, Prediction, PropertyValue, Provenance
from nanoos.db import Database, ModelTable, PredictionTable, UserTable
from nanoos.models import MODEL_REGISTRY, ModelInfo, list_models, register_model
from nanoos.services.access import LOCAL_PRINCIPAL, Principal
from nanoos.services.fresh_cache import FRESH_S
from nanoos.services.predictions import PredictionService
from nanoos.services.structures import StructureService
from nanoos.structures import Structure
from nanoos.testing.crystals import rocksalt, wurtzite

pytestmark = pytest.mark.usefixtures("no_shipped_models")

SOURCE = {"kind": "test"}
THEORY = LevelOfTheory(functional="PBE", corrections="none", reference="elements")


class CalibratedModel:
    """Volume per atom as a band gap; calibrated, slow enough to overlap, refuses zinc."""

    name = "CALIBRATED"

    def __init__(self, version: str = "1", weights: str | None = "a" * 64) -> None:
        self.version = version
        self.weights = weights
        self.calls = 0

    def info(self) -> ModelInfo:
        return ModelInfo(
            name=self.name,
            version=self.version,
            available=True,
            description="For these tests.",
            supported_properties=("bandgap", "bulk_modulus"),
            weights_sha256=self.weights,
            calibration={"bandgap": {0.9: 0.91}},
            not_for_decisions=True,
        )

    def predict(
        self, structures: Sequence[Structure], *, ids: Sequence[str] | None = None
    ) -> list[Prediction]:
        self.calls += 1
        time.sleep(0.05)
        found = []
        for structure in structures:
            if "Zn" in structure.species:
                raise InvalidInputError("Zn is not covered.", code="element_not_covered")
            gap = structure.volume / structure.n_sites
            found.append(
                Prediction(
                    properties={
                        "bandgap": PropertyValue(
                            value=gap,
                            unit="eV",
                            sigma=0.2,
                            quantiles={0.5: (gap - 1, gap + 1), 0.9: (gap - 3, gap + 2)},
                            confidence=0.75,
                            out_of_domain=False,
                            level_of_theory=THEORY,
                        ),
                        "bulk_modulus": PropertyValue(value=math.nan, unit="GPa", sigma=math.inf),
                    },
                    provenance=Provenance(producer=self.name, version=self.version),
                )
            )
        return found


@pytest.fixture
def model() -> Iterator[CalibratedModel]:
    member = CalibratedModel()
    register_model(member.name, lambda: member)
    yield member
    MODEL_REGISTRY.unregister(member.name)


@pytest.fixture
def structures(database: Database) -> StructureService:
    return StructureService(database)


@pytest.fixture
def service(database: Database, structures: StructureService) -> PredictionService:
    return PredictionService(database, structures)


@pytest.fixture
def mgo(structures: StructureService) -> uuid.UUID:
    return structures.add(rocksalt(), LOCAL_PRINCIPAL, source=SOURCE)[0].id


@pytest.fixture
def zno(structures: StructureService) -> uuid.UUID:
    return structures.add(wurtzite(), LOCAL_PRINCIPAL, source=SOURCE)[0].id


@pytest.fixture
def ada(database: Database) -> Principal:
    with database.write() as session:
        row = UserTable(username="ada")
        session.add(row)
        session.flush()
        return Principal(
            user_id=row.id, username="ada", role="user", scopes=frozenset({"read", "write"})
        )


def count(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(PredictionTable)) or 0


class TestOnePrediction:
    def test_is_computed_once_and_then_answered_from_the_row(
        self, service, structures, database, mgo, model
    ):
        first = service.predict(mgo, LOCAL_PRINCIPAL, model_name="calibrated")
        assert not first.cached
        assert (first.model_name, first.generation) == ("CALIBRATED", 0)
        assert first.properties["bandgap"] == pytest.approx(rocksalt().volume / 2)
        again = service.predict(mgo, LOCAL_PRINCIPAL, model_name="CALIBRATED")
        elsewhere = PredictionService(database, structures).predict(
            mgo, LOCAL_PRINCIPAL, model_name="CALIBRATED"
        )
        assert again.cached
        assert again == elsewhere
        assert (again.id, again.values, again.metadata) == (first.id, first.values, first.metadata)
        assert model.calls == count(database) == 1

    def test_says_what_its_numbers_mean(self, service, mgo, model):
        record = service.predict(mgo, LOCAL_PRINCIPAL, model_name="CALIBRATED")
        data = record.metadata
        assert (data["formula"], data["num_atoms"], data["dimensionality"]) == ("MgO", 2, 3)
        assert data["level_of_theory"]["bandgap"]["functional"] == "PBE"
        assert data["weights"]["bandgap"] == {
            "name": "CALIBRATED",
            "version": "1",
            "sha256": "a" * 64,
        }
        assert data["units"] == {"bandgap": "eV", "bulk_modulus": "GPa"}
        assert data["out_of_domain"] == {"bandgap": False, "bulk_modulus": None}
        assert record.confidence_scores == {"bandgap": 0.75, "bulk_modulus": None}

    def test_a_number_that_is_none_is_null_and_said(self, service, mgo, model):
        record = service.predict(mgo, LOCAL_PRINCIPAL, model_name="CALIBRATED")
        assert record.properties["bulk_modulus"] is None
        assert record.values["bulk_modulus"].sigma is None
        assert any("bulk_modulus" in note for note in record.metadata["notes"])

    def test_any_level_is_answered_from_the_row(self, service, mgo, model):
        service.predict(mgo, LOCAL_PRINCIPAL, model_name="CALIBRATED")
        record = service.latest(mgo, LOCAL_PRINCIPAL)
        gap = record.properties["bandgap"]
        at = {level: record.intervals(level)["bandgap"] for level in (0.5, 0.7, 0.9, 0.99)}
        assert (at[0.5].lower, at[0.5].upper) == pytest.approx((gap - 1, gap + 1))
        assert (at[0.7].lower, at[0.7].upper) == pytest.approx((gap - 2, gap + 1.5))
        assert (at[0.9].lower, at[0.9].sigma, at[0.9].level) == (pytest.approx(gap - 3), 0.2, 0.9)
        assert (at[0.99].lower, at[0.99].upper) == (None, None)
        assert record.intervals(0.9)["bulk_modulus"].lower is None
        for level in (0, 1, 1.5, math.nan):
            with pytest.raises(InvalidInputError):
                record.intervals(level)

    def test_recomputing_counts_the_generation_up(self, service, mgo, model):
        first = service.predict(mgo, LOCAL_PRINCIPAL, model_name="CALIBRATED", force_recompute=True)
        second = service.predict(
            mgo, LOCAL_PRINCIPAL, model_name="CALIBRATED", force_recompute=True
        )
        assert (first.generation, second.generation) == (0, 1)
        assert not second.cached
        now = service.predict(mgo, LOCAL_PRINCIPAL, model_name="CALIBRATED")
        assert (now.id, now.cached) == (second.id, True)
        assert [p.generation for p in service.history(mgo, LOCAL_PRINCIPAL)] == [1, 0]

    def test_other_weights_and_versions_are_other_predictions(
        self, service, database, structures, mgo, model
    ):
        service.predict(mgo, LOCAL_PRINCIPAL, model_name="CALIBRATED")
        model.weights = "b" * 64
        fresh = PredictionService(database, structures)
        assert not fresh.predict(mgo, LOCAL_PRINCIPAL, model_name="CALIBRATED").cached
        model.version = "2"
        fresh = PredictionService(database, structures)
        assert not fresh.predict(mgo, LOCAL_PRINCIPAL, model_name="CALIBRATED").cached
        assert count(database) == 3

    def test_the_stub_never_answers_by_itself(self, service, mgo, monkeypatch):
        infos = [info for info in list_models() if info.not_for_decisions]
        assert infos
        monkeypatch.setattr("nanoos.models.catalog.ModelCatalog.infos", lambda *_, **__: infos)
        with pytest.raises(UnavailableError):
            service.predict(mgo, LOCAL_PRINCIPAL)
        record = service.predict(mgo, LOCAL_PRINCIPAL, model_name="stub")
        assert record.metadata["not_for_decisions"] is True
        assert set(record.confidence_scores.values()) == {None}
        assert 0 <= record.properties["bandgap"] <= 5

    def test_what_cannot_be_predicted_leaves_nothing(self, service, database, zno, model):
        with pytest.raises(InvalidInputError, match="Zn"):
            service.predict(zno, LOCAL_PRINCIPAL, model_name="CALIBRATED")
        with pytest.raises(NotFoundError):
            service.predict(zno, LOCAL_PRINCIPAL, model_name="CALIBRATD")
        with pytest.raises(UnavailableError):
            service.predict(zno, LOCAL_PRINCIPAL, model_name="MEAN")
        assert count(database) == 0


class TestAtOnce:
    def test_threads_get_one_row_and_compute_once(self, service, database, mgo, model):
        barrier = threading.Barrier(8)

        def ask(_):
            barrier.wait()
            return service.predict(mgo, LOCAL_PRINCIPAL, model_name="CALIBRATED")

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, range(8)))
        assert len({answer.id for answer in answers}) == 1
        assert sum(not answer.cached for answer in answers) == 1
        assert model.calls == count(database) == 1

    def test_services_of_several_processes_get_one_row(self, structures, database, mgo, model):
        barrier = threading.Barrier(4)

        def ask(_):
            own = PredictionService(database, structures)  # shares no lock with the others
            barrier.wait()
            return own.predict(mgo, LOCAL_PRINCIPAL, model_name="CALIBRATED")

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(ask, range(4)))
        assert len({answer.id for answer in answers}) == 1
        assert sum(not answer.cached for answer in answers) == 1
        assert count(database) == 1

    def test_processes_get_one_row(self, database, mgo):
        context = multiprocessing.get_context("spawn")
        barrier, queue = context.Barrier(2), context.Queue()
        url = database.engine.url.render_as_string(hide_password=False)
        processes = [
            context.Process(target=predict_one, args=(url, mgo, barrier, queue)) for _ in range(2)
        ]
        for process in processes:
            process.start()
        answers = [queue.get(timeout=60) for _ in processes]
        for process in processes:
            process.join(60)
        assert answers[0] == answers[1]
        assert count(database) == 1

    def test_recomputations_get_a_generation_each(self, service, database, mgo, model):
        def again(_):
            return service.predict(
                mgo, LOCAL_PRINCIPAL, model_name="CALIBRATED", force_recompute=True
            )

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(again, range(8)))
        assert sorted(answer.generation for answer in answers) == list(range(8))
        assert count(database) == 8

    def test_a_structure_deleted_meanwhile(
        self, service, structures, database, mgo, model, monkeypatch
    ):
        predict = model.predict

        def predict_and_lose(given, *, ids=None):
            found = predict(given, ids=ids)
            structures.delete(mgo, LOCAL_PRINCIPAL)
            return found

        monkeypatch.setattr(model, "predict", predict_and_lose)
        with pytest.raises(NotFoundError):
            service.predict(mgo, LOCAL_PRINCIPAL, model_name="CALIBRATED")
        assert count(database) == 0


class TestReading:
    def test_latest_of_one_model_or_of_any(self, service, mgo, model):
        with pytest.raises(NotFoundError):
            service.latest(mgo, LOCAL_PRINCIPAL)
        ours = service.predict(mgo, LOCAL_PRINCIPAL, model_name="CALIBRATED")
        stub = service.predict(mgo, LOCAL_PRINCIPAL, model_name="STUB")
        assert service.latest(mgo, LOCAL_PRINCIPAL).id == stub.id
        assert service.latest(mgo, LOCAL_PRINCIPAL, "calibrated").id == ours.id
        assert service.latest(mgo, LOCAL_PRINCIPAL).cached
        assert [p.id for p in service.history(mgo, LOCAL_PRINCIPAL)] == [stub.id, ours.id]

    def test_others_see_none_of_it(self, service, mgo, ada, model):
        service.predict(mgo, LOCAL_PRINCIPAL, model_name="CALIBRATED")
        for ask in (service.predict, service.latest, service.history):
            with pytest.raises(NotFoundError):
                ask(mgo, ada)

    def test_deleting_takes_effect_soon_everywhere(self, service, structures, database, mgo, ada):
        here = service.predict(mgo, LOCAL_PRINCIPAL, model_name="STUB")
        elsewhere = PredictionService(database, structures)
        assert elsewhere.latest(mgo, LOCAL_PRINCIPAL).id == here.id
        assert service.latest(mgo, LOCAL_PRINCIPAL).id == here.id
        with pytest.raises(ForbiddenError):
            service.delete(here.id, ada)
        service.delete(here.id, LOCAL_PRINCIPAL)
        with pytest.raises(NotFoundError):
            service.latest(mgo, LOCAL_PRINCIPAL)
        time.sleep(FRESH_S + 0.05)
        with pytest.raises(NotFoundError):
            elsewhere.latest(mgo, LOCAL_PRINCIPAL)
        with pytest.raises(NotFoundError):
            service.delete(here.id, LOCAL_PRINCIPAL)


class TestBatch:
    def test_one_bad_structure_never_fails_the_rest(self, service, structures, mgo, zno, model):
        other = structures.add(rocksalt(4.4), LOCAL_PRINCIPAL, source=SOURCE)[0].id
        missing = uuid.uuid4()
        service.predict(other, LOCAL_PRINCIPAL, model_name="CALIBRATED")
        answer = service.batch([mgo, zno, other, missing], LOCAL_PRINCIPAL, model_name="CALIBRATED")
        assert [p.structure_id for p in answer.predictions] == [mgo, other]
        assert (answer.total, answer.cached, answer.new) == (4, 1, 1)
        assert [(e.structure_id, e.code) for e in answer.errors] == [
            (zno, "element_not_covered"),
            (missing, "not_found"),
        ]

    def test_nothing_too_much_or_no_model_is_one_error(self, service, mgo):
        for ids in ([], [mgo] * 101):
            with pytest.raises(InvalidInputError):
                service.batch(ids, LOCAL_PRINCIPAL, model_name="STUB")
        with pytest.raises(NotFoundError):
            service.batch([mgo], LOCAL_PRINCIPAL, model_name="NOPE")


def test_models_are_those_of_the_code_and_of_the_registry_table(service, database, model):
    with database.write() as session:
        row = ModelTable(
            name="my_bandgap",
            version="1",
            target="bandgap",
            model_type="CGCNN",
            training_config={},
            metrics={"mae": 0.3},
            dataset_info={},
        )
        session.add(row)
        session.flush()
        row_id = row.id
    by_name = {known.name: known for known in service.models()}
    assert {"CHGNet", "STUB", "CALIBRATED", "my_bandgap"} <= set(by_name)
    assert by_name["STUB"].not_for_decisions
    assert by_name["CALIBRATED"].metrics == {"bandgap": {"calibration": {"0.9": 0.91}}}
    registered = by_name["my_bandgap"]
    assert (registered.id, registered.metrics) == (row_id, {"mae": 0.3})
    assert not registered.available  # there are no weights
