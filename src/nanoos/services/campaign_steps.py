"""The job that takes a campaign one step further.

A step reads the campaign, decides outside of any transaction, and writes what it decided in the
transaction that completes its job. Killed before that, it leaves nothing and is taken again.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from nanoos.db import (
    CampaignTable,
    CandidateTable,
    IterationTable,
    JobTable,
    SimulationTable,
    StructureTable,
    db_now,
)
from nanoos.db.jobs import CANCELLED, FAILED, TERMINAL_STATES
from nanoos.design.campaign import CampaignConfig
from nanoos.design.simulating import SimulationRequest, cross_check_request, simulation_request
from nanoos.services.campaign_policy import Choice, batch_size, choose
from nanoos.services.campaign_progress import apply_outcome, wake
from nanoos.services.campaign_records import best_candidate, ranking
from nanoos.services.container import Services
from nanoos.services.job_kinds import JobClaim, JobContext, JobKind, JobOutcome
from nanoos.services.simulations import SimulationPlan
from nanoos.services.structure_records import row_structure

MIN_FAILURES = 4
"""When this many simulations have ended and all of them failed, the budget is not spent on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignSnapshot:
    """A campaign as a step finds it."""

    id: uuid.UUID
    owner_id: uuid.UUID
    is_baseline: bool
    config: CampaignConfig
    state: str
    steps_granted: int | None
    budget_left: int
    iterations: int
    candidates: tuple[CandidateTable, ...]

    @property
    def waits(self) -> bool:
        """Whether a simulation has not ended."""
        return any(
            c.state == "selected"
            or (c.cross_check_simulation_id is not None and c.cross_check_values is None)
            for c in self.candidates
        )

    @property
    def hopeless(self) -> bool:
        """Whether the first batch or more has ended and every simulation of it failed."""
        return len(self.candidates) >= MIN_FAILURES and all(
            c.state == "failed" for c in self.candidates
        )


def run_step(services: Services, claim: JobClaim, context: JobContext) -> JobOutcome:
    """Choose and submit the next candidates, cross-check the winners, or finish."""
    campaign_id = uuid.UUID(claim.payload["campaign_id"])
    with services.database.read() as session:
        snapshot = _load(session, campaign_id)
    if snapshot is None or snapshot.state != "running" or snapshot.waits:
        return JobOutcome(result={"did": "nothing"})
    config = snapshot.config
    if snapshot.hopeless:
        return _change_state(snapshot, "failed", _why_hopeless(snapshot))
    if snapshot.budget_left <= 0:
        return _finish(services, snapshot, "The budget is used.")
    if snapshot.iterations >= config.max_iterations:
        return _finish(services, snapshot, f"All {config.max_iterations} iterations are done.")
    if snapshot.steps_granted == 0:
        return _change_state(snapshot, "paused", "It was asked for these steps only.")
    context.progress(0.1, "choosing candidates")
    wanted = snapshot.budget_left  # the baseline's order is fixed: its whole budget at once
    if not snapshot.is_baseline:
        wanted = min(wanted, batch_size(config, snapshot.candidates))
    choice = choose(config, snapshot.candidates, snapshot.iterations, wanted)
    if not choice.chosen:
        return _finish(services, snapshot, "Every candidate of the space has been simulated.")
    plan = _plan(services, simulation_request(config.simulation))
    fingerprints = []
    for entry in choice.chosen:
        structure = entry.point.structure()
        services.structures.analyse(structure)
        fingerprints.append(services.simulations.fingerprint(plan, structure))
    return JobOutcome(
        result={"did": "iteration", "number": snapshot.iterations + 1, "chosen": choice.keys},
        finalize=lambda session: _write_iteration(
            services, session, snapshot, choice, plan=plan, fingerprints=fingerprints
        ),
    )


def _why_hopeless(snapshot: CampaignSnapshot) -> str:
    error = snapshot.candidates[0].error or {}
    return (
        f"All {len(snapshot.candidates)} simulations failed, "
        f"the first with: {error.get('message', 'no reason recorded')}"
    )


