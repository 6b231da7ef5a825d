"""Deleting structures with all that hangs on them."""

import uuid
from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from nanoos.core.errors import ConflictError
from nanoos.db import CampaignTable, CandidateTable, JobTable, SimulationTable, StructureTable
from nanoos.db.jobs import TERMINAL_STATES
from nanoos.services.jobs import JobService

IDS_PER_QUERY: Final = 1000
"""Databases limit the parameters of one statement."""


def delete_structures(session: Session, ids: Sequence[uuid.UUID]) -> None:
    """Delete rows in the caller's transaction; predictions and simulations go with them.

    Queued jobs of their simulations are cancelled, running ones asked to end.

    Raises:
        ConflictError: a campaign that runs now uses one of them.
    """
    for start in range(0, len(ids), IDS_PER_QUERY):
        chunk = list(ids[start : start + IDS_PER_QUERY])
        _refuse_running_campaigns(session, chunk)
        jobs = session.scalars(
            select(JobTable.id)
            .join(SimulationTable, SimulationTable.job_id == JobTable.id)
            .where(SimulationTable.structure_id.in_(chunk), JobTable.state.not_in(TERMINAL_STATES))
        )
        for job_id in jobs.all():
            JobService.cancel_in(session, job_id)
        session.execute(delete(StructureTable).where(StructureTable.id.in_(chunk)))


def _refuse_running_campaigns(session: Session, ids: Sequence[uuid.UUID]) -> None:
    name = session.scalar(
        select(CampaignTable.name)
        .join(CandidateTable, CandidateTable.campaign_id == CampaignTable.id)
        .where(CandidateTable.structure_id.in_(ids), CampaignTable.state == "running")
        .limit(1)
    )
    if name is not None:
        raise ConflictError(
            f"The campaign {name!r} runs now and uses this structure.",
            hint="Pause the campaign, or wait until it has ended.",
        )
