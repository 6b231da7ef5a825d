"""Outliers by Tukey's fences: found, reported, never dropped in silence."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.datasets.packed_structures import FloatArray, IntArray

_NAMED_ROWS = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OutlierReport:
    """Which values lie beyond the fences ``q1 - factor * IQR`` and ``q3 + factor * IQR``.

    Attributes:
        indices: Positions of the outliers, ascending; NaN is never one.
        lower: The lower fence.
        upper: The upper fence.
        factor: Of the interquartile range (IQR).
        n_known: How many numbers the quartiles are of.
    """

    indices: IntArray
    lower: float
    upper: float
    factor: float
    n_known: int

    def as_dict(self) -> dict[str, Any]:
        """JSON types: the fences, how many rows, and the first of them."""
        return {
            "n_outliers": len(self.indices),
            "n_known": self.n_known,
            "lower": self.lower if np.isfinite(self.lower) else None,
            "upper": self.upper if np.isfinite(self.upper) else None,
            "factor": self.factor,
            "first_rows": self.indices[:_NAMED_ROWS].tolist(),
        }


def iqr_outliers(
    values: npt.ArrayLike, factor: float = 1.5, *, reference: npt.ArrayLike | None = None
) -> OutlierReport:
    """Find outliers by the interquartile range (Tukey 1977).

    Args:
        values: (n,) numbers, NaN where missing.
        factor: How many interquartile ranges beyond the quartiles the fences stand, > 0.
        reference: (m,) numbers to take the quartiles of; ``values`` by default. Give the
            training part, so that held-out numbers do not move the fences.

    Raises:
        InvalidInputError: ``factor`` is not above 0.
    """
    if not factor > 0:
        raise InvalidInputError(f"The IQR factor is {factor}, expected a number above 0.")
    numbers = np.asarray(values, dtype=np.float64)
    known = numbers if reference is None else np.asarray(reference, dtype=np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return OutlierReport(
            indices=np.zeros(0, np.int64), lower=-np.inf, upper=np.inf, factor=factor, n_known=0
        )
    low, high = np.quantile(known, [0.25, 0.75])
    lower, upper = fences(float(low), float(high), factor)
    outside = (numbers < lower) | (numbers > upper)  # False for NaN
    return OutlierReport(
        indices=np.flatnonzero(outside).astype(np.int64),
        lower=lower,
        upper=upper,
        factor=factor,
        n_known=known.size,
    )


def fences(q1: float, q3: float, factor: float) -> tuple[float, float]:
    """The lower and the upper fence around two quartiles."""
    return q1 - factor * (q3 - q1), q3 + factor * (q3 - q1)


def without_outliers(values: FloatArray, report: OutlierReport) -> FloatArray:
    """A copy of ``values`` (n,) with NaN in place of the outliers."""
    kept = values.copy()
    kept[report.indices] = np.nan
    return kept
