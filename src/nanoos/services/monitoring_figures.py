"""Whether a model does worse than its card by more than chance explains.

Three questions, each with its own test; all are conservative, so that asking again with every
result raises few false alarms:

- **error**: the lower 99 % bootstrap bound of the mean absolute error (whole formulas drawn) lies
  above the upper end of the card's own 95 % interval;
- **coverage**: so few truths lie in their 0.9 interval that a model with the coverage of its card,
  which is itself known from a limited number of rows, would do so in less than 1 of 1000 cases
  (Beta-binomial);
- **drift**: so many predictions are out of domain that ordinary crystals, of which 3 % are
  flagged, would give as many in less than 1 of 1000 cases (binomial).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nanoos.core.records import PropertyValue

LEVEL: Final = 0.9
MIN_OBSERVATIONS: Final = 20
"""Fewer results, or predictions, say nothing yet."""

CHANCE: Final = 1e-3
_BOUND: Final = 0.98  # two-sided, so that 1 % lies below its lower end
_DRAWS: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One structure that was predicted and simulated on the same level of theory.

    Attributes:
        formula: Reduced.
        error: Predicted minus simulated.
        truth: Simulated.
        predicted: With its intervals.
    """

    formula: str
    error: float
    truth: float
    predicted: PropertyValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was observed of a model, beside its card; None where it is not known.

    Attributes:
        n: Structures predicted and simulated on the same level of theory.
        unit: Of the errors.
        mae: Mean absolute error observed.
        mae_bounds: 98 % bootstrap interval of ``mae``.
        card_mae: Of the card.
        card_mae_interval: 95 %, of the card.
        coverage: Share of truths in their 0.9 interval.
        n_intervals: Structures with such an interval.
        card_coverage: At 0.9, of the card.
        n_judged: Newest predictions that were judged for their domain.
        out_of_domain: Share of them outside.
        expected_out_of_domain: Of ordinary crystals.
    """

    n: int
    unit: str | None
    mae: float | None
    mae_bounds: tuple[float, float] | None
    card_mae: float | None
    card_mae_interval: tuple[float, float] | None
    coverage: float | None
    n_intervals: int
    card_coverage: float | None
    n_judged: int
    out_of_domain: float | None
    expected_out_of_domain: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One way in which a model does worse than its card.

    Attributes:
        kind: ``error``, ``coverage`` or ``drift``.
        message: For people.
        figures: The numbers behind it.
    """

    kind: str
    message: str
    figures: Mapping[str, Any]


def figures_of(
    observations: Sequence[Observation], judged: tuple[int, int], card: Mapping[str, Any]
) -> tuple[Figures, tuple[Problem, ...]]:
    """What was observed, and where that is worse than the card.

    Args:
        observations: One for each structure.
        judged: Predictions judged for their domain, and how many of them were outside.
        card: ``metrics`` of the model's row.
    """
    from nanoos.models.domain import ORDINARY_RATE
    from nanoos.models.reliability import bootstrap_mean_interval

    errors = [abs(one.error) for one in observations]
    inside = [
        ends[0] <= one.truth <= ends[1]
        for one in observations
        if (ends := one.predicted.interval(LEVEL)) is not None
    ]
    interval = card.get("mae_interval")
    figures = Figures(
        n=len(errors),
        unit=observations[0].predicted.unit if observations else card.get("unit"),
        mae=sum(errors) / len(errors) if errors else None,
        mae_bounds=bootstrap_mean_interval(
            errors,
            [one.formula for one in observations],
            confidence=_BOUND,
            n_draws=_DRAWS,
        )
        if errors
        else None,
        card_mae=card.get("mae"),
        card_mae_interval=None if interval is None else (interval[0], interval[1]),
        coverage=sum(inside) / len(inside) if inside else None,
        n_intervals=len(inside),
        card_coverage=(card.get("coverage") or {}).get(f"{LEVEL:g}"),
        n_judged=judged[0],
        out_of_domain=judged[1] / judged[0] if judged[0] else None,
        expected_out_of_domain=ORDINARY_RATE,
    )
    found = (
        _error(figures),
        _coverage(figures, sum(inside), int(card.get("n") or 0)),
        _drift(figures, judged[1]),
    )
    return figures, tuple(problem for problem in found if problem is not None)


def _error(figures: Figures) -> Problem | None:
    if figures.n < MIN_OBSERVATIONS or figures.mae_bounds is None or figures.card_mae is None:
        return None
    allowed = (figures.card_mae_interval or (0.0, figures.card_mae))[1]
    if figures.mae_bounds[0] <= allowed:
        return None
    return Problem(
        kind="error",
        message=f"the mean absolute error on {figures.n} results is {figures.mae:.3g} "
        f"{figures.unit}, on its card {figures.card_mae:.3g}.",
        figures={
            "n": figures.n,
            "mae": figures.mae,
            "mae_bounds": list(figures.mae_bounds),
            "card_mae": figures.card_mae,
            "allowed": allowed,
        },
    )


def _coverage(figures: Figures, n_inside: int, n_card: int) -> Problem | None:
    from scipy.stats import betabinom

    n, share = figures.n_intervals, figures.card_coverage
    if n < MIN_OBSERVATIONS or share is None or n_card == 0:
        return None
    expected = betabinom(n, 1 + share * n_card, 1 + (1 - share) * n_card)
    chance = float(expected.cdf(n_inside))
    if chance >= CHANCE:
        return None
    return Problem(
        kind="coverage",
        message=f"the {LEVEL:g} interval held for {n_inside} of {n} results, on its card for "
        f"{share:.1%}.",
        figures={"n": n, "inside": n_inside, "card_coverage": share, "chance": chance},
    )


def _drift(figures: Figures, n_outside: int) -> Problem | None:
    from scipy.stats import binom

    n = figures.n_judged
    if n < MIN_OBSERVATIONS:
        return None
    chance = float(binom(n, figures.expected_out_of_domain).sf(n_outside - 1))
    if chance >= CHANCE:
        return None
    return Problem(
        kind="drift",
        message=f"{n_outside} of the last {n} structures were out of its domain; of ordinary "
        f"crystals {figures.expected_out_of_domain:.0%} are.",
        figures={"n": n, "outside": n_outside, "chance": chance},
    )
