"""What a campaign is after: a goal or a target range, and constraints beside it."""

from collections.abc import Mapping, Sequence
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.special import log_ndtr, ndtr

FloatArray = npt.NDArray[np.float64]


class Constraint(BaseModel):
    """A bound on a simulated quantity: ``formation_energy <= 0``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    quantity: str = Field(min_length=1)
    """Name of the value in the observations."""
    op: Literal["<=", ">="]
    bound: float
    """In the unit of the quantity."""

    def __str__(self) -> str:
        return f"{self.quantity} {self.op} {self.bound:g}"

    def holds(self, value: float) -> bool:
        """Whether an observed value satisfies it; NaN does not."""
        return value <= self.bound if self.op == "<=" else value >= self.bound

    def log_probability(self, mean: FloatArray, std: FloatArray) -> FloatArray:
        """(n,) log of the probability that the quantity satisfies it."""
        sign = 1.0 if self.op == "<=" else -1.0
        return np.asarray(log_ndtr(sign * (self.bound - mean) / np.maximum(std, 1e-12)))


class Objective(BaseModel):
    """Either a goal (``min`` or ``max``) or a target range, never both."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target_property: str = Field(min_length=1)
    """Name of the value in the observations."""
    goal: Literal["min", "max"] | None = None
    target_range: tuple[float, float] | None = None
    """(low, high), both inside, in ``unit``."""
    constraints: tuple[Constraint, ...] = ()
    unit: str = ""
    """Shown beside numbers."""

    @model_validator(mode="after")
    def _one_aim(self) -> Self:
        if (self.goal is None) == (self.target_range is None):
            raise ValueError("give either goal (min or max) or target_range (low, high)")
        if self.target_range is not None and not self.target_range[0] < self.target_range[1]:
            raise ValueError("target_range must be (low, high) with low < high")
        return self

    def merit(self, values: npt.ArrayLike) -> FloatArray:
        """(n,) larger is better: the value, its negative, or minus the distance to the range."""
        array = np.asarray(values, dtype=np.float64)
        if self.target_range is not None:
            low, high = self.target_range
            return -np.maximum(np.maximum(low - array, array - high), 0.0)
        return array if self.goal == "max" else -array

    def hits(self, values: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """(n,) which values lie in the target range; all False for a goal."""
        array = np.asarray(values, dtype=np.float64)
        if self.target_range is None:
            return np.zeros(array.shape, dtype=np.bool_)
        return (array >= self.target_range[0]) & (array <= self.target_range[1])

    def feasible(self, values: Mapping[str, float]) -> bool:
        """Whether all constraints hold for an observation; a missing quantity does not."""
        return all(c.holds(values.get(c.quantity, float("nan"))) for c in self.constraints)

    def best(self, observations: Sequence[Mapping[str, float]]) -> float | None:
        """The best observed value among the feasible, None where there is none."""
        values = [v[self.target_property] for v in observations if self.feasible(v)]
        if not values:
            return None
        return float(values[int(np.argmax(self.merit(values)))])


def probability_in_range(mean: FloatArray, std: FloatArray, low: float, high: float) -> FloatArray:
    """(n,) probability of a normal variable to lie in [low, high]."""
    return np.asarray(np.exp(log_probability_in_range(mean, std, low, high)))


def log_probability_in_range(
    mean: FloatArray, std: FloatArray, low: float, high: float
) -> FloatArray:
    """(n,) log of the same, accurate far from the range."""
    sigma = np.maximum(std, 1e-12)
    a, b = (low - mean) / sigma, (high - mean) / sigma
    flip = a > 0  # work in the lower tail, where the difference does not cancel
    lower, upper = np.where(flip, -b, a), np.where(flip, -a, b)
    log_upper, log_lower = log_ndtr(upper), log_ndtr(lower)
    tail = log_upper + np.log1p(-np.exp(np.minimum(log_lower - log_upper, -1e-300)))
    middle = ndtr(upper) - ndtr(lower)
    return np.asarray(np.where(middle > 0.1, np.log(np.maximum(middle, 1e-300)), tail))  # noqa: PLR2004
