"""Conformal calibration: intervals that hold as often as they say on data like those calibrated on.

Split conformal prediction with scores scaled by a predicted sigma (Lei et al. 2018,
DOI 10.1080/01621459.2017.1307116), within groups of rows (Mondrian; Vovk et al. 2005,
DOI 10.1007/b106715). Nothing is assumed of the errors but that calibration rows and later rows
are drawn alike; the (n + 1) correction makes the coverage hold for any number of rows.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.core.records import QUANTILE_LEVELS

FloatArray = npt.NDArray[np.float64]
Quantiles = dict[float, tuple[FloatArray, FloatArray]]
"""Level to (lower, upper), each (n_rows,)."""

FORMAT: Final = 1
POOLED: Final = "*"
MIN_GROUP_ROWS: Final = 200
"""Groups of fewer calibration rows use the multipliers of all rows: at 200 rows the 95 % interval
of the coverage obtained at 0.9 is about 0.86 to 0.94."""


def conformal_quantile(scores: npt.ArrayLike, level: float) -> float:
    """The score that a new one stays under with probability at least ``level``.

    The ``ceil((n + 1) level)``-th smallest of n scores; inf where n is too small to say.

    Args:
        scores: (n,), of the calibration rows.
        level: In (0, 1).
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    # (n + 1) * level may lie a rounding error above the integer it stands for
    rank = math.ceil((len(ordered) + 1) * level - 1e-9)
    return float(ordered[rank - 1]) if rank <= len(ordered) else math.inf


def checked(name: str, *columns: npt.ArrayLike) -> list[FloatArray]:
    """The columns as float64 arrays of one length, all finite.

    Raises:
        InvalidInputError: of different lengths, empty, or not finite.
    """
    arrays = [np.atleast_1d(np.asarray(column, dtype=np.float64)) for column in columns]
    if len({array.shape for array in arrays}) != 1 or arrays[0].ndim != 1 or not len(arrays[0]):
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise InvalidInputError(f"{name} takes columns of one length; given {shapes}.")
    if not all(np.all(np.isfinite(array)) for array in arrays):
        raise InvalidInputError(
            f"{name} takes finite numbers only.", hint="Leave rows without a label out."
        )
    return arrays


def checked_sigmas(sigmas: FloatArray, floor: float) -> FloatArray:
    """``sigmas`` + ``floor``, all positive.

    Raises:
        InvalidInputError: a sigma is not positive.
    """
    scales = sigmas + floor
    if np.any(scales <= 0) or np.any(sigmas < 0):
        raise InvalidInputError(
            "A predicted sigma is not positive.",
            hint="Give a floor: the smallest sigma that means anything.",
        )
    return scales