def _load(session: Session, campaign_id: uuid.UUID) -> CampaignSnapshot | None:
    row = session.get(CampaignTable, campaign_id)
    if row is None:
        return None
    candidates = session.scalars(
        select(CandidateTable)
        .where(CandidateTable.campaign_id == campaign_id)
        .order_by(CandidateTable.iteration_number, CandidateTable.rank)
    ).all()
    iterations = session.scalar(
        select(func.count())
        .select_from(IterationTable)
        .where(IterationTable.campaign_id == campaign_id)
    )
    return CampaignSnapshot(
        id=row.id,
        owner_id=row.owner_id,
        is_baseline=row.baseline_of_id is not None,
        config=CampaignConfig.model_validate(row.config),
        state=row.state,
        steps_granted=row.steps_granted,
        budget_left=row.simulation_budget - len(candidates),
        iterations=iterations or 0,
        candidates=tuple(candidates),
    )


def _plan(services: Services, request: SimulationRequest) -> SimulationPlan:
    return services.simulations.plan(
        engine=request.engine, workflow=request.workflow, parameters=request.parameters
    )


def _lock_running(
    session: Session, campaign_id: uuid.UUID, iterations: int
) -> CampaignTable | None:
    """The campaign's row, locked, if it still is where the step found it."""
    row = session.scalar(
        select(CampaignTable).where(CampaignTable.id == campaign_id).with_for_update()
    )
    now = session.scalar(
        select(func.count())
        .select_from(IterationTable)
        .where(IterationTable.campaign_id == campaign_id)
    )
    return row if row is not None and row.state == "running" and now == iterations else None


def _write_iteration(
    services: Services,
    session: Session,
    snapshot: CampaignSnapshot,
    choice: Choice,
    *,
    plan: SimulationPlan,
    fingerprints: Sequence[Mapping[str, str]],
) -> None:
    row = _lock_running(session, snapshot.id, snapshot.iterations)
    if row is None:
        return
    _close_iteration(session, snapshot)
    number = snapshot.iterations + 1
    session.add(
        IterationTable(
            campaign_id=row.id,
            number=number,
            candidates_ml_predicted=choice.n_predicted,
            simulation_budget_used=len(choice.chosen),
            active_learning_stats=dict(choice.diagnostics),
        )
    )
    for rank, (entry, fingerprint) in enumerate(zip(choice.chosen, fingerprints, strict=True)):
        structure_id = services.structures.get_or_add_in(
            session,
            entry.point.structure(),
            snapshot.owner_id,
            {"kind": "campaign", "campaign_id": str(row.id), "point": entry.point.key},
        )
        simulation = services.simulations.submit_in(
            session,
            plan,
            structure_id=structure_id,
            fingerprint=fingerprint,
            owner_id=snapshot.owner_id,
            priority=0 if snapshot.is_baseline else 1,
        )
        _retry_failure_of_others(services, session, row, simulation)
        candidate = CandidateTable(
            campaign_id=row.id,
            iteration_number=number,
            rank=rank,
            point_key=entry.point.key,
            parameters=dict(entry.point.parameters),
            structure_id=structure_id,
            simulation_id=simulation.id,
            predicted_value=entry.predicted_value,
            predicted_sigma=entry.predicted_sigma,
            acquisition_score=entry.acquisition_score,
            feasibility=entry.feasibility,
            reason=entry.reason,
        )
        session.add(candidate)
        _apply_if_ended(session, candidate, simulation)
    row.simulations_used += len(choice.chosen)
    if row.steps_granted is not None:
        row.steps_granted -= 1
    session.flush()
    wake(session, row.id)


def _retry_failure_of_others(
    services: Services, session: Session, row: CampaignTable, simulation: SimulationTable
) -> None:
    """Queue a simulation again that had failed or was cancelled before this campaign.

    What was missing then (a program, space on the disk) may be there now. A failure of this
    campaign or of its baseline is the outcome for both.
    """
    origin = row.baseline_of_id or row.id
    own = session.scalar(
        select(func.count())
        .select_from(CandidateTable)
        .join(CampaignTable, CampaignTable.id == CandidateTable.campaign_id)
        .where(
            or_(CampaignTable.id == origin, CampaignTable.baseline_of_id == origin),
            or_(
                CandidateTable.simulation_id == simulation.id,
                CandidateTable.cross_check_simulation_id == simulation.id,
            ),
        )
    )
    if not own:
        services.jobs.retry_in(session, simulation.job_id)


