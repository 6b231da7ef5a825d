"""How the outcome of a simulation reaches the candidates that wait for it, and wakes campaigns.

Everything here runs inside the transaction that ends the simulation's job, so a campaign can
never miss an outcome, whatever is killed when.
"""

import uuid
from typing import Any, cast

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from nanoos.db import (
    CampaignTable,
    CandidateTable,
    IterationTable,
    JobTable,
    SimulationTable,
    db_now,
)
from nanoos.db.jobs import COMPLETED
from nanoos.services.jobs import JobService


def record_outcome(session: Session, simulation: SimulationTable, job: JobTable) -> None:
    """Give an ended simulation to its candidates, then wake the campaigns that waited for it."""
    candidates = session.scalars(
        select(CandidateTable)
        .where(
            or_(
                CandidateTable.simulation_id == simulation.id,
                CandidateTable.cross_check_simulation_id == simulation.id,
            )
        )
        .order_by(CandidateTable.campaign_id, CandidateTable.id)
    ).all()
    for candidate in candidates:
        apply_outcome(candidate, simulation, job)
    session.flush()
    for campaign_id in sorted({candidate.campaign_id for candidate in candidates}):
        wake(session, campaign_id)


def apply_outcome(candidate: CandidateTable, simulation: SimulationTable, job: JobTable) -> None:
    """Write what an ended simulation says of one candidate."""
    result = simulation.result if job.state == COMPLETED else None
    if candidate.cross_check_simulation_id == simulation.id:
        candidate.cross_check_values = (
            dict(result.values) if result is not None else {"error": _why(job)}
        )
        return
    candidate.finished_at = cast("Any", db_now())
    if result is None:
        candidate.state = "failed"
        candidate.error = job.error or {"code": job.state, "message": _why(job)}
        return
    candidate.state = "simulated"
    candidate.error = None
    candidate.values = dict(result.values)
    candidate.value_source = "simulated"
    candidate.cost_s = result.wall_time_s


def _why(job: JobTable) -> str:
    return str(job.error["message"]) if job.error else f"The simulation was {job.state}."


def waiting(session: Session, campaign_id: uuid.UUID) -> int:
    """How many of a campaign's simulations have not ended."""
    return (
        session.scalar(
            select(func.count())
            .select_from(CandidateTable)
            .where(
                CandidateTable.campaign_id == campaign_id,
                or_(
                    CandidateTable.state == "selected",
                    and_(
                        CandidateTable.cross_check_simulation_id.is_not(None),
                        CandidateTable.cross_check_values.is_(None),
                    ),
                ),
            )
        )
        or 0
    )


def wake(session: Session, campaign_id: uuid.UUID) -> None:
    """Queue the campaign's next step if it runs and waits for nothing more.

    The campaign's row is locked first: of two simulations that end at the same moment the
    second sees the first, and exactly one step is queued.
    """
    campaign = session.scalar(
        select(CampaignTable).where(CampaignTable.id == campaign_id).with_for_update()
    )
    if campaign is None or campaign.state != "running" or waiting(session, campaign_id):
        return
    enqueue_step(session, campaign)


def enqueue_step(session: Session, campaign: CampaignTable) -> uuid.UUID:
    """Queue the next step of a running campaign, once for each stage it is at."""
    iterations = session.scalar(
        select(func.count())
        .select_from(IterationTable)
        .where(IterationTable.campaign_id == campaign.id)
    )
    checked = session.scalar(
        select(func.count())
        .select_from(CandidateTable)
        .where(
            CandidateTable.campaign_id == campaign.id,
            CandidateTable.cross_check_simulation_id.is_not(None),
        )
    )
    return JobService.enqueue(
        session,
        "campaign",
        {"campaign_id": str(campaign.id)},
        owner_id=campaign.owner_id,
        priority=STEP_PRIORITY if campaign.baseline_of_id is None else 0,
        key=f"campaign:{campaign.id}:{campaign.runs}:{iterations}:{checked}",
    )


STEP_PRIORITY = 10
"""Steps are short and everything waits for them, so they go before simulations."""
