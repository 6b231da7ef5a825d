"""What is told of a campaign: frozen records, and how rows become them."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from nanoos.db import CandidateTable, IterationTable
from nanoos.design.campaign import CampaignConfig, judge, observed


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A campaign as it stood when it was read.

    Attributes:
        best_value: Target of the best feasible candidate, in its unit; None while there is none.
        best_point: Key of that candidate.
        waiting: Simulations that have not ended.
    """

    id: uuid.UUID
    owner_id: uuid.UUID
    shared: bool
    baseline_id: uuid.UUID | None
    name: str
    strategy: str
    config: CampaignConfig
    state: str
    reason: str | None
    simulation_budget: int
    simulations_used: int
    iterations: int
    waiting: int
    best_value: float | None
    best_point: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignCandidate:
    """A candidate: what was predicted, what came out, why it was chosen.

    Attributes:
        order: How many simulations of the campaign were chosen before this one.
        value: Target of the simulation, None until it ended well.
        feasible: Whether the constraints hold, None until then.
    """

    order: int
    iteration: int
    point_key: str
    parameters: Mapping[str, Any]
    structure_id: uuid.UUID
    simulation_id: uuid.UUID | None
    predicted_value: float | None
    predicted_sigma: float | None
    acquisition_score: float | None
    feasibility: float | None
    reason: str
    state: str
    value: float | None
    value_source: str
    feasible: bool | None
    values: Mapping[str, float] | None
    cross_check_values: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    cost_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """Best feasible value after each simulation, beside the random baseline's.

    Attributes:
        best: One entry for each simulation in the order chosen; None before the first feasible.
        values: Target of each simulation, None where it failed or is outside the constraints.
        baseline: As ``best``, of the baseline; empty where there is none.
        baseline_values: As ``values``, of the baseline.
        hits: Number of candidates so far that reach the target, for each simulation.
        iterations: One entry for each iteration.
    """

    target_property: str
    unit: str
    goal: str | None
    target_range: tuple[float, float] | None
    best: Sequence[float | None]
    values: Sequence[float | None]
    baseline: Sequence[float | None]
    baseline_values: Sequence[float | None]
    hits: Sequence[int]
    iterations: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedCandidate:
    """A candidate that is worth a simulation now, and why."""

    point_key: str
    structure_id: uuid.UUID
    predicted_value: float
    uncertainty: float
    acquisition_score: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a campaign would be, said before anything is spent.

    Attributes:
        raw_size: Combinations before constraints.
        size: Candidates.
        excluded: Why combinations were removed, and how many for each reason.
        simulations: Of the campaign, at most.
        baseline_simulations: Of the random baseline, at most; those that the campaign also
            chooses are done once.
        cross_checks: Simulations of winners with the other potential.
        seconds_per_simulation: Rough mean over the space, on one thread; None where what is
            missing is needed to say.
        seconds: Rough time of everything with ``concurrency`` simulations at once; None likewise.
        missing: What this machine lacks, a sentence each with what to do.
        simulation: Engine and workflow, in the engine's own words.
        set_aside: Parameters of the file that belong to another engine and are not used.
        cost_note: What to know before trusting the time; empty where there is nothing.
    """

    raw_size: int
    size: int
    excluded: Mapping[str, int]
    simulations: int
    baseline_simulations: int
    cross_checks: int
    seconds_per_simulation: float | None
    seconds: float | None
    concurrency: int
    missing: Sequence[str]
    simulation: str
    set_aside: Sequence[str] = ()
    cost_note: str = ""


def as_config(config: CampaignConfig | Mapping[str, Any]) -> CampaignConfig:
    """A checked configuration.

    Raises:
        ConfigError: one sentence for each problem.
    """
    if isinstance(config, CampaignConfig):
        return config
    from nanoos.design.spaces.errors import config_error

    try:
        return CampaignConfig.model_validate(config)
    except ValidationError as error:
        known = tuple(CampaignConfig.model_fields)
        raise config_error("The campaign", error, known=known) from error


def outcomes(candidates: Sequence[CampaignCandidate]) -> list[Mapping[str, float] | None]:
    """What each ended candidate gave, by property name; None for one that failed."""
    return [
        observed(candidate.values) if candidate.values is not None else None
        for candidate in candidates
        if candidate.state != "selected"
    ]


def feasible_values(candidates: Sequence[CampaignCandidate]) -> list[float | None]:
    """Target of each ended candidate; None where it failed or is outside the constraints."""
    return [c.value if c.feasible else None for c in candidates if c.state != "selected"]


def best_candidate(
    config: CampaignConfig, candidates: Sequence[CandidateTable]
) -> tuple[CandidateTable, float] | None:
    """The best feasible candidate and its value; None while there is none."""
    ranked = ranking(config, candidates)
    return ranked[0] if ranked else None


def ranking(
    config: CampaignConfig, candidates: Sequence[CandidateTable]
) -> list[tuple[CandidateTable, float]]:
    """Feasible simulated candidates with their values, best first."""
    judged = [
        (candidate, judgement)
        for candidate in candidates
        if candidate.values is not None
        and (judgement := judge(config, candidate.values)) is not None
        and judgement.feasible
    ]
    judged.sort(key=lambda pair: (-pair[1].score, pair[0].iteration_number, pair[0].rank))
    return [(candidate, judgement.value) for candidate, judgement in judged]


def candidate_view(config: CampaignConfig, order: int, row: CandidateTable) -> CampaignCandidate:
    """The record of a row; ``order`` counts the candidates chosen before it."""
    judgement = judge(config, row.values) if row.values is not None else None
    return CampaignCandidate(
        order=order,
        iteration=row.iteration_number,
        point_key=row.point_key,
        parameters=row.parameters,
        structure_id=row.structure_id,
        simulation_id=row.simulation_id,
        predicted_value=row.predicted_value,
        predicted_sigma=row.predicted_sigma,
        acquisition_score=row.acquisition_score,
        feasibility=row.feasibility,
        reason=row.reason,
        state=row.state,
        value=judgement.value if judgement is not None else None,
        value_source=row.value_source,
        feasible=judgement.feasible if judgement is not None else None,
        values=row.values,
        cross_check_values=row.cross_check_values,
        error=row.error,
        cost_s=row.cost_s,
    )


def iteration_document(row: IterationTable) -> dict[str, Any]:
    """One iteration, JSON types."""
    return {
        "number": row.number,
        "candidates_ml_predicted": row.candidates_ml_predicted,
        "candidates_simulated": row.candidates_simulated,
        "simulation_budget_used": row.simulation_budget_used,
        "active_learning_stats": row.active_learning_stats,
        "best_value": row.best_value,
        "created_at": row.created_at.isoformat(),
        "finished_at": row.finished_at.isoformat() if row.finished_at else None,
    }