def _apply_if_ended(
    session: Session, candidate: CandidateTable, simulation: SimulationTable
) -> None:
    """A simulation that another campaign had done before gives its outcome at once.

    Its job is locked first: it either has ended, or will find this candidate when it does.
    """
    job = session.scalar(select(JobTable).where(JobTable.id == simulation.job_id).with_for_update())
    if job is not None and job.state in TERMINAL_STATES:
        apply_outcome(candidate, simulation, job)


def _close_iteration(session: Session, snapshot: CampaignSnapshot) -> None:
    """Fill in what the last iteration came to."""
    last = session.scalar(
        select(IterationTable).where(
            IterationTable.campaign_id == snapshot.id,
            IterationTable.number == snapshot.iterations,
        )
    )
    if last is None or last.finished_at is not None:
        return
    own = [c for c in snapshot.candidates if c.iteration_number == last.number]
    last.candidates_simulated = sum(c.state == "simulated" for c in own)
    best = best_candidate(snapshot.config, snapshot.candidates)
    last.best_value = best[1] if best is not None else None
    last.finished_at = cast("Any", db_now())


def _finish(services: Services, snapshot: CampaignSnapshot, reason: str) -> JobOutcome:
    check, request = snapshot.config.cross_check, cross_check_request(snapshot.config)
    checked = any(c.cross_check_simulation_id is not None for c in snapshot.candidates)
    winners = ranking(snapshot.config, snapshot.candidates)
    if check is None or request is None or checked or not winners or snapshot.is_baseline:
        return _change_state(snapshot, "completed", reason)
    plan = _plan(services, request)
    with services.database.read() as session:
        chosen = {
            candidate.id: services.simulations.fingerprint(
                plan, row_structure(session.get_one(StructureTable, candidate.structure_id))
            )
            for candidate, _ in winners[: check.top]
        }

    def finalize(session: Session) -> None:
        row = _lock_running(session, snapshot.id, snapshot.iterations)
        if row is None:
            return
        _close_iteration(session, snapshot)
        for candidate_id, fingerprint in chosen.items():
            candidate = session.get_one(CandidateTable, candidate_id)
            simulation = services.simulations.submit_in(
                session,
                plan,
                structure_id=candidate.structure_id,
                fingerprint=fingerprint,
                owner_id=snapshot.owner_id,
                priority=1,
            )
            _retry_failure_of_others(services, session, row, simulation)
            candidate.cross_check_simulation_id = simulation.id
            _apply_if_ended(session, candidate, simulation)
        session.flush()
        wake(session, row.id)

    return JobOutcome(result={"did": "cross-check", "chosen": len(chosen)}, finalize=finalize)


def _change_state(snapshot: CampaignSnapshot, state: str, reason: str) -> JobOutcome:
    def finalize(session: Session) -> None:
        row = _lock_running(session, snapshot.id, snapshot.iterations)
        if row is None:
            return
        _close_iteration(session, snapshot)
        row.state, row.reason = state, reason
        if state == "completed":
            row.finished_at = cast("Any", db_now())

    return JobOutcome(result={"did": state}, finalize=finalize)


def tell_campaign(session: Session, job: JobTable) -> None:
    """A step that failed for good fails its campaign; one that was cancelled pauses it."""
    if job.state not in {FAILED, CANCELLED}:
        return
    row = session.get(CampaignTable, uuid.UUID(job.payload["campaign_id"]))
    if row is not None and row.state == "running":
        row.state = "failed" if job.state == FAILED else "paused"
        row.reason = job.error["message"] if job.error else "Its step was cancelled."


CAMPAIGN = JobKind(name="campaign", handler=run_step, on_terminal=tell_campaign)
