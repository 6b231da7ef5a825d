"""Simulations: what is to be simulated, by which engine, and what came out."""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, joinedload

from nanoos.core.errors import InvalidInputError, NanoosError, NotFoundError
from nanoos.core.records import Triples, in_gpa
from nanoos.db import (
    Database,
    JobTable,
    SimulationResultTable,
    SimulationTable,
    StructureTable,
    insert_if_absent,
)
from nanoos.services.access import Principal, visible
from nanoos.services.jobs import JobService
from nanoos.services.paging import Page, fetch_page
from nanoos.services.simulation_batches import TO_DO, not_in_batches, wait_for_batch
from nanoos.services.structures import StructureService
from nanoos.structures import Structure

BATCH_ENGINES: Final = ("MLIP", "LJ")
"""Whose relaxations can share a batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """A simulation as it stood when it was read.

    Attributes:
        values: Numbers of the result, the unit in the name; None until it is completed.
        record: The whole engine result without the final structure; None until completed.
        final_structure: None until completed.
        resources: What was ``requested`` and ``used``, the unit in the name; None until completed,
            or where nobody measured.
        stress_gpa: (3, 3), GPa, tension positive, of the final structure; None where there is none.
    """

    id: uuid.UUID
    job_id: uuid.UUID
    structure_id: uuid.UUID
    engine: str
    workflow: str
    parameters: Mapping[str, Any]
    state: str
    progress: float
    message: str | None
    error: Mapping[str, Any] | None
    energy_ev: float | None
    values: Mapping[str, float] | None
    record: Mapping[str, Any] | None
    final_structure: Structure | None
    stress_gpa: Triples | None
    resources: Mapping[str, Mapping[str, float]] | None
    wall_time_s: float | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchItem:
    """One item of a batch submission: a simulation, or why there is none."""

    structure_id: uuid.UUID
    simulation: Simulation | None
    error: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationPlan:
    """Checked parameters of a simulation, ready to be submitted.

    Attributes:
        engine: Canonical engine name.
        workflow: Canonical workflow name.
        parameters: With every default filled in, so that equal work has an equal key.
        queue: Where the job waits.
    """

    engine: str
    workflow: str
    parameters: Mapping[str, Any]
    queue: str

    def key(
        self,
        structure_id: uuid.UUID,
        fingerprint: Mapping[str, str],
        guest_id: uuid.UUID | None = None,
    ) -> str:
        """SHA-256 that names this work on that structure, with what it rests on.

        Args:
            structure_id: Of the structure.
            fingerprint: What it rests on.
            guest_id: Whose work it is, where the structure is another's.
        """
        document = [str(structure_id), self.engine, self.workflow, self.parameters]
        if fingerprint:
            document.append(dict(fingerprint))
        if guest_id is not None:
            document.append(str(guest_id))
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


class SimulationService:
    """Submits simulations as jobs and reads what came out.

    The same work (structure, engine, workflow, parameters, and the files that the engine says it
    rests on) exists once: submitting it again gives the simulation that is there, queued again
    where it had failed or was cancelled.
    """

    def __init__(self, database: Database, jobs: JobService, structures: StructureService) -> None:
        self._db = database
        self._jobs = jobs
        self._structures = structures

    @staticmethod
    def plan(*, engine: str, workflow: str, parameters: Mapping[str, Any]) -> SimulationPlan:
        """Check engine, workflow and parameters.

        Raises:
            NotFoundError: no such engine or workflow.
            InvalidInputError: a parameter is unknown or out of range.
        """
        from nanoos.engines import ENGINES

        name = ENGINES.canonical_name(engine)
        member = ENGINES.get(name)()
        checked = member.validate_parameters({**parameters, "workflow": workflow})
        document = checked.model_dump(mode="json")
        return SimulationPlan(
            engine=name,
            workflow=document.pop("workflow"),
            parameters=document,
            queue=member.queue,
        )

    def submit(
        self,
        structure_id: uuid.UUID,
        who: Principal,
        *,
        engine: str,
        workflow: str,
        parameters: Mapping[str, Any] | None = None,
        priority: int = 0,
    ) -> Simulation:
        """Queue a simulation, or give the one of the same work; an unsuccessful one is tried again.

        Raises:
            NotFoundError: no such structure, engine or workflow.
            InvalidInputError: parameters that do not fit, or an element that is not covered;
                said before anything is queued.
        """
        plan = self.plan(engine=engine, workflow=workflow, parameters=parameters or {})
        structure = self._structures.get(structure_id, who)
        self.check(plan, structure.structure)
        fingerprint = self.fingerprint(plan, structure.structure)
        with self._db.write() as session:
            row = self.submit_in(
                session,
                plan,
                structure_id=structure_id,
                fingerprint=fingerprint,
                owner_id=who.user_id,
                priority=priority,
            )
            self._jobs.retry_in(session, row.job_id)
            simulation_id = row.id
        return self.get(simulation_id, who)

    @staticmethod
    def check(plan: SimulationPlan, structure: Structure) -> None:
        """Raise InvalidInputError if the engine cannot simulate this structure."""
        from nanoos.engines import get_engine

        get_engine(plan.engine)().validate(
            structure, {**plan.parameters, "workflow": plan.workflow}
        )

    @staticmethod
    def fingerprint(plan: SimulationPlan, structure: Structure) -> Mapping[str, str]:
        """As :meth:`Engine.fingerprint`; empty where that is not to be known."""
        from nanoos.engines import get_engine

        engine = get_engine(plan.engine)()
        try:
            checked = engine.validate_parameters({**plan.parameters, "workflow": plan.workflow})
            return engine.fingerprint(structure, checked)
        except NanoosError:
            return {}

    def submit_batch(
        self,
        structure_ids: Sequence[uuid.UUID],
        who: Principal,
        *,
        engine: str,
        workflow: str,
        parameters: Mapping[str, Any] | None = None,
        priority: int = 0,
        together: bool = False,
    ) -> list[BatchItem]:
        """Submit many; one that cannot be simulated never fails the rest.

        Args:
            structure_ids: Of stored structures.
            who: Who asks.
            engine: Engine.
            workflow: One of the engine's.
            parameters: Of the workflow.
            priority: Higher ones run first.
            together: Relax them in one batch of the potential, in one job of the kind
                ``relaxations``, which is much faster for small crystals; each keeps a job of its
                own, which ends when it has converged or failed.

        Raises:
            InvalidInputError: ``together`` with anything but a relaxation with a potential; or
                as :meth:`plan`.
        """
        plan = self.plan(engine=engine, workflow=workflow, parameters=parameters or {})
        if together and not (plan.engine in BATCH_ENGINES and plan.workflow == "relax"):
            raise InvalidInputError(
                f"{plan.workflow} with {plan.engine} does not run in batches.",
                hint="Leave 'together' out, or use the workflow relax of MLIP.",
                code="not_batched",
            )
        if together:
            return self._submit_together(plan, structure_ids, who, priority=priority)
        items = []
        for structure_id in structure_ids:
            try:
                simulation = self.submit(
                    structure_id,
                    who,
                    engine=engine,
                    workflow=workflow,
                    parameters=parameters,
                    priority=priority,
                )
                item = BatchItem(structure_id=structure_id, simulation=simulation, error=None)
            except NanoosError as error:
                item = BatchItem(structure_id=structure_id, simulation=None, error=error.as_dict())
            items.append(item)
        return items

    def _submit_together(
        self,
        plan: SimulationPlan,
        structure_ids: Sequence[uuid.UUID],
        who: Principal,
        *,
        priority: int,
    ) -> list[BatchItem]:
        """The simulations, their jobs held back, and one job that relaxes them."""
        checked: dict[uuid.UUID, Mapping[str, str]] = {}
        errors: dict[uuid.UUID, Mapping[str, Any]] = {}
        for structure_id in dict.fromkeys(structure_ids):
            try:
                structure = self._structures.get(structure_id, who)
                self.check(plan, structure.structure)
                checked[structure_id] = self.fingerprint(plan, structure.structure)
            except NanoosError as error:
                errors[structure_id] = error.as_dict()
        found: dict[uuid.UUID, uuid.UUID] = {}
        with self._db.write() as session:
            for structure_id, fingerprint in checked.items():
                row = self.submit_in(
                    session,
                    plan,
                    structure_id=structure_id,
                    fingerprint=fingerprint,
                    owner_id=who.user_id,
                    priority=priority,
                )
                found[structure_id] = row.id
            own = not_in_batches(session, list(found.values()))
            if any(state in TO_DO for state in own.values()):
                batch_id = self._jobs.enqueue(
                    session,
                    "relaxations",
                    {"simulation_ids": [str(i) for i in own]},
                    owner_id=who.user_id,
                    queue=plan.queue,
                    priority=priority,
                )
                wait_for_batch(session, list(own), batch_id)
        return [
            BatchItem(
                structure_id=structure_id,
                simulation=self.get(found[structure_id], who) if structure_id in found else None,
                error=errors.get(structure_id),
            )
            for structure_id in structure_ids
        ]

    def submit_in(
        self,
        session: Session,
        plan: SimulationPlan,
        *,
        structure_id: uuid.UUID,
        fingerprint: Mapping[str, str],
        owner_id: uuid.UUID,
        priority: int = 0,
    ) -> SimulationTable:
        """Submit inside the caller's transaction; the caller has checked the plan.

        The same work gives the simulation that is there, whatever its state.
        """
        theirs = session.scalar(
            select(StructureTable.owner_id).where(StructureTable.id == structure_id)
        )
        key = plan.key(structure_id, fingerprint, None if theirs == owner_id else owner_id)
        existing = session.scalar(select(SimulationTable).where(SimulationTable.key == key))
        if existing is not None:
            return existing
        simulation_id = uuid.uuid4()
        job_id = self._jobs.enqueue(
            session,
            "simulation",
            {"simulation_id": str(simulation_id)},
            owner_id=owner_id,
            queue=plan.queue,
            priority=priority,
            key=f"simulation:{key}",
        )
        values = {
            "id": simulation_id,
            "job_id": job_id,
            "structure_id": structure_id,
            "engine": plan.engine,
            "workflow": plan.workflow,
            "parameters": dict(plan.parameters),
            "key": key,
        }
        insert_if_absent(session, SimulationTable, values)
        return session.scalars(select(SimulationTable).where(SimulationTable.key == key)).one()

    def get(self, simulation_id: uuid.UUID, who: Principal) -> Simulation:
        """One simulation. Raises NotFoundError where it is not there or not visible."""
        with self._db.read() as session:
            row = session.execute(
                _query().where(SimulationTable.id == simulation_id, visible(JobTable, who))
            ).one_or_none()
            if row is None:
                raise NotFoundError(f"There is no simulation {simulation_id}.")
            return _view(row[0], row[1])

    def page_of_structure(
        self,
        structure_id: uuid.UUID,
        who: Principal,
        *,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Simulation]:
        """Simulations of one structure, newest first."""
        self._structures.get(structure_id, who)
        query: Select[Any] = (
            select(SimulationTable)
            .join(JobTable, JobTable.id == SimulationTable.job_id)
            .where(SimulationTable.structure_id == structure_id, visible(JobTable, who))
            .options(joinedload(SimulationTable.result))
        )
        with self._db.read() as session:
            rows, total, following = fetch_page(
                session, query, SimulationTable, cursor=cursor, limit=limit
            )
            jobs = {
                job.id: job
                for job in session.scalars(
                    select(JobTable).where(JobTable.id.in_([row.job_id for row in rows]))
                )
            }
            items = [_view(row, jobs[row.job_id]) for row in rows]
        return Page(items=items, total=total, next=following)

    def load_for_run(self, simulation_id: uuid.UUID) -> tuple[SimulationPlan, uuid.UUID, Structure]:
        """What the job of a simulation needs: the plan, the structure's id and the structure."""
        with self._db.read() as session:
            row = session.get(SimulationTable, simulation_id)
            if row is None:
                raise NotFoundError("The simulation was deleted before it ran.")
            structure = session.get_one(StructureTable, row.structure_id)
            plan = SimulationPlan(
                engine=row.engine, workflow=row.workflow, parameters=row.parameters, queue=""
            )
            return (
                plan,
                row.structure_id,
                Structure.from_dict({"lattice": structure.lattice_vectors, **structure.sites}),
            )


def _query() -> Select[SimulationTable, JobTable]:
    return (
        select(SimulationTable, JobTable)
        .join(JobTable, JobTable.id == SimulationTable.job_id)
        .options(joinedload(SimulationTable.result))
    )


def _view(row: SimulationTable, job: JobTable) -> Simulation:
    result: SimulationResultTable | None = row.result
    final = result.final_structure if result is not None else None
    stress = result.record.get("stress") if result is not None else None
    return Simulation(
        id=row.id,
        job_id=row.job_id,
        structure_id=row.structure_id,
        engine=row.engine,
        workflow=row.workflow,
        parameters=row.parameters,
        state=job.state,
        progress=job.progress,
        message=job.message,
        error=job.error,
        energy_ev=result.energy_ev if result is not None else None,
        values=result.values if result is not None else None,
        record=result.record if result is not None else None,
        final_structure=Structure.from_dict(final) if final is not None else None,
        resources=(result.record.get("resources") or None) if result is not None else None,
        stress_gpa=in_gpa(stress) if stress is not None else None,
        wall_time_s=result.wall_time_s if result is not None else None,
        created_at=row.created_at,
        finished_at=job.finished_at,
    )
