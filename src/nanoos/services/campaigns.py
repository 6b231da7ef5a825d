"""Campaigns: making, running, reading them. What a step does stands in campaign_steps."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from nanoos.core.errors import ConflictError, ForbiddenError, NotFoundError
from nanoos.db import (
    CampaignTable,
    CandidateTable,
    Database,
    IterationTable,
    insert_if_absent,
)
from nanoos.design.campaign import CampaignConfig
from nanoos.design.metrics import best_so_far, hits_so_far
from nanoos.services.access import Principal, changeable, visible
from nanoos.services.campaign_checks import check_campaign, estimate_campaign, lacking
from nanoos.services.campaign_progress import enqueue_step, waiting
from nanoos.services.campaign_records import (
    Campaign,
    CampaignCandidate,
    Estimate,
    SelectedCandidate,
    Trajectory,
    as_config,
    best_candidate,
    candidate_view,
    feasible_values,
    iteration_document,
    outcomes,
    ranking,
)
from nanoos.services.jobs import JobService
from nanoos.services.paging import Page, fetch_page
from nanoos.services.structures import StructureService


class CampaignService:
    """Makes, runs and reads campaigns."""

    def __init__(
        self,
        database: Database,
        jobs: JobService,
        structures: StructureService,
    ) -> None:
        self._db = database
        self._jobs = jobs
        self._structures = structures

    # -- making --------------------------------------------------------------------------

    def create(
        self,
        config: CampaignConfig | Mapping[str, Any],
        who: Principal,
        *,
        key: str | None = None,
        allow_local_files: bool = False,
    ) -> Campaign:
        """Check a campaign completely and store it, its random baseline with it.

        Args:
            config: The campaign.
            who: Its owner.
            key: Names the campaign: creating it again gives the one that is there.
            allow_local_files: Whether its space may name files on this machine.

        Raises:
            ConfigError: it cannot be run; says why, before anything is stored.
            NanoosError: as :func:`~nanoos.services.campaign_checks.check_campaign`.
        """
        checked = as_config(config)
        if not allow_local_files and "paths" in checked.parameter_space:
            raise ForbiddenError(
                "A campaign made through the API cannot read files of the server.",
                hint="Use a space of prototypes.",
            )
        check_campaign(checked)
        values = _values(checked, who, key=f"{who.user_id}:{key}" if key is not None else None)
        with self._db.write() as session:
            if not insert_if_absent(session, CampaignTable, values):
                found = select(CampaignTable).where(CampaignTable.key == values["key"])
                return self._view(session, session.scalars(found).one())
            if checked.baseline.enabled and checked.strategy != "random":
                session.add(_baseline_row(checked, who, values["id"]))
                session.flush()
            return self._view(session, session.get_one(CampaignTable, values["id"]))

    def estimate(self, config: CampaignConfig | Mapping[str, Any], *, concurrency: int) -> Estimate:
        """Size, cost, time and what is missing; nothing is stored.

        Raises:
            ConfigError: as :meth:`create`.
        """
        return estimate_campaign(as_config(config), concurrency=concurrency)

    # -- running -------------------------------------------------------------------------

    def run(self, campaign_id: uuid.UUID, who: Principal) -> Campaign:
        """Start or go on until the budget is used; the baseline too.

        Raises:
            UnavailableError: this machine lacks what every simulation of it needs.
        """
        return self._start(campaign_id, who, steps=None)

    def step(self, campaign_id: uuid.UUID, who: Principal) -> Campaign:
        """One iteration, then pause."""
        return self._start(campaign_id, who, steps=1)

    def _start(self, campaign_id: uuid.UUID, who: Principal, *, steps: int | None) -> Campaign:
        with self._db.write() as session:
            row = self._changeable_row(session, campaign_id, who)
            if row.state == "completed":
                raise ConflictError(
                    "The campaign is completed.",
                    hint="Make a new one with a larger budget: what is simulated is not repeated.",
                )
            for lack in lacking(as_config(row.config)):
                raise lack
            baseline = _baseline_of(session, row.id)
            for one in [row, baseline] if baseline is not None and steps is None else [row]:
                if one.state == "completed":
                    continue
                if one.state != "running":
                    one.state, one.reason, one.runs = "running", None, one.runs + 1
                one.steps_granted = steps
                session.flush()
                if not waiting(session, one.id):
                    enqueue_step(session, one)
            session.flush()
            return self._view(session, row)

    def pause(self, campaign_id: uuid.UUID, who: Principal) -> Campaign:
        """Choose no further candidates; simulations that were submitted go on."""
        with self._db.write() as session:
            row = self._changeable_row(session, campaign_id, who)
            if row.state not in {"running", "created"}:
                raise ConflictError(f"The campaign is {row.state}.")
            baseline = _baseline_of(session, row.id)
            for one in [row, baseline] if baseline is not None else [row]:
                if one.state in {"running", "created"}:
                    one.state, one.reason = "paused", "A user paused it."
            session.flush()
            return self._view(session, row)

    def delete(self, campaign_id: uuid.UUID, who: Principal) -> None:
        """Remove a campaign with its bookkeeping; structures and results stay."""
        with self._db.write() as session:
            row = self._changeable_row(session, campaign_id, who)
            session.delete(row)

    # -- reading -------------------------------------------------------------------------

    def get(self, campaign_id: uuid.UUID, who: Principal) -> Campaign:
        """One campaign. Raises NotFoundError where it is not there or not visible."""
        with self._db.read() as session:
            return self._view(session, _visible_row(session, campaign_id, who))

    def page(self, who: Principal, *, cursor: str | None = None, limit: int = 50) -> Page[Campaign]:
        """Campaigns, newest first; baselines are part of theirs and not listed."""
        query: Select[Any] = select(CampaignTable).where(
            visible(CampaignTable, who), CampaignTable.baseline_of_id.is_(None)
        )
        with self._db.read() as session:
            rows, total, following = fetch_page(
                session, query, CampaignTable, cursor=cursor, limit=limit
            )
            items = [self._view(session, row) for row in rows]
        return Page(items=items, total=total, next=following)

    def candidates(
        self, campaign_id: uuid.UUID, who: Principal, *, baseline: bool = False
    ) -> list[CampaignCandidate]:
        """All candidates in the order chosen; of the baseline if asked."""
        with self._db.read() as session:
            row: CampaignTable | None = _visible_row(session, campaign_id, who)
            if baseline:
                row = _baseline_of(session, campaign_id)
            if row is None:
                return []
            config = as_config(row.config)
            return [
                candidate_view(config, order, candidate)
                for order, candidate in enumerate(_candidate_rows(session, row.id))
            ]

    def trajectory(self, campaign_id: uuid.UUID, who: Principal) -> Trajectory:
        """Best so far after each simulation, beside the baseline."""
        campaign = self.get(campaign_id, who)
        own = self.candidates(campaign_id, who)
        with self._db.read() as session:
            rows = session.scalars(
                select(IterationTable)
                .where(IterationTable.campaign_id == campaign_id)
                .order_by(IterationTable.number)
            )
            iterations = [iteration_document(row) for row in rows]
        config = campaign.config
        baseline = self.candidates(campaign_id, who, baseline=True)
        return Trajectory(
            target_property=config.target_property,
            unit=config.target.unit,
            goal=config.goal,
            target_range=config.target_range,
            best=best_so_far(outcomes(own), config.objective),
            values=feasible_values(own),
            baseline=best_so_far(outcomes(baseline), config.objective),
            baseline_values=feasible_values(baseline),
            hits=hits_so_far(outcomes(own), config.objective),
            iterations=iterations,
        )

    def ranked(self, campaign_id: uuid.UUID, who: Principal) -> list[CampaignCandidate]:
        """Feasible simulated candidates, best first."""
        with self._db.read() as session:
            config = as_config(_visible_row(session, campaign_id, who).config)
            rows = _candidate_rows(session, campaign_id)
            order = {row.id: number for number, row in enumerate(rows)}
            return [candidate_view(config, order[row.id], row) for row, _ in ranking(config, rows)]

    def select_for_simulation(
        self, campaign_id: uuid.UUID, who: Principal, *, strategy: str, budget: int
    ) -> tuple[list[SelectedCandidate], int]:
        """What an active-learning strategy would simulate next; nothing is submitted.

        Returns:
            The selection, and the number of candidates that it was chosen from.

        Raises:
            ConflictError: nothing has been simulated yet, so nothing can be predicted.
        """
        from nanoos.services.campaign_policy import select_by_strategy

        campaign = self.get(campaign_id, who)
        with self._db.read() as session:
            rows = _candidate_rows(session, campaign_id)
        chosen, total = select_by_strategy(campaign.config, rows, strategy=strategy, budget=budget)
        with self._db.write() as session:
            selected = [
                SelectedCandidate(
                    point_key=entry.point.key,
                    structure_id=self._structures.get_or_add_in(
                        session,
                        entry.point.structure(),
                        campaign.owner_id,
                        {"kind": "campaign", "campaign_id": str(campaign_id)},
                    ),
                    predicted_value=entry.predicted_value or 0.0,
                    uncertainty=entry.predicted_sigma or 0.0,
                    acquisition_score=entry.acquisition_score or 0.0,
                    reason=entry.reason,
                )
                for entry in chosen
            ]
        return selected, total

    # -- inside --------------------------------------------------------------------------

    @staticmethod
    def _changeable_row(session: Session, campaign_id: uuid.UUID, who: Principal) -> CampaignTable:
        row = session.scalar(
            select(CampaignTable)
            .where(CampaignTable.id == campaign_id, visible(CampaignTable, who))
            .with_for_update()
        )
        if row is None:
            raise NotFoundError(f"There is no campaign {campaign_id}.")
        allowed = session.scalar(
            select(CampaignTable.id).where(
                CampaignTable.id == campaign_id, changeable(CampaignTable, who)
            )
        )
        if allowed is None:
            raise ForbiddenError("The campaign is shared with you, but not yours to change.")
        return row

    @staticmethod
    def _view(session: Session, row: CampaignTable) -> Campaign:
        config = as_config(row.config)
        best = best_candidate(config, _candidate_rows(session, row.id))
        baseline = _baseline_of(session, row.id)
        iterations = session.scalars(
            select(IterationTable.id).where(IterationTable.campaign_id == row.id)
        ).all()
        return Campaign(
            id=row.id,
            owner_id=row.owner_id,
            shared=row.shared,
            baseline_id=baseline.id if baseline is not None else None,
            name=row.name,
            strategy=row.strategy,
            config=config,
            state=row.state,
            reason=row.reason,
            simulation_budget=row.simulation_budget,
            simulations_used=row.simulations_used,
            iterations=len(iterations),
            waiting=waiting(session, row.id),
            best_value=best[1] if best is not None else None,
            best_point=best[0].point_key if best is not None else None,
            created_at=row.created_at,
            finished_at=row.finished_at,
        )


def _values(config: CampaignConfig, who: Principal, *, key: str | None) -> dict[str, Any]:
    return {
        "id": uuid.uuid4(),
        "owner_id": who.user_id,
        "name": config.name,
        "key": key,
        "strategy": config.strategy,
        "config": config.model_dump(mode="json"),
        "simulation_budget": config.simulation_budget,
    }


def _baseline_row(config: CampaignConfig, who: Principal, campaign_id: uuid.UUID) -> CampaignTable:
    baseline = config.model_copy(
        update={
            "name": f"{config.name} (random baseline)"[:200],
            "strategy": "random",
            "seed": config.baseline.seed,
            "cross_check": None,
        }
    )
    return CampaignTable(**_values(baseline, who, key=None), baseline_of_id=campaign_id)


def _baseline_of(session: Session, campaign_id: uuid.UUID) -> CampaignTable | None:
    return session.scalar(select(CampaignTable).where(CampaignTable.baseline_of_id == campaign_id))


def _visible_row(session: Session, campaign_id: uuid.UUID, who: Principal) -> CampaignTable:
    row = session.scalar(
        select(CampaignTable).where(CampaignTable.id == campaign_id, visible(CampaignTable, who))
    )
    if row is None:
        raise NotFoundError(f"There is no campaign {campaign_id}.")
    return row


def _candidate_rows(session: Session, campaign_id: uuid.UUID) -> Sequence[CandidateTable]:
    return session.scalars(
        select(CandidateTable)
        .where(CandidateTable.campaign_id == campaign_id)
        .order_by(CandidateTable.iteration_number, CandidateTable.rank)
    ).all()
