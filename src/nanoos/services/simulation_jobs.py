"""The job that runs a simulation and tells the campaigns that wait for it."""

import uuid
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from nanoos.core.errors import CancelledError
from nanoos.core.records import EngineResult
from nanoos.db import JobTable, SimulationResultTable, SimulationTable
from nanoos.engines import get_engine
from nanoos.engines.base import INPUT_DIR
from nanoos.services.campaign_progress import record_outcome
from nanoos.services.container import Services
from nanoos.services.job_kinds import JobClaim, JobContext, JobKind, JobOutcome

_LONGEST_S: Final = 30 * 86400.0
"""Of one attempt: DFT and dynamics take days, and anybody can cancel a job."""


def run_simulation(services: Services, claim: JobClaim, context: JobContext) -> JobOutcome:
    """Run the engine in the job's folder; the result row is written with the job's end."""
    simulation_id = uuid.UUID(claim.payload["simulation_id"])
    plan, _, structure = services.simulations.load_for_run(simulation_id)
    engine = get_engine(plan.engine)()
    result = engine.run(
        structure,
        {**plan.parameters, "workflow": plan.workflow},
        context.run_dir,
        timeout=_LONGEST_S,
        progress=context.progress,
    )

    def finalize(session: Session) -> None:
        if session.get(SimulationTable, simulation_id) is None:
            raise CancelledError("The structure was deleted while it was simulated.")
        session.add(result_row(simulation_id, result))
        session.flush()

    return JobOutcome(
        result={"simulation_id": str(simulation_id), "values": dict(result.values)},
        finalize=finalize,
        files=(
            *sorted((context.run_dir / INPUT_DIR).iterdir()),  # enough to run it again by hand
            *(context.run_dir / name for name in result.files),
        ),
    )


def result_row(simulation_id: uuid.UUID, result: EngineResult) -> SimulationResultTable:
    """The row of a result."""
    record = result.as_dict()
    return SimulationResultTable(
        simulation_id=simulation_id,
        energy_ev=result.energy_ev,
        values=record["values"],
        final_structure=record.pop("structure"),
        record=record,
        wall_time_s=result.wall_time_s,
    )


def tell_campaigns(session: Session, job: JobTable) -> None:
    """In the transaction that ends the job: hand its outcome to every candidate that waits."""
    simulation = session.scalar(select(SimulationTable).where(SimulationTable.job_id == job.id))
    if simulation is not None:
        record_outcome(session, simulation, job)


SIMULATION = JobKind(name="simulation", handler=run_simulation, on_terminal=tell_campaigns)