def bin_edges(sigmas: FloatArray, n_bins: int) -> tuple[float, ...]:
    """The inner edges of ``n_bins`` bins that hold equally many of ``sigmas``."""
    shares = np.arange(1, n_bins) / n_bins
    return tuple(float(edge) for edge in np.unique(np.quantile(sigmas, shares)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConformalCalibrator:
    """Intervals ``[value - a scale, value + b scale]``, ``scale = sigma + floor``.

    The multipliers a and b are the same within a cell: a group (a name the caller gives each
    row, such as the predicted kind of material) and, on request, a bin of sigma. A cell with
    fewer than ``min_group_rows`` calibration rows uses those of its group, a group with fewer
    those of all rows.

    Attributes:
        levels: Ascending.
        cells: ``group`` or ``group/bin`` to its multipliers (n_levels,), below and above.
        counts: The same keys, calibration rows in each cell used.
        edges: Inner edges of the bins of sigma, in the property's unit; empty without bins.
        floor: Added to sigma, in the property's unit.
        lower_bound: No interval goes below; None where there is no bound.
        upper_bound: No interval goes above; None where there is no bound.
    """

    levels: tuple[float, ...]
    cells: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]
    counts: Mapping[str, int]
    edges: tuple[float, ...] = ()
    floor: float = 0.0
    lower_bound: float | None = None
    upper_bound: float | None = None

    @classmethod
    def fit(
        cls,
        values: npt.ArrayLike,
        sigmas: npt.ArrayLike,
        truths: npt.ArrayLike,
        *,
        groups: Sequence[str] | None = None,
        levels: Iterable[float] = QUANTILE_LEVELS,
        lower_bound: float | None = None,
        upper_bound: float | None = None,
        signed: bool = False,
        floor: float = 0.0,
        sigma_bins: int = 1,
        min_group_rows: int = MIN_GROUP_ROWS,
    ) -> Self:
        """Calibrate on rows that neither the model nor its sigma was fitted to.

        Args:
            values: (n,), predictions.
            sigmas: (n,), predicted standard deviations, same unit.
            truths: (n,), labels, same unit.
            groups: (n,), a name for each row, known before the label is; None for one group.
            levels: Of the intervals; one that n rows cannot give is left out.
            lower_bound: Physical bound of the property.
            upper_bound: Physical bound of the property.
            signed: Multipliers below and above each miss half of the rows to be missed: for
                lopsided errors. Otherwise the two are equal.
            floor: Added to every sigma; known without these rows.
            sigma_bins: Bins of sigma, equally full, calibrated one by one.
            min_group_rows: Fewest rows of a cell of its own.

        Raises:
            InvalidInputError: columns of different lengths, numbers that are not finite, a
                sigma that is not positive, or too few rows for any level.
        """
        value, sigma, truth = checked("Calibration", values, sigmas, truths)
        value = _clipped(value, lower_bound, upper_bound)
        error = (truth - value) / checked_sigmas(sigma, floor)
        edges = bin_edges(sigma, sigma_bins) if sigma_bins > 1 else ()
        names = _names(groups, len(value))
        usable = tuple(
            level
            for level in sorted(levels)
            if math.isfinite(_multipliers(error, level, signed=signed)[1])
        )
        if not usable:
            raise InvalidInputError(
                f"{len(value)} rows are too few to calibrate on.",
                hint="A level of 0.9 needs 9 rows at the very least; a few hundred are useful.",
            )
        own_cells = _cell_keys(names, sigma, edges)
        members = {key: own_cells == key for key in np.unique(own_cells).tolist()}
        members |= {name: names == name for name in np.unique(names).tolist()}
        needed = max(min_group_rows, math.ceil(usable[-1] / (1 - usable[-1])))
        members = {key: rows for key, rows in members.items() if rows.sum() >= needed}
        members[POOLED] = np.ones(len(value), dtype=np.bool_)
        cells = {}
        for key, rows in sorted(members.items()):
            pairs = [_multipliers(error[rows], level, signed=signed) for level in usable]
            cells[key] = (tuple(a for a, _ in pairs), tuple(b for _, b in pairs))
        counts = {key: int(rows.sum()) for key, rows in members.items()}
        return cls(
            levels=usable,
            cells=cells,
            counts=counts,
            edges=edges,
            floor=floor,
            lower_bound=lower_bound,
            upper_bound=upper_bound,
        )

    def quantiles(
        self,
        values: npt.ArrayLike,
        sigmas: npt.ArrayLike,
        groups: Sequence[str] | str | None = None,
    ) -> Quantiles:
        """Level to (lower, upper), each (n,), in the property's unit.

        Args:
            values: (n,) or one number.
            sigmas: As ``values``.
            groups: (n,) or one name; a name that was not calibrated uses all rows.

        Raises:
            InvalidInputError: columns of different lengths or not finite.
        """
        value, sigma = checked("An interval", values, sigmas)
        value = _clipped(value, self.lower_bound, self.upper_bound)
        scale = checked_sigmas(sigma, self.floor)
        names = _names(groups, len(value))
        keys = self._used(names, _cell_keys(names, sigma, self.edges))
        below = np.array([self.cells[key][0] for key in keys])
        above = np.array([self.cells[key][1] for key in keys])
        found: Quantiles = {}
        for column, level in enumerate(self.levels):
            lower = _clipped(value - below[:, column] * scale, self.lower_bound, self.upper_bound)
            upper = _clipped(value + above[:, column] * scale, self.lower_bound, self.upper_bound)
            found[level] = (lower, upper)
        return found

    def _used(self, names: npt.NDArray[np.str_], cells: npt.NDArray[np.str_]) -> list[str]:
        """The key whose multipliers each row uses: its cell, its group, or all rows."""
        return [
            next(key for key in (str(cell), str(name), POOLED) if key in self.cells)
            for name, cell in zip(names, cells, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """JSON types; :meth:`from_dict` gives the calibrator back."""
        return {
            "format": FORMAT,
            "kind": "conformal",
            "levels": list(self.levels),
            "cells": {
                key: [list(below), list(above)] for key, (below, above) in self.cells.items()
            },
            "counts": dict(self.counts),
            "edges": list(self.edges),
            "floor": self.floor,
            "lower_bound": self.lower_bound,
            "upper_bound": self.upper_bound,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The calibrator that :meth:`to_dict` wrote.

        Raises:
            InvalidInputError: of another format or kind.
        """
        check_format(data, "conformal")
        return cls(
            levels=tuple(data["levels"]),
            cells={key: (tuple(low), tuple(up)) for key, (low, up) in data["cells"].items()},
            counts=dict(data["counts"]),
            edges=tuple(data["edges"]),
            floor=data["floor"],
            lower_bound=data["lower_bound"],
            upper_bound=data["upper_bound"],
        )


def check_format(data: Mapping[str, Any], kind: str, newest: int = FORMAT) -> None:
    """Refuse saved data of another kind, or of a format newer than this version reads.

    Raises:
        InvalidInputError: of another kind or format.
    """
    if data.get("kind") != kind or data.get("format") != newest:
        raise InvalidInputError(
            f"This is {data.get('kind')!r} of format {data.get('format')!r}; "
            f"expected {kind!r} of format {newest}.",
            hint="It was written by another version; calibrate the model again.",
        )


def _multipliers(errors: FloatArray, level: float, *, signed: bool) -> tuple[float, float]:
    """(below, above) from scaled errors truth - value."""
    if not signed:
        both = conformal_quantile(np.abs(errors), level)
        return both, both
    side = (1 + level) / 2
    return conformal_quantile(-errors, side), conformal_quantile(errors, side)


def _names(groups: Sequence[str] | str | None, n_rows: int) -> npt.NDArray[np.str_]:
    if groups is None or isinstance(groups, str):
        return np.full(n_rows, groups or POOLED)
    names = np.asarray(groups, dtype=np.str_)
    if names.shape != (n_rows,):
        raise InvalidInputError(f"{len(names)} groups for {n_rows} rows.")
    return names


def _cell_keys(
    names: npt.NDArray[np.str_], sigmas: FloatArray, edges: tuple[float, ...]
) -> npt.NDArray[np.str_]:
    """``group/bin`` of each row; ``group`` where there are no bins."""
    if not edges:
        return names
    bins = np.searchsorted(np.array(edges), sigmas, side="left")
    return np.array([f"{name}/{index}" for name, index in zip(names, bins, strict=True)])


def _clipped(values: FloatArray, lower: float | None, upper: float | None) -> FloatArray:
    return values if lower is None and upper is None else np.clip(values, lower, upper)
