"""From a campaign's rows to its next candidates: the bridge to the pure policy in design."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Final, cast

import numpy as np

from nanoos.core.errors import ConflictError, InvalidInputError
from nanoos.db import CandidateTable
from nanoos.design import ALCandidate, ALConfig, BOConfig, Proposal, propose
from nanoos.design.active import Strategy, select_candidates_for_simulation
from nanoos.design.campaign import CampaignConfig, observed
from nanoos.design.descriptors import describe_points
from nanoos.design.spaces import Space, SpacePoint, build_space
from nanoos.engines import get_engine
from nanoos.services.simulations import SimulationPlan

_LACKS_ELEMENTS: Final = {"uncovered_element": "elements", "missing_pseudopotential": "missing"}
"""Code of a refusal to the detail that names the elements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenPoint:
    """A point that was chosen, with what was predicted of it, and why it was chosen."""

    point: SpacePoint
    predicted_value: float | None
    predicted_sigma: float | None
    acquisition_score: float | None
    feasibility: float | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The next batch.

    Attributes:
        chosen: In order of preference.
        n_predicted: Candidates that the surrogate predicted for it.
        diagnostics: Phase, quality of the surrogates, notes (JSON types).
    """

    chosen: tuple[ChosenPoint, ...]
    n_predicted: int
    diagnostics: Mapping[str, Any]

    @property
    def keys(self) -> list[str]:
        """Keys of the chosen points."""
        return [entry.point.key for entry in self.chosen]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Described:
    space: Space
    points: Mapping[str, SpacePoint]
    descriptors: Any


def choose(
    config: CampaignConfig, candidates: Sequence[CandidateTable], iterations: int, wanted: int
) -> Choice:
    """At most ``wanted`` points to simulate next; the same arguments give the same answer."""
    if config.strategy == "random":
        return _random(config, candidates, wanted)
    if config.active_learning.enabled and len(candidates) >= config.bo_config.n_initial_random:
        section = config.active_learning
        budget = min(wanted, section.simulation_budget_per_iteration)
        chosen, total = select_by_strategy(
            config, candidates, strategy=section.strategy, budget=budget
        )
        diagnostics = {"phase": "active_learning", "strategy": section.strategy}
        return Choice(chosen=tuple(chosen), n_predicted=total, diagnostics=diagnostics)
    proposal = _propose(config, candidates, iterations, wanted)
    points = _described(config).points
    return Choice(
        chosen=tuple(
            ChosenPoint(
                point=points[entry.key],
                predicted_value=entry.predicted_value,
                predicted_sigma=entry.predicted_uncertainty,
                acquisition_score=entry.acquisition_score,
                feasibility=entry.feasibility,
                reason=entry.reason,
            )
            for entry in proposal.chosen
        ),
        n_predicted=proposal.n_predicted,
        diagnostics={
            "phase": proposal.phase,
            "notes": list(proposal.notes),
            "surrogates": {name: asdict(report) for name, report in proposal.reports.items()},
        },
    )


def batch_size(config: CampaignConfig, candidates: Sequence[CandidateTable]) -> int:
    """Candidates of the next batch: the first one is spread over the space and larger."""
    section = config.bo_config
    return section.n_initial_random if not candidates else section.batch_size


def _propose(
    config: CampaignConfig, candidates: Sequence[CandidateTable], iterations: int, wanted: int
) -> Proposal:
    described = _described(config)
    section = config.bo_config
    return propose(
        list(described.points),
        described.descriptors,
        _observations(config, candidates),
        config=BOConfig(
            target_property=config.target_property,
            goal=config.goal,
            target_range=config.target_range,
            constraints=tuple(config.constraints),
            unit=config.target.unit,
            acquisition_function=section.acquisition_function,
            n_initial_random=section.n_initial_random,
            batch_size=section.batch_size,
        ),
        seed=config.seed,
        iteration=iterations,
        pending=[c.point_key for c in candidates if c.state == "selected"],
        n_suggestions=wanted,
    )


def _observations(
    config: CampaignConfig, candidates: Sequence[CandidateTable]
) -> dict[str, dict[str, float] | None]:
    """What is known of each ended candidate; None for one that gave nothing usable."""
    needed = {config.target_property, *(c.quantity for c in config.constraints)}
    known: dict[str, dict[str, float] | None] = {}
    for candidate in candidates:
        if candidate.state == "selected":
            continue
        values = observed(candidate.values or {})
        known[candidate.point_key] = values if needed <= set(values) else None
    return known


def _random(config: CampaignConfig, candidates: Sequence[CandidateTable], wanted: int) -> Choice:
    """The next points of one seeded order of the whole space."""
    points = _described(config).points
    order = np.random.default_rng(config.seed).permutation(len(points))
    keys = list(points)
    taken = {candidate.point_key for candidate in candidates}
    free = [keys[i] for i in order if keys[i] not in taken]
    chosen = tuple(
        ChosenPoint(
            point=points[key],
            predicted_value=None,
            predicted_sigma=None,
            acquisition_score=None,
            feasibility=None,
            reason="drawn at random",
        )
        for key in free[:wanted]
    )
    return Choice(chosen=chosen, n_predicted=0, diagnostics={"phase": "random"})


def select_by_strategy(
    config: CampaignConfig,
    candidates: Sequence[CandidateTable],
    *,
    strategy: str,
    budget: int,
) -> tuple[list[ChosenPoint], int]:
    """What an active-learning strategy chooses among the points not simulated yet.

    Returns:
        The selection, and the number of points that it was chosen from.

    Raises:
        ConflictError: too little has been simulated to predict anything.
    """
    section = config.active_learning
    proposal = _propose(config, candidates, len(candidates), 1)
    if not proposal.predictions:
        raise ConflictError(
            "Nothing can be predicted yet: too few candidates have been simulated.",
            hint="Run the campaign's first batch before.",
        )
    described = _described(config)
    rows = dict(zip(described.points, described.descriptors, strict=True))
    pool = [
        ALCandidate(
            structure_id=key,
            predicted_value=mean,
            predicted_uncertainty=sigma,
            features=tuple(rows[key]),
        )
        for key, (mean, sigma) in proposal.predictions.items()
    ]
    settings = ALConfig(
        min_uncertainty=section.min_uncertainty,
        exploration_weight=section.exploration_weight,
        goal=config.goal or "max",
    )
    selected = select_candidates_for_simulation(
        pool, budget, cast("Strategy", strategy), best=proposal.best, config=settings
    )
    return [
        ChosenPoint(
            point=described.points[entry.structure_id],
            predicted_value=entry.predicted_value,
            predicted_sigma=entry.predicted_uncertainty,
            acquisition_score=entry.acquisition_score,
            feasibility=None,
            reason=entry.reason,
        )
        for entry in selected
    ], len(pool)


def uncovered_elements(space: Space, plan: SimulationPlan) -> list[str]:
    """Elements of the space that the engine, its potential or its pseudopotentials lack, sorted."""
    engine = get_engine(plan.engine)()
    parameters = {**plan.parameters, "workflow": plan.workflow}
    seen: set[str] = set()
    missing: set[str] = set()
    for point in space:
        elements = set(point.composition)
        if elements <= seen:
            continue
        seen |= elements
        try:
            engine.validate(point.structure(), parameters)
        except InvalidInputError as error:
            if error.error_code not in _LACKS_ELEMENTS:
                raise
            missing |= set(error.details[_LACKS_ELEMENTS[error.error_code]])
    return sorted(missing)


def _described(config: CampaignConfig) -> _Described:
    """Space and descriptors, kept from step to step in the warm child."""
    return _described_by_text(json.dumps(config.parameter_space, sort_keys=True))


@lru_cache(maxsize=8)
def _described_by_text(text: str) -> _Described:
    space = build_space(json.loads(text))
    points = {point.key: point for point in space}
    return _Described(
        space=space, points=points, descriptors=describe_points(list(points.values())).values
    )
