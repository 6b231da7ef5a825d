"""Active learning: which predicted candidates are worth a simulation, within a budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from nanoos.core.errors import InvalidInputError
from nanoos.design.acquisition import log_relu_mean

FloatArray = npt.NDArray[np.float64]

Strategy = Literal[
    "uncertainty", "greedy_uncertainty", "expected_improvement", "diverse_uncertainty"
]
STRATEGIES: Final[tuple[str, ...]] = get_args(Strategy)


class ALConfig(BaseModel):
    """How candidates are picked for simulation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: Strategy = "expected_improvement"
    budget: int = Field(default=10, ge=0)
    """Simulations in one iteration."""
    min_uncertainty: float = Field(default=0.01, ge=0)
    """A candidate predicted more surely than this (unit of the property) is not simulated."""
    exploration_weight: float = Field(default=1.0, ge=0)
    """Standard deviations added to the value by ``greedy_uncertainty``."""
    goal: Literal["min", "max"] = "max"
    """Which values are good, for the strategies that look at them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ALCandidate:
    """A predicted candidate.

    Attributes:
        structure_id: Which.
        predicted_value: Unit of the property.
        predicted_uncertainty: One standard deviation, same unit.
        acquisition_score: Filled by :func:`select_candidates_for_simulation`.
        features: (d,) descriptors, needed by ``diverse_uncertainty``.
        cost: Relative cost of its simulation; scores are divided by it.
        reason: Why it was selected.
    """

    structure_id: str
    predicted_value: float
    predicted_uncertainty: float
    acquisition_score: float = 0.0
    features: tuple[float, ...] | None = None
    cost: float = 1.0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationBudget:
    """Simulations allowed and spent. Immutable: :meth:`spend` gives the next one.

    Attributes:
        total: Over the whole campaign.
        used: So far.
        per_iteration: At most this many at once; None for no such limit.
    """

    total: int
    used: int = 0
    per_iteration: int | None = None

    @property
    def remaining(self) -> int:
        """Simulations left."""
        return max(self.total - self.used, 0)

    @property
    def available(self) -> int:
        """Simulations that may start now."""
        limit = self.remaining if self.per_iteration is None else self.per_iteration
        return min(self.remaining, limit)

    def spend(self, count: int) -> "SimulationBudget":
        """The budget after ``count`` simulations.

        Raises:
            InvalidInputError: more than there are left.
        """
        if not 0 <= count <= self.remaining:
            raise InvalidInputError(
                f"{count} simulations do not fit the {self.remaining} that are left."
            )
        return replace(self, used=self.used + count)


def compute_acquisition_score(
    predicted_value: float,
    predicted_uncertainty: float,
    strategy: Strategy = "expected_improvement",
    *,
    best: float | None = None,
    goal: Literal["min", "max"] = "max",
    exploration_weight: float = 1.0,
    cost: float = 1.0,
) -> float:
    """How much one simulation is worth, larger is better.

    ``uncertainty`` and ``diverse_uncertainty``: the standard deviation (diversity enters in the
    selection). ``greedy_uncertainty``: value (or its negative for ``min``) plus
    ``exploration_weight`` standard deviations. ``expected_improvement``: over ``best``, unit of
    the property.

    Raises:
        InvalidInputError: unknown strategy, cost not positive, or no ``best`` for
            ``expected_improvement``.
    """
    if strategy not in STRATEGIES:
        raise InvalidInputError(
            f"There is no strategy {strategy!r}.", hint="Known: " + ", ".join(STRATEGIES) + "."
        )
    if not cost > 0:
        raise InvalidInputError(f"A cost of {cost} is not positive.")
    sign = 1.0 if goal == "max" else -1.0
    if strategy == "greedy_uncertainty":
        score = sign * predicted_value + exploration_weight * predicted_uncertainty
        # dividing a negative score by a cost would favour the expensive one
        return score / cost if score > 0 else score * cost
    if strategy == "expected_improvement":
        if best is None:
            raise InvalidInputError(
                "expected_improvement needs the best value so far.",
                hint="Pass best, or use the strategy uncertainty for a first batch.",
            )
        sigma = max(predicted_uncertainty, 1e-12)
        gain = log_relu_mean(sign * (predicted_value - best) / sigma)
        return float(sigma * np.exp(gain[0])) / cost
    return predicted_uncertainty / cost


def select_candidates_for_simulation(
    candidates: Sequence[ALCandidate],
    budget: int | SimulationBudget,
    strategy: Strategy = "expected_improvement",
    *,
    best: float | None = None,
    config: ALConfig | None = None,
) -> list[ALCandidate]:
    """The candidates to simulate, best first, at most as many as the budget allows.

    Candidates surer than ``config.min_uncertainty`` are left out. ``diverse_uncertainty`` picks
    one after another the largest product of standard deviation and distance to the nearest one
    already picked (standardised features), so a batch does not hold near copies. Without
    ``best``, ``expected_improvement`` improves on the best predicted value.

    Args:
        candidates: Predicted, in any order; ties keep it.
        budget: A number, or a :class:`SimulationBudget` whose ``available`` counts.
        strategy: One of :data:`STRATEGIES`.
        best: Best simulated value so far.
        config: Thresholds and weights; its own budget and strategy are not read here.

    Raises:
        InvalidInputError: unknown strategy, or features missing for ``diverse_uncertainty``.
    """
    settings = config or ALConfig()
    limit = budget.available if isinstance(budget, SimulationBudget) else budget
    unsure = [c for c in candidates if c.predicted_uncertainty >= settings.min_uncertainty]
    if best is None and candidates:
        values = [c.predicted_value for c in candidates]
        best = max(values) if settings.goal == "max" else min(values)
    scored = [
        replace(
            c,
            acquisition_score=compute_acquisition_score(
                c.predicted_value,
                c.predicted_uncertainty,
                strategy,
                best=best,
                goal=settings.goal,
                exploration_weight=settings.exploration_weight,
                cost=c.cost,
            ),
        )
        for c in unsure
    ]
    if strategy == "diverse_uncertainty":
        picked = _diverse(scored, limit)
    else:
        picked = sorted(scored, key=lambda c: -c.acquisition_score)[: max(limit, 0)]
    title = strategy.replace("_", " ")
    return [
        replace(
            c,
            reason=f"{title} {c.acquisition_score:.3g}: predicted {c.predicted_value:.4g} ± "
            f"{c.predicted_uncertainty:.2g}",
        )
        for c in picked
    ]


def _diverse(candidates: Sequence[ALCandidate], limit: int) -> list[ALCandidate]:
    if not candidates or limit <= 0:
        return []
    if any(c.features is None for c in candidates):
        raise InvalidInputError(
            "diverse_uncertainty needs the features of every candidate.",
            hint="Set ALCandidate.features, or use the strategy uncertainty.",
        )
    x = np.array([c.features for c in candidates], dtype=np.float64)
    spread = x.std(axis=0)
    z = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    base = np.array([c.acquisition_score for c in candidates])
    order = [int(np.argmax(base))]
    final = {order[0]: float(base[order[0]])}
    distance = np.linalg.norm(z - z[order[0]], axis=1)
    while len(order) < min(limit, len(candidates)):
        score = base * distance
        score[order] = -np.inf
        order.append(int(np.argmax(score)))
        final[order[-1]] = float(score[order[-1]])
        distance = np.minimum(distance, np.linalg.norm(z - z[order[-1]], axis=1))
    return [replace(candidates[i], acquisition_score=final[i]) for i in order]


def classify_confidence(
    candidates: Sequence[ALCandidate], *, threshold: float
) -> Mapping[Literal["high", "low"], tuple[str, ...]]:
    """Which predictions may stand (``high``) and which want a simulation (``low``).

    Args:
        candidates: Predicted.
        threshold: Standard deviation up to which a prediction counts as sure.
    """
    sure = {c.structure_id for c in candidates if c.predicted_uncertainty <= threshold}
    return {
        "high": tuple(c.structure_id for c in candidates if c.structure_id in sure),
        "low": tuple(c.structure_id for c in candidates if c.structure_id not in sure),
    }
