"""Ridge regression on the normal scores of columns: few numbers to learn, none of them wild."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_KNOTS: Final = 41
_PENALTIES: Final = tuple(float(p) for p in np.logspace(0, 4, 13))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreRegression:
    """A quadratic function of each column's normal score, added up.

    The normal score of a number is the quantile of the standard normal distribution at its rank
    among the rows fitted to: outliers, units and logarithms do not matter, and beyond the range
    fitted to it stays constant.

    Attributes:
        knots: For each column its (x, score), x ascending.
        weights: (2 n_columns,), of the scores and of their squares.
        offset: Added.
    """

    knots: tuple[tuple[FloatArray, FloatArray], ...]
    weights: FloatArray
    offset: float

    @classmethod
    def fit(cls, rows: npt.ArrayLike, target: npt.ArrayLike) -> Self:
        """Least squares with the penalty that generalised cross-validation chooses.

        Args:
            rows: (n, n_columns), finite.
            target: (n,).
        """
        table = np.asarray(rows, dtype=np.float64)
        knots = tuple(_knots(column) for column in table.T)
        terms = _terms(table, knots)
        goal = np.asarray(target, dtype=np.float64)
        center, mean = terms.mean(axis=0), float(goal.mean())
        left, singular, right = np.linalg.svd(terms - center, full_matrices=False)
        seen = left.T @ (goal - mean)
        rest = float(np.sum((goal - mean) ** 2) - np.sum(seen**2))
        best, weights = np.inf, np.zeros(terms.shape[1])
        for penalty in _PENALTIES:
            kept = singular**2 / (singular**2 + penalty)
            freedom = len(goal) - 1 - float(kept.sum())
            score = (rest + float(np.sum(((1 - kept) * seen) ** 2))) / max(freedom, 1e-9) ** 2
            if freedom > 1 and score < best:
                best = score
                weights = right.T @ (seen * singular / (singular**2 + penalty))
        return cls(knots=knots, weights=weights, offset=mean - float(center @ weights))

    def predict(self, rows: npt.ArrayLike) -> FloatArray:
        """(n,) from ``rows`` (n, n_columns)."""
        table = np.asarray(rows, dtype=np.float64)
        return np.asarray(self.offset + _terms(table, self.knots) @ self.weights)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything as arrays; :meth:`from_arrays` gives it back."""
        return {
            "knots_x": np.concatenate([x for x, _ in self.knots]),
            "knots_score": np.concatenate([score for _, score in self.knots]),
            "knots_count": np.array([len(x) for x, _ in self.knots], dtype=np.int32),
            "weights": self.weights,
            "offset": np.array([self.offset]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """What :meth:`to_arrays` took apart."""
        ends = np.cumsum(arrays["knots_count"])[:-1]
        parts = zip(
            np.split(arrays["knots_x"], ends), np.split(arrays["knots_score"], ends), strict=True
        )
        return cls(knots=tuple(parts), weights=arrays["weights"], offset=float(arrays["offset"][0]))


def _knots(column: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Quantiles of the column and their normal scores; equal numbers share the middle rank."""
    from scipy.special import ndtri

    ordered = np.sort(column)
    x = np.unique(np.quantile(ordered, np.linspace(0, 1, _KNOTS), method="nearest"))
    first, last = (np.searchsorted(ordered, x, side=side) for side in ("left", "right"))
    return x, np.asarray(ndtri((first + last) / 2 / len(ordered)))


def _terms(table: FloatArray, knots: tuple[tuple[FloatArray, FloatArray], ...]) -> FloatArray:
    scores = np.column_stack(
        [np.interp(column, x, score) for column, (x, score) in zip(table.T, knots, strict=True)]
    )
    return np.hstack([scores, scores**2])
