"""Models beside simulation results: alerts where chance does not explain the difference."""

import uuid
from dataclasses import replace

import numpy as np
import pytest
from stored_models import add_model, add_result

from nanoos.core.errors import InvalidInputError, NotFoundError
from nanoos.core.records import LevelOfTheory, PropertyValue
from nanoos.services.access import LOCAL_PRINCIPAL
from nanoos.services.container import Services
from nanoos.services.lab_events import MODEL_ALERT, MODEL_ALERT_RESOLVED
from nanoos.services.monitoring_figures import MIN_OBSERVATIONS, Observation, figures_of
from nanoos.structures import Structure
from nanoos.testing.checkpoints import PBE
from nanoos.testing.crystals import rocksalt

pytestmark = pytest.mark.usefixtures("no_shipped_models")

OTHER = LevelOfTheory(functional="r2SCAN", corrections="none", reference="none")
CARD = {"mae": 0.1, "mae_interval": [0.09, 0.11], "n": 500, "coverage": {"0.9": 0.9}}


@pytest.fixture
def lab(services_on_both: Services) -> Services:
    return services_on_both


def crystals(count: int) -> list[Structure]:
    return [rocksalt(4.0 + 0.02 * i) for i in range(count)]


def add(lab: Services, structure: Structure) -> uuid.UUID:
    return lab.structures.add(structure, LOCAL_PRINCIPAL, source={"kind": "test"})[0].id


def observations(errors, half=0.2):
    found = []
    for number, error in enumerate(errors):
        predicted = PropertyValue(
            value=1.0, unit="eV", quantiles={0.9: (1.0 - half, 1.0 + half)}, level_of_theory=PBE
        )
        found.append(
            Observation(formula=f"X{number}", error=error, truth=1.0 - error, predicted=predicted)
        )
    return found


class TestFigures:
    def test_a_model_as_good_as_its_card_raises_nothing(self):
        alarms = 0
        for seed in range(40):
            errors = np.random.default_rng(seed).laplace(scale=0.1, size=100)
            half = 0.1 * np.log(10)  # holds 0.9 of them
            _, problems = figures_of(observations(errors, half), (100, 3), CARD)
            alarms += bool(problems)
        assert alarms == 0

    def test_too_large_errors(self):
        errors = np.random.default_rng(0).laplace(scale=0.25, size=60)
        figures, problems = figures_of(observations(errors, half=2.0), (0, 0), CARD)
        assert [one.kind for one in problems] == ["error"]
        assert figures.mae == pytest.approx(np.mean(np.abs(errors)))
        assert figures.mae_bounds[0] > 0.11

    def test_intervals_that_hold_too_rarely(self):
        figures, problems = figures_of(
            observations([0.05] * 60 + [0.15] * 40, half=0.1), (0, 0), CARD
        )
        assert [one.kind for one in problems] == ["coverage"]
        assert (figures.coverage, figures.n_intervals) == (0.6, 100)
        assert problems[0].figures["chance"] < 1e-3

    def test_drift(self):
        assert [one.kind for one in figures_of([], (100, 20), CARD)[1]] == ["drift"]
        assert figures_of([], (100, 5), CARD)[1] == ()
        assert figures_of([], (0, 0), CARD)[0].out_of_domain is None

    def test_few_results_say_nothing(self):
        few = observations([5.0] * (MIN_OBSERVATIONS - 1))
        assert figures_of(few, (MIN_OBSERVATIONS - 1, MIN_OBSERVATIONS - 1), CARD)[1] == ()
        assert [p.kind for p in figures_of(observations([5.0] * 20), (0, 0), CARD)[1]] == [
            "error",
            "coverage",
        ]


