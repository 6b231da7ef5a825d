"""How each model does against incoming simulation results, and an alert where it does badly."""

import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

import structlog
from sqlalchemy import func, select, update

from nanoos.db import (
    Database,
    ModelAlertTable,
    ModelTable,
    PredictionTable,
    SimulationResultTable,
    SimulationTable,
    db_now,
    insert_if_absent,
)
from nanoos.services.comparisons import comparable, elements_of
from nanoos.services.lab_events import MODEL_ALERT, MODEL_ALERT_RESOLVED, publish
from nanoos.services.model_registry import ModelRegistryService, TrainedModel
from nanoos.services.monitoring_figures import Figures, Observation, Problem, figures_of
from nanoos.services.prediction_records import prediction_record
from nanoos.services.simulated_properties import simulated_properties

MOST_OBSERVATIONS: Final = 1000
"""The newest so many results and predictions are looked at."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One way in which a model does, or did, worse than its card.

    Attributes:
        kind: ``error``, ``coverage`` or ``drift``.
        message: For people.
        figures: What was observed and what the card says.
        resolved_at: None while it lasts.
    """

    id: uuid.UUID
    model_id: uuid.UUID
    model_name: str
    kind: str
    message: str
    figures: Mapping[str, Any]
    created_at: datetime
    resolved_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringReport:
    """How one model does.

    Attributes:
        model_id: Its row in the registry.
        name: Its name.
        version: Its version.
        target: The property that it predicts.
        figures: What was observed, beside its card.
        problems: Where it does worse than its card by more than chance explains, now.
        alerts: Stored alerts, newest first.
    """

    model_id: uuid.UUID
    name: str
    version: str
    target: str
    figures: Figures
    problems: tuple[Problem, ...]
    alerts: tuple[Alert, ...]


