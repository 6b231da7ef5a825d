"""Acquisition functions over a discrete set of candidates.

Each turns the posterior of the target property into one score for each candidate, larger is
better. Goals and target ranges are both served. For a range, improvement is counted in
distance to it, and never ends: after the first hit the margin stays at half the width of the
range, so that a campaign goes on to collect hits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import erfcx, log_ndtr, ndtr

from nanoos.core.registry import Registry
from nanoos.design.objective import Objective, log_probability_in_range

FloatArray = npt.NDArray[np.float64]

_SERIES_BELOW: Final = -50.0
_LOG_SQRT_2PI: Final = 0.5 * float(np.log(2 * np.pi))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AcquisitionInput:
    """What an acquisition function may look at.

    Attributes:
        mean: (n,) posterior mean, unit of the property.
        std: (n,) posterior standard deviation of the property.
        objective: What is sought.
        best: Best value so far (observed or believed); None where there is none.
        exploration_weight: kappa of the upper confidence bound.
        rng: For random members.
    """

    mean: FloatArray
    std: FloatArray
    objective: Objective
    best: float | None
    exploration_weight: float
    rng: np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """One acquisition function.

    Attributes:
        name: Name in :data:`ACQUISITIONS`.
        title: What a high score means, for the reason given to a person.
        score: Input to (n,) scores, larger is better.
        log_scale: Scores are logarithms: constraints are added as log probabilities.
        may_be_negative: Scores have no natural zero (a bound on the value itself).
        uses_surrogate: False where neither mean nor std is looked at.
    """

    name: str
    title: str
    score: Callable[[AcquisitionInput], FloatArray]
    log_scale: bool = False
    may_be_negative: bool = False
    uses_surrogate: bool = True


def weigh_by_feasibility(
    acquisition: Acquisition, scores: FloatArray, log_feasible: FloatArray
) -> FloatArray:
    """(n,) scores times the probability that all constraints hold.

    Scores without a natural zero (upper confidence bound) are measured from the lowest one, so
    that a probability always lowers a score, whatever the unit or sign. The random reference ignores constraints.
    """
    if not acquisition.uses_surrogate:
        return scores
    if acquisition.log_scale:
        return scores + log_feasible
    floor = float(scores.min()) if acquisition.may_be_negative else 0.0
    return (scores - floor) * np.exp(log_feasible)


def log_relu_mean(u: npt.ArrayLike) -> FloatArray:
    """log(phi(u) + u Phi(u)): log of the expected positive part of a normal variable.

    Accurate for any u, where the plain formula underflows below u = -38 and loses digits long
    before. Ref: Ament et al. 2023, arXiv 2310.20708, eq. 9.
    """
    z = np.atleast_1d(np.asarray(u, dtype=np.float64))
    out = np.empty_like(z)
    upper = z > -1
    zu = z[upper]
    out[upper] = np.log(np.exp(-0.5 * zu**2 - _LOG_SQRT_2PI) + zu * ndtr(zu))
    zl = z[~upper]
    # u Phi(u) / phi(u) by the scaled complementary error function, which does not underflow
    ratio = np.sqrt(np.pi / 2) * erfcx(-zl / np.sqrt(2)) * np.abs(zl)
    # where the digits of 1 - ratio cancel, its asymptotic series takes over
    inverse = 1 / zl**2
    series = -2 * np.log(np.abs(zl)) + np.log1p(-3 * inverse + 15 * inverse**2)
    direct = np.log(np.maximum(1 - ratio, 1e-300))
    log_rest = np.where(zl > _SERIES_BELOW, direct, series)
    out[~upper] = -0.5 * zl**2 - _LOG_SQRT_2PI + log_rest
    return out


def _log_difference(log_a: FloatArray, log_b: FloatArray) -> FloatArray:
    """log(a - b) for a >= b > 0, given their logarithms."""
    gap = np.minimum(log_b - log_a, -1e-16)
    return log_a + np.log(-np.expm1(gap))


def _signed(data: AcquisitionInput) -> tuple[FloatArray, FloatArray, float]:
    """Mean and std as if the goal were max, and the value to beat."""
    sign = 1.0 if data.objective.goal == "max" else -1.0
    mean = sign * data.mean
    best = float(mean.min()) if data.best is None else sign * data.best
    return mean, np.maximum(data.std, 1e-12), best


def _margin(data: AcquisitionInput) -> tuple[float, float, float]:
    """Range, and the distance from it below which a value counts as an improvement."""
    low, high = data.objective.target_range or (0.0, 0.0)
    distance = 0.0 if data.best is None else -float(data.objective.merit(data.best))
    if data.best is None:
        distance = float(np.max(-data.objective.merit(data.mean)))
    return low, high, max(distance, 0.5 * (high - low))


def log_expected_improvement(data: AcquisitionInput) -> FloatArray:
    """(n,) log of the expected improvement over the best value.

    For a range: of the expected reduction in distance, ``E[max(0, D - d(f))]`` with d the
    distance of the value to the range and D the best distance so far, at least half its width.
    """
    if data.objective.target_range is None:
        mean, std, best = _signed(data)
        return np.log(std) + log_relu_mean((mean - best) / std)
    low, high, margin = _margin(data)
    std = np.maximum(data.std, 1e-12)
    centre = 0.5 * (low + high)
    # reflect so that the mean lies below the centre: the four ramps then shrink in order
    mean = centre - np.abs(data.mean - centre)
    ramps = [
        log_relu_mean((mean - edge) / std) for edge in (low - margin, low, high, high + margin)
    ]
    rising = _log_difference(ramps[0], ramps[1])
    falling = _log_difference(ramps[2], ramps[3])
    return np.log(std) + _log_difference(rising, falling)


def expected_improvement(data: AcquisitionInput) -> FloatArray:
    """(n,) expected improvement, unit of the property (Jones et al. 1998)."""
    return np.exp(log_expected_improvement(data))


def probability_of_improvement(data: AcquisitionInput) -> FloatArray:
    """(n,) log of the probability to beat the best value, or to lie in the range."""
    if data.objective.target_range is None:
        mean, std, best = _signed(data)
        return np.asarray(log_ndtr((mean - best) / std))
    low, high = data.objective.target_range
    return log_probability_in_range(data.mean, data.std, low, high)


def upper_confidence_bound(data: AcquisitionInput) -> FloatArray:
    """(n,) mean plus kappa std (goal max), or kappa std minus the distance of the mean.

    For a range this is the straddle rule of Bryan et al. 2005.
    """
    kappa = data.exploration_weight
    if data.objective.target_range is None:
        mean, std, _ = _signed(data)
        return mean + kappa * std
    return data.objective.merit(data.mean) + kappa * data.std


def random_scores(data: AcquisitionInput) -> FloatArray:
    """(n,) uniform in [0, 1): the baseline every other member has to beat."""
    return data.rng.random(len(data.mean))


EI: Final = Acquisition(name="ei", title="highest expected improvement", score=expected_improvement)
LOG_EI: Final = Acquisition(
    name="log_ei",
    title="highest expected improvement",
    score=log_expected_improvement,
    log_scale=True,
)
POI: Final = Acquisition(
    name="poi",
    title="highest probability of improvement",
    score=probability_of_improvement,
    log_scale=True,
)
UCB: Final = Acquisition(
    name="ucb", title="highest confidence bound", score=upper_confidence_bound, may_be_negative=True
)
RANDOM: Final = Acquisition(
    name="random", title="drawn at random", score=random_scores, uses_surrogate=False
)

_HERE: Final = "nanoos.design.acquisition"

ACQUISITIONS: Registry[Acquisition] = Registry(
    "nanoos.acquisitions",
    {
        "ei": f"{_HERE}:EI",
        "log_ei": f"{_HERE}:LOG_EI",
        "poi": f"{_HERE}:POI",
        "random": f"{_HERE}:RANDOM",
        "ucb": f"{_HERE}:UCB",
    },
    extra="design",
)
"""Name to acquisition function. ``random`` is the reference member and never a default."""

DEFAULT_ACQUISITION: Final = "ucb"
"""Found at least as many of the best 5 % as any other on every benchmark table."""
