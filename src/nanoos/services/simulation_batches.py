"""Simulations that wait for a job which does them together."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Final, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from nanoos.db import JobTable, SimulationTable, db_now
from nanoos.db.jobs import CANCELLED, FAILED, QUEUED, TERMINAL_STATES
from nanoos.services.jobs import JobService

TO_DO: Final = (QUEUED, FAILED, CANCELLED)
"""States of what a batch takes."""
HELD_BY: Final = "held_by"
"""Key in the payload of a simulation's job: the job that does it with others."""
HELD_S: Final = 7 * 24 * 3600.0
"""How long a simulation waits for its batch before it runs by itself, whatever became of it."""


def not_in_batches(session: Session, simulation_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Of simulations those that wait for no other batch, in order, with the states of their jobs."""
    rows = session.execute(
        select(SimulationTable.id, JobTable)
        .join(JobTable, JobTable.id == SimulationTable.job_id)
        .where(SimulationTable.id.in_(simulation_ids))
        .order_by(JobTable.id)
        .with_for_update(of=JobTable)
    ).all()
    holders = {
        simulation_id: uuid.UUID(job.payload[HELD_BY])
        for simulation_id, job in rows
        if job.state == QUEUED and HELD_BY in job.payload
    }
    at_work = set(
        session.scalars(
            select(JobTable.id).where(
                JobTable.id.in_(holders.values()), JobTable.state.not_in(TERMINAL_STATES)
            )
        )
    )
    free = {one: job.state for one, job in rows if holders.get(one) not in at_work}
    return {one: free[one] for one in simulation_ids if one in free}


def wait_for_batch(
    session: Session, simulation_ids: Sequence[uuid.UUID], batch_id: uuid.UUID
) -> None:
    """Hold simulations back for the job that does them together.

    Those that failed or were cancelled are tried again, completed and running ones left alone, and so
    are those that wait for another batch.
    """
    free = not_in_batches(session, simulation_ids)
    jobs = session.scalars(
        select(JobTable)
        .join(SimulationTable, SimulationTable.job_id == JobTable.id)
        .where(SimulationTable.id.in_(free), JobTable.state.in_(TO_DO))
        .order_by(JobTable.id)
    ).all()
    for job in jobs:
        JobService.retry_in(session, job.id)
        job.payload = {**job.payload, HELD_BY: str(batch_id)}
        job.not_before = cast("datetime", db_now(HELD_S))