class TestMonitoring:
    def test_an_alert_opens_once_and_closes_when_it_is_over(self, lab, tmp_path):
        rows = add_model(lab, tmp_path, targets=("bandgap", "bulk_modulus"))
        ids = [add(lab, crystal) for crystal in crystals(24)]
        records = lab.predictions.batch(ids, LOCAL_PRINCIPAL, model_name="CGCNN").predictions
        for record in records:
            add_result(
                lab, record.structure_id, {"band_gap_ev": record.properties["bandgap"] + 3}, PBE
            )
        assert lab.monitoring.check_new() >= 2
        assert lab.monitoring.check_new() == 0  # nothing came since
        lab.monitoring.check_active()
        alerts = [one for one in lab.monitoring.alerts() if one.model_id in rows.values()]
        assert sorted(alert.kind for alert in alerts) == ["coverage", "error"]
        report = lab.monitoring.report(rows["bandgap"])
        assert report.figures.n == 24
        assert report.figures.mae == pytest.approx(3.0)
        assert report.figures.coverage == 0.0
        assert {alert.model_name for alert in report.alerts} == {"mine_bandgap"}
        assert lab.monitoring.report(rows["bulk_modulus"]).figures.n == 0

        for record in records:  # the newest result of a structure counts
            add_result(lab, record.structure_id, {"band_gap_ev": record.properties["bandgap"]}, PBE)
        assert lab.monitoring.check(rows["bandgap"]).problems == ()
        assert not [one for one in lab.monitoring.alerts() if one.model_id in rows.values()]
        self.check_events(lab, alerts)
        closed = lab.monitoring.report(rows["bandgap"]).alerts
        assert len(closed) == 2
        assert all(alert.resolved_at is not None for alert in closed)

    def check_events(self, lab, alerts):
        events = lab.lab_events.after(0)
        assert [event.number for event in events] == [1, 2, 3, 4]
        assert [event.kind for event in events] == [MODEL_ALERT] * 2 + [MODEL_ALERT_RESOLVED] * 2
        told = {event.data["kind"]: event.data for event in events[:2]}
        for alert in alerts:
            data = told[alert.kind]
            assert (data["alert_id"], data["model"]) == (str(alert.id), "mine_bandgap")
            assert (data["property"], data["figures"]) == ("bandgap", alert.figures)
        assert told["error"]["figures"]["mae"] == pytest.approx(3.0)
        assert {event.data["alert_id"] for event in events[2:]} == {str(a.id) for a in alerts}
        assert [event.number for event in lab.lab_events.after(2, limit=1)] == [3]

    def test_other_levels_and_other_weights_are_not_compared(self, lab, tmp_path):
        rows = add_model(lab, tmp_path, targets=("bandgap",))
        others = add_model(lab, tmp_path, targets=("bandgap",), name="b", active=False, seed=1)
        one, two, three = (add(lab, crystal) for crystal in crystals(3))
        lab.predictions.batch([one, two, three], LOCAL_PRINCIPAL, model_name="CGCNN")
        add_result(lab, one, {"band_gap_ev": 1.0}, OTHER)
        add_result(lab, two, {"band_gap_ev": 1.0}, None)
        add_result(lab, three, {"energy_ev_per_atom": 1.0}, PBE)
        assert lab.monitoring.report(rows["bandgap"]).figures.n == 0
        add_result(lab, one, {"band_gap_ev": 1.0}, replace(PBE, reference="elements"))
        assert lab.monitoring.report(rows["bandgap"]).figures.n == 1  # a gap has no reference
        assert lab.monitoring.report(others["bandgap"]).figures.n == 0

    def test_an_unknown_model(self, lab):
        with pytest.raises(NotFoundError):
            lab.monitoring.report(uuid.uuid4())


class TestComparison:
    def test_a_prediction_beside_a_result(self, lab, tmp_path):
        add_model(lab, tmp_path, targets=("bandgap", "bulk_modulus"))
        mgo = add(lab, rocksalt())
        with pytest.raises(NotFoundError):
            lab.comparisons.compare(mgo, LOCAL_PRINCIPAL)
        record = lab.predictions.predict(mgo, LOCAL_PRINCIPAL, model_name="CGCNN")
        with pytest.raises(NotFoundError):
            lab.comparisons.compare(mgo, LOCAL_PRINCIPAL)
        gap = record.properties["bandgap"]
        simulation = add_result(lab, mgo, {"band_gap_ev": gap + 0.2}, PBE)
        found = lab.comparisons.compare(mgo, LOCAL_PRINCIPAL)
        assert (found.prediction_id, found.simulation_id) == (record.id, simulation)
        one = found.comparisons["bandgap"]
        low, high = record.values["bandgap"].interval(0.9)
        assert one.error == pytest.approx(-0.2)
        assert one.inside_interval == (low <= gap + 0.2 <= high)
        assert (found.overall_quality, found.not_compared) == ("good", {})
        assert found.summary["bandgap"].coverage[0.9] in (0.0, 1.0)
        with pytest.raises(NotFoundError):
            lab.comparisons.compare(mgo, LOCAL_PRINCIPAL, prediction_id=uuid.uuid4())
        with pytest.raises(NotFoundError):
            lab.comparisons.compare(mgo, LOCAL_PRINCIPAL, simulation_id=uuid.uuid4())

    def test_unlike_quantities_are_refused_or_left_out(self, lab, tmp_path):
        add_model(lab, tmp_path, targets=("bandgap", "formation_energy"))
        mgo = add(lab, rocksalt())
        lab.predictions.predict(mgo, LOCAL_PRINCIPAL, model_name="CGCNN")
        simulation = add_result(lab, mgo, {"band_gap_ev": 1.0}, OTHER)
        with pytest.raises(InvalidInputError) as caught:
            lab.comparisons.compare(mgo, LOCAL_PRINCIPAL)
        assert caught.value.error_code == "unlike_quantities"
        assert "r2SCAN" in caught.value.message
        values = {"band_gap_ev": 1.0, "formation_energy_ev_per_atom": -1.0}
        add_result(lab, mgo, values, PBE)  # the reference of the energy is another
        found = lab.comparisons.compare(mgo, LOCAL_PRINCIPAL)
        assert found.simulation_id != simulation
        assert set(found.comparisons) == {"bandgap"}
        assert set(found.not_compared) == {"formation_energy"}