class MonitoringService:
    """Watches the models of the registry. Thread-safe; any number of processes may check.

    Only results of the same functional, corrections and reference as the prediction count. The
    newest result of each structure is taken, beside the newest prediction with the weights.

    Args:
        database: Where predictions and results are.
        registry: Which models there are.
    """

    def __init__(self, database: Database, registry: ModelRegistryService) -> None:
        self._db = database
        self._registry = registry
        self._lock = threading.Lock()
        self._seen: datetime | None = None

    def report(self, model_id: uuid.UUID) -> MonitoringReport:
        """How one model does now; changes nothing.

        Raises:
            NotFoundError: no such model.
        """
        return self._report(self._registry.get(model_id))

    def check(self, model_id: uuid.UUID) -> MonitoringReport:
        """As :meth:`report`; opens and closes alerts, with an event of the laboratory for each.

        Raises:
            NotFoundError: no such model.
        """
        model = self._registry.get(model_id)
        report = self._report(model)
        self._record(model, report.problems)
        return replace(report, alerts=self._alerts_of(model))

    def check_active(self) -> list[MonitoringReport]:
        """As :meth:`check` for every active model."""
        return [self.check(model.id) for model in self._registry.all() if model.is_active]

    def check_new(self) -> int:
        """As :meth:`check_active` where results came since the last call; how many were checked."""
        with self._db.read() as session:
            newest = session.scalar(select(func.max(SimulationResultTable.created_at)))
        with self._lock:
            if newest is None or newest == self._seen:
                return 0
            self._seen = newest
        return len(self.check_active())

    def alerts(self, *, only_open: bool = True) -> list[Alert]:
        """Alerts of all models, newest first."""
        return stored_alerts(self._db, only_open=only_open)

    # -- observing ------------------------------------------------------------------------

    def _report(self, model: TrainedModel) -> MonitoringReport:
        figures, problems = figures_of(
            tuple(self._observations(model)), self._outside(model), model.metrics
        )
        return MonitoringReport(
            model_id=model.id,
            name=model.name,
            version=model.version,
            target=model.target,
            figures=figures,
            problems=problems,
            alerts=self._alerts_of(model),
        )

    def _alerts_of(self, model: TrainedModel) -> tuple[Alert, ...]:
        return tuple(stored_alerts(self._db, only_open=False, model_id=model.id))

    def _observations(self, model: TrainedModel) -> Iterator[Observation]:
        query = (
            select(PredictionTable, SimulationResultTable)
            .join(SimulationTable, SimulationTable.structure_id == PredictionTable.structure_id)
            .join(SimulationResultTable, SimulationResultTable.simulation_id == SimulationTable.id)
            .where(_weights_of(model))
            .order_by(
                SimulationResultTable.created_at.desc(),
                PredictionTable.created_at.desc(),
                PredictionTable.id,
            )
            .limit(MOST_OBSERVATIONS)
        )
        taken: set[uuid.UUID] = set()
        with self._db.read() as session:
            for row, result in session.execute(query):
                if row.structure_id in taken:
                    continue
                record = prediction_record(row, cached=True)
                predicted = record.values.get(model.target)
                simulated = simulated_properties(
                    result.values, result.record.get("provenance", {})
                ).get(model.target)
                if predicted is None or simulated is None or predicted.value is None:
                    continue
                alike = comparable(predicted, simulated, elements_of(record), name=model.target)
                if simulated.value is None or not alike:
                    continue
                taken.add(row.structure_id)
                yield Observation(
                    formula=str(record.metadata.get("formula")),
                    error=predicted.value - simulated.value,
                    truth=simulated.value,
                    predicted=predicted,
                )

    def _outside(self, model: TrainedModel) -> tuple[int, int]:
        """Of the newest predictions with the weights: how many were judged, how many outside."""
        flag = PredictionTable.properties[model.target]["out_of_domain"].as_boolean()
        query = (
            select(flag)
            .where(_weights_of(model), flag.is_not(None))
            .order_by(PredictionTable.created_at.desc())
            .limit(MOST_OBSERVATIONS)
        )
        with self._db.read() as session:
            flags = [bool(value) for value in session.scalars(query)]
        return len(flags), sum(flags)

    # -- alerts ---------------------------------------------------------------------------

    def _record(self, model: TrainedModel, problems: Sequence[Problem]) -> None:
        kinds = [problem.kind for problem in problems]
        said = {
            "model_id": str(model.id),
            "model": model.name,
            "version": model.version,
            "property": model.target,
        }
        with self._db.write() as session:
            opened = []
            for problem in problems:
                values = {
                    "id": uuid.uuid4(),
                    "model_id": model.id,
                    "kind": problem.kind,
                    "message": f"{model.name}: {problem.message}",
                    "figures": asdict(problem)["figures"],
                }
                if insert_if_absent(session, ModelAlertTable, values):
                    log.warning("model alert", model=model.name, kind=problem.kind)
                    opened.append({"alert_id": str(values["id"]), **asdict(problem)})
            resolved = session.execute(
                update(ModelAlertTable)
                .where(
                    ModelAlertTable.model_id == model.id,
                    ModelAlertTable.resolved_at.is_(None),
                    ModelAlertTable.kind.not_in(kinds),
                )
                .values(resolved_at=db_now())
                .returning(ModelAlertTable.id, ModelAlertTable.kind)
                .execution_options(synchronize_session=False)
            ).all()
            for alert in opened:
                publish(session, MODEL_ALERT, said | alert)
            for row in resolved:
                ended = {"alert_id": str(row.id), "kind": row.kind}
                publish(session, MODEL_ALERT_RESOLVED, said | ended)


def _weights_of(model: TrainedModel) -> Any:
    stored = PredictionTable.extra["weights"][model.target]["sha256"].as_string()
    return stored == (model.weights_sha256 or "")


def stored_alerts(
    database: Database, *, only_open: bool = True, model_id: uuid.UUID | None = None
) -> list[Alert]:
    """Alerts, newest first, at most 1000.

    Args:
        database: Where they are.
        only_open: Leave out those that are over.
        model_id: Of this model only.
    """
    query = (
        select(ModelAlertTable, ModelTable.name)
        .join(ModelTable, ModelTable.id == ModelAlertTable.model_id)
        .order_by(ModelAlertTable.created_at.desc(), ModelAlertTable.id)
        .limit(MOST_OBSERVATIONS)
    )
    if only_open:
        query = query.where(ModelAlertTable.resolved_at.is_(None))
    if model_id is not None:
        query = query.where(ModelAlertTable.model_id == model_id)
    with database.read() as session:
        return [
            Alert(
                id=row.id,
                model_id=row.model_id,
                model_name=name,
                kind=row.kind,
                message=row.message,
                figures=row.figures,
                created_at=row.created_at,
                resolved_at=row.resolved_at,
            )
            for row, name in session.execute(query)
        ]
