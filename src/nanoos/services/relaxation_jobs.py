"""The job that relaxes many structures together, each a simulation of its own.

The simulations of the batch exist from the beginning, their own jobs held back. This job ends
each of them as soon as it has converged or failed. Ended before its work is done, it lets those
that are left go, and they run one by one; cancelled, it cancels them. Retried, it takes up all
that it has not completed.
"""

import csv
import uuid
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from nanoos.core.errors import NanoosError
from nanoos.core.records import EngineResult
from nanoos.db import JobTable, SimulationTable, db_now
from nanoos.db.jobs import CANCELLED, COMPLETED, FAILED, QUEUED
from nanoos.services.job_attempts import end_job
from nanoos.services.job_kinds import JobClaim, JobContext, JobKind, JobOutcome
from nanoos.services.simulation_batches import HELD_BY, wait_for_batch
from nanoos.services.simulation_jobs import result_row

if TYPE_CHECKING:
    from nanoos.services.container import Services

KIND: Final = "relaxations"
SUMMARY_FILE: Final = "relaxations.csv"


def run_relaxations(services: "Services", claim: JobClaim, context: JobContext) -> JobOutcome:
    """Relax what is still waiting; ends each simulation in a transaction of its own."""
    from nanoos.engines import get_engine
    from nanoos.engines.mlip.batch import relax_batch
    from nanoos.engines.mlip.parameters import RelaxParameters

    waiting = _waiting(services, claim)
    plans = [services.simulations.load_for_run(simulation_id) for simulation_id in waiting]
    if plans:
        plan = plans[0][0]
        engine = get_engine(plan.engine)()
        parameters = engine.validate_parameters({**plan.parameters, "workflow": plan.workflow})
        if not isinstance(parameters, RelaxParameters):
            raise TypeError(f"{plan.workflow} is no relaxation")
        relax_batch(
            [structure for _, _, structure in plans],
            parameters,
            engine=plan.engine,
            progress=context.progress,
            done=lambda index, outcome: _end(services, waiting[index], outcome),
        )
    rows = _summary(services, claim)
    path = context.run_dir / SUMMARY_FILE
    _write_csv(path, rows)
    failed = sum(row["state"] != COMPLETED for row in rows)
    return JobOutcome(result={"total": len(rows), "failed": failed}, files=(path,))


def _listed(claim_payload: Any) -> list[uuid.UUID]:
    return [uuid.UUID(text) for text in claim_payload["simulation_ids"]]


def _waiting(services: "Services", claim: JobClaim) -> list[uuid.UUID]:
    """Simulations that wait for this batch, in the order given."""
    listed = _listed(claim.payload)
    with services.database.read() as session:
        rows = session.execute(
            select(SimulationTable.id, JobTable.payload)
            .join(JobTable, JobTable.id == SimulationTable.job_id)
            .where(SimulationTable.id.in_(listed), JobTable.state == QUEUED)
        )
        found = {one for one, payload in rows if payload.get(HELD_BY) == str(claim.job_id)}
    return [simulation_id for simulation_id in listed if simulation_id in found]


def _end(
    services: "Services", simulation_id: uuid.UUID, outcome: EngineResult | NanoosError
) -> None:
    """End the simulation's job, unless somebody has ended or begun it in the meantime."""
    with services.database.write() as session:
        simulation = session.get(SimulationTable, simulation_id)
        if simulation is None:
            return
        job = session.get_one(JobTable, simulation.job_id, with_for_update=True)
        if job.state != QUEUED:
            return
        job.started_at = cast("datetime", db_now())
        if isinstance(outcome, NanoosError):
            end_job(session, job, FAILED, error=outcome.as_dict())
            return
        session.add(result_row(simulation_id, outcome))
        session.flush()
        job.progress = 1.0
        job.result = {"simulation_id": str(simulation_id), "values": dict(outcome.values)}
        end_job(session, job, COMPLETED)


def _summary(services: "Services", claim: JobClaim) -> list[dict[str, Any]]:
    listed = _listed(claim.payload)
    with services.database.read() as session:
        found = {
            simulation.id: (simulation, job)
            for simulation, job in session.execute(
                select(SimulationTable, JobTable)
                .join(JobTable, JobTable.id == SimulationTable.job_id)
                .where(SimulationTable.id.in_(listed))
            )
        }
        rows = []
        for simulation_id in listed:
            if simulation_id not in found:
                continue  # its structure was deleted
            simulation, job = found[simulation_id]
            values = (job.result or {}).get("values", {})
            rows.append(
                {
                    "simulation_id": str(simulation_id),
                    "structure_id": str(simulation.structure_id),
                    "state": job.state,
                    "energy_ev_per_atom": values.get("energy_ev_per_atom", ""),
                    "volume_a3_per_atom": values.get("volume_a3_per_atom", ""),
                    "n_steps": values.get("n_steps", ""),
                    "error": (job.error or {}).get("message", ""),
                }
            )
    return rows


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(
            stream,
            [
                "simulation_id",
                "structure_id",
                "state",
                "energy_ev_per_atom",
                "volume_a3_per_atom",
                "n_steps",
                "error",
            ],
            lineterminator="\n",
        )
        writer.writeheader()
        writer.writerows(rows)


def release(session: Session, job: JobTable) -> None:
    """In the transaction that ends the job: what it has left undone is cancelled or let go."""
    held = session.scalars(
        select(JobTable)
        .join(SimulationTable, SimulationTable.job_id == JobTable.id)
        .where(SimulationTable.id.in_(_listed(job.payload)), JobTable.state == QUEUED)
        .with_for_update(of=JobTable)
    ).all()
    for row in held:
        if row.payload.get(HELD_BY) != str(job.id):
            continue  # it waits for another batch, or for none
        if job.state == CANCELLED:
            end_job(session, row, CANCELLED)
        else:
            row.payload = {name: value for name, value in row.payload.items() if name != HELD_BY}
            row.not_before = None


def take_up(session: Session, job: JobTable) -> None:
    """In the transaction that retries the job: what is not completed waits for it again."""
    wait_for_batch(session, _listed(job.payload), job.id)


RELAXATIONS = JobKind(
    name=KIND, handler=run_relaxations, queue="md", on_terminal=release, on_retry=take_up
)
