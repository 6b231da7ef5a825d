"""Intervals for a property that is exactly zero for many materials, such as the band gap.

Calibrated over all rows, an interval of a band gap holds for nearly every metal (0 is in any
interval that touches it) and pays for it with the insulators. Here the two kinds are calibrated
one by one on their true kind (label-conditional conformal prediction, Vovk 2012,
arXiv 1209.2673): the interval of a row is the smallest that holds

- 0, unless the row looks less like a zero than all but a share of the true zeros do, and
- the values that a row which is not zero would have, calibrated on those rows alone, with what
  the first part covers already counted.

So the coverage holds for true insulators alone and for true metals alone, whatever the share of
metals among later rows.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.core.records import QUANTILE_LEVELS
from nanoos.models.conformal import (
    FloatArray,
    Quantiles,
    bin_edges,
    check_format,
    checked,
    checked_sigmas,
    conformal_quantile,
)

FORMAT: Final = 1
SIGMA_BINS: Final = 4
ZERO_MARGIN: Final = 0.015
MIN_BIN_ROWS: Final = 20
_MIN_ROWS: Final = 50
_NEVER: Final = 1e300  # no probability reaches it; a predicted 0 does


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroInflatedCalibrator:
    """Label-conditional intervals of a property that is zero or positive.

    Attributes:
        levels: Ascending.
        edges: Inner edges of the bins of sigma, in the property's unit.
        zero_thresholds: (n_levels, n_bins), the probability of zero from which 0 belongs to
            the interval; -1 where it always does, 1e300 where it only does if 0 is predicted.
        multipliers: (n_levels, n_bins), half widths of the positive part in units of sigma.
        smallest: The least positive value that counts, in the property's unit: where 0 is
            excluded, the interval starts no lower.
        floor: Added to sigma, in the property's unit.
        n_zero: Calibration rows that are zero.
        n_positive: Calibration rows that are not.
    """

    levels: tuple[float, ...]
    edges: tuple[float, ...]
    zero_thresholds: tuple[tuple[float, ...], ...]
    multipliers: tuple[tuple[float, ...], ...]
    smallest: float
    floor: float
    n_zero: int
    n_positive: int

    @classmethod
    def fit(
        cls,
        values: npt.ArrayLike,
        sigmas: npt.ArrayLike,
        truths: npt.ArrayLike,
        zero_probabilities: npt.ArrayLike,
        *,
        levels: Iterable[float] = QUANTILE_LEVELS,
        sigma_bins: int = SIGMA_BINS,
        zero_margin: float = ZERO_MARGIN,
        floor: float = 0.0,
        min_bin_rows: int = MIN_BIN_ROWS,
    ) -> Self:
        """Calibrate on rows that neither the model nor its sigma was fitted to.

        Args:
            values: (n,), predictions; below 0 counts as 0.
            sigmas: (n,), predicted standard deviations.
            truths: (n,), labels, at least 0.
            zero_probabilities: (n,), anything that rises with the chance of a zero, such as
                the probability of a metal.
            levels: Of the intervals; one that the rows of either kind cannot give is left out.
            sigma_bins: Bins of sigma, equally full, calibrated one by one, so that the
                coverage holds for small and for large sigmas.
            zero_margin: Zeros are covered by this much more than the level, so that they are
                covered at least as often as it says in most samples.
            floor: Added to every sigma; known without these rows.
            min_bin_rows: Bins with fewer rows of a kind are calibrated together.

        Raises:
            InvalidInputError: columns of different lengths, numbers that are not finite or
                below zero, or too few rows of a kind.
        """
        value, sigma, truth, chance = checked(
            "Calibration", values, sigmas, truths, zero_probabilities
        )
        zero = truth == 0
        if min(zero.sum(), (~zero).sum()) < _MIN_ROWS or np.any(truth < 0):
            raise InvalidInputError(
                f"{zero.sum()} zeros and {(~zero).sum()} other rows are too few to calibrate on.",
                hint=f"At least {_MIN_ROWS} of each, none below zero.",
            )
        value = np.maximum(value, 0)
        scale = checked_sigmas(sigma, floor)
        edges = bin_edges(sigma, sigma_bins)
        bins = np.searchsorted(np.array(edges), sigma, side="left")
        chance = _certain_where_zero(value, chance)
        smallest = float(np.quantile(truth[~zero], 0.01))
        kept, thresholds, multipliers = [], [], []
        for level in sorted(levels):
            target = min(level + zero_margin, (1 + level) / 2)
            cut = -_by_bin(-chance[zero], bins[zero], len(edges) + 1, target, min_bin_rows)
            holds_zero = chance >= cut[bins]
            low = np.maximum(value - truth, 0) * ~holds_zero
            score = np.maximum(low, truth - value)[~zero] / scale[~zero]
            width = _by_bin(score, bins[~zero], len(edges) + 1, level, min_bin_rows)
            if not np.all(np.isfinite(width)):
                break
            kept.append(level)
            thresholds.append(tuple(float(c) for c in np.clip(cut, -1.0, _NEVER)))
            multipliers.append(tuple(float(w) for w in width))
        if not kept:
            raise InvalidInputError("The rows are too few for any of the levels.")
        return cls(
            levels=tuple(kept),
            edges=edges,
            zero_thresholds=tuple(thresholds),
            multipliers=tuple(multipliers),
            smallest=smallest,
            floor=floor,
            n_zero=int(zero.sum()),
            n_positive=int((~zero).sum()),
        )

    def quantiles(
        self, values: npt.ArrayLike, sigmas: npt.ArrayLike, zero_probabilities: npt.ArrayLike
    ) -> Quantiles:
        """Level to (lower, upper), each (n,); an interval lies within those of higher levels.

        Args:
            values: (n,), or one number.
            sigmas: As ``values``.
            zero_probabilities: As ``values``; the same kind of number as calibrated with.

        Raises:
            InvalidInputError: columns of different lengths or not finite.
        """
        value, sigma, chance = checked("An interval", values, sigmas, zero_probabilities)
        value = np.maximum(value, 0)
        scale = checked_sigmas(sigma, self.floor)
        bins = np.searchsorted(np.array(self.edges), sigma, side="left")
        chance = _certain_where_zero(value, chance)
        found: Quantiles = {}
        lowest, highest = value, value
        for level, cuts, widths in zip(
            self.levels, self.zero_thresholds, self.multipliers, strict=True
        ):
            reach = np.array(widths)[bins] * scale
            lower = np.maximum(value - reach, np.minimum(value, self.smallest))
            lower = np.where(chance >= np.array(cuts)[bins], 0.0, lower)
            lowest, highest = np.minimum(lowest, lower), np.maximum(highest, value + reach)
            found[level] = (lowest, highest)
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON types; :meth:`from_dict` gives the calibrator back."""
        return {
            "format": FORMAT,
            "kind": "zero_inflated",
            "levels": list(self.levels),
            "edges": list(self.edges),
            "zero_thresholds": [list(row) for row in self.zero_thresholds],
            "multipliers": [list(row) for row in self.multipliers],
            "smallest": self.smallest,
            "floor": self.floor,
            "n_zero": self.n_zero,
            "n_positive": self.n_positive,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The calibrator that :meth:`to_dict` wrote.

        Raises:
            InvalidInputError: of another format or kind.
        """
        check_format(data, "zero_inflated", FORMAT)
        return cls(
            levels=tuple(data["levels"]),
            edges=tuple(data["edges"]),
            zero_thresholds=tuple(tuple(row) for row in data["zero_thresholds"]),
            multipliers=tuple(tuple(row) for row in data["multipliers"]),
            smallest=data["smallest"],
            floor=data["floor"],
            n_zero=data["n_zero"],
            n_positive=data["n_positive"],
        )


def _certain_where_zero(values: FloatArray, chances: FloatArray) -> FloatArray:
    """An interval holds its own prediction, so where that is 0 nothing can exclude 0."""
    return np.where(values > 0, chances, np.inf)


def _by_bin(
    scores: FloatArray, bins: npt.NDArray[np.int64], n_bins: int, level: float, min_rows: int
) -> FloatArray:
    """(n_bins,), the conformal quantile of the scores in each bin.

    Bins of few scores share theirs; where even those are too few, they use all. A quantile of
    -inf is one: that of a bin in which 0 is predicted for most zeros.
    """
    quantiles = [conformal_quantile(scores[bins == index], level) for index in range(n_bins)]
    counts = np.bincount(bins, minlength=n_bins)
    sparse = (counts < min_rows) | np.isposinf(quantiles)
    shared = conformal_quantile(scores[sparse[bins]], level)
    if counts[sparse].sum() < min_rows or shared == math.inf:
        shared = conformal_quantile(scores, level)
    return np.where(sparse, shared, quantiles)
