"""Intervals of a k-point length that hold as often as they say, for labels that come in steps.

Conformalised quantile regression (Romano et al. 2019, arXiv 1905.03222), each side for itself: a
side misses at most (1 - level) / 2 of cases like those calibrated on. A study tries lengths in
steps, so a bound snaps outward to the next step; calibrating the snapped bounds keeps them from
covering more than they say.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.models.conformal import FloatArray, check_format, checked, conformal_quantile

LEVELS: Final = (0.85, 0.9, 0.95)
"""Confidence levels that are calibrated."""

FORMAT: Final = 1
_KIND: Final = "stepped quantiles"
_FLOOR_A: Final = 2.0
"""Added to each half of a raw interval: no half is ever so narrow that scaling cannot widen it."""
_TOLERANCE: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawQuantiles:
    """What a model says before calibration, lengths in Å.

    Attributes:
        lower: Level to (n,).
        median: (n,).
        upper: Level to (n,).
    """

    lower: Mapping[float, FloatArray]
    median: FloatArray
    upper: Mapping[float, FloatArray]


@dataclass(frozen=True, slots=True, kw_only=True)
class SteppedCalibrator:
    """Factors on the two halves of raw intervals.

    Attributes:
        levels: Ascending.
        below: (n_levels,), factors of the halves below the median.
        above: (n_levels,), factors of the halves above it.
        step: Of the labels, Å.
        lowest: Smallest label, Å: no bound goes below.
        highest: Largest label, Å: no bound goes above.
        n_rows: Rows calibrated on.
    """

    levels: tuple[float, ...]
    below: tuple[float, ...]
    above: tuple[float, ...]
    step: float
    lowest: float
    highest: float
    n_rows: int

    @classmethod
    def fit(
        cls,
        raw: RawQuantiles,
        truths: npt.ArrayLike,
        *,
        step: float,
        lowest: float,
        highest: float,
        levels: Iterable[float] = LEVELS,
    ) -> Self:
        """Calibrate on rows that the model was not fitted to.

        Args:
            raw: Of the rows.
            truths: (n,), labels, Å, multiples of ``step``.
            step: Of the labels, Å.
            lowest: Smallest label that can be, Å.
            highest: Largest label that can be, Å.
            levels: To calibrate.

        Raises:
            InvalidInputError: numbers that are not finite, or too few rows.
        """
        median, truth = checked("Calibration", raw.median, truths)
        found = tuple(sorted(levels))
        below, above = [], []
        for level in found:
            low, high = _halves(raw, level)
            side = (1 + level) / 2
            below.append(conformal_quantile((median - truth - step) / low, side))
            above.append(conformal_quantile((truth - step - median) / high, side))
        if not np.all(np.isfinite([*below, *above])):
            raise InvalidInputError(
                f"{len(truth)} rows are too few to calibrate on.",
                hint="A level of 0.95 needs 39 rows at the very least; a few hundred are useful.",
            )
        return cls(
            levels=found,
            below=tuple(max(0.0, factor) for factor in below),
            above=tuple(max(0.0, factor) for factor in above),
            step=step,
            lowest=lowest,
            highest=highest,
            n_rows=len(truth),
        )

    def interval(
        self, raw: RawQuantiles, level: float, widening: npt.ArrayLike = 1.0
    ) -> tuple[FloatArray, FloatArray]:
        """(lower, upper), each (n,), lengths in Å, multiples of the step.

        Args:
            raw: Of the rows.
            level: One that was calibrated.
            widening: Factor on both halves of each row (n,), 1 within the domain.

        Raises:
            InvalidInputError: another level; code ``unknown_level``.
        """
        index = self.index(level)
        low, high = _halves(raw, self.levels[index])
        factor = np.asarray(widening, dtype=np.float64)
        lower = raw.median - self.below[index] * low * factor
        upper = raw.median + self.above[index] * high * factor
        snapped_lower = self.step * (np.ceil(lower / self.step - _TOLERANCE) - 1)
        snapped_upper = self.step * (np.floor(upper / self.step + _TOLERANCE) + 1)
        return (
            np.clip(snapped_lower, self.lowest, self.highest),
            np.clip(snapped_upper, self.lowest, self.highest),
        )

    def index(self, level: float) -> int:
        """Place of a calibrated level. Raises InvalidInputError; code ``unknown_level``."""
        for index, known in enumerate(self.levels):
            if abs(known - level) < _TOLERANCE:
                return index
        raise InvalidInputError(
            f"The confidence is {level:g}.",
            hint=f"Calibrated are {', '.join(f'{known:g}' for known in self.levels)}.",
            code="unknown_level",
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON types; :meth:`from_dict` gives the calibrator back."""
        return {
            "format": FORMAT,
            "kind": _KIND,
            "levels": list(self.levels),
            "below": list(self.below),
            "above": list(self.above),
            "step": self.step,
            "lowest": self.lowest,
            "highest": self.highest,
            "n_rows": self.n_rows,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The calibrator that :meth:`to_dict` wrote.

        Raises:
            InvalidInputError: of another format or kind.
        """
        check_format(data, _KIND, FORMAT)
        return cls(
            levels=tuple(data["levels"]),
            below=tuple(data["below"]),
            above=tuple(data["above"]),
            step=data["step"],
            lowest=data["lowest"],
            highest=data["highest"],
            n_rows=data["n_rows"],
        )


def _halves(raw: RawQuantiles, level: float) -> tuple[FloatArray, FloatArray]:
    """Widths (n,) of the raw interval below and above the median, Å, positive."""
    low = np.maximum(raw.median - raw.lower[level], 0.0) + _FLOOR_A
    high = np.maximum(raw.upper[level] - raw.median, 0.0) + _FLOOR_A
    return low, high
