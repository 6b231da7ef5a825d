"""A predicted sigma that follows the errors, and the probability that a prediction is good.

What an ensemble or dropout spreads is in no unit of error. A small regression learns from
held-out errors how spread, predicted value, difficulty and size of the cell go with them; a
monotone map puts its answer in the unit of the property. No scikit-learn is needed, and nothing
is pickled.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.models.conformal import FloatArray, check_format, checked
from nanoos.models.normal_scores import ScoreRegression
from nanoos.models.trees import TreeEnsemble

FORMAT: Final = 2
_BOOSTED_FORMAT: Final = 1  # with trees in place of the regression; still read
_CONFIDENCE_FORMAT: Final = 1
_SIGMA_PER_MEAN_ERROR: Final = math.sqrt(math.pi / 2)  # of a normal distribution
_FOLDS: Final = 5
_SMALLEST: Final = 0.05  # errors count as no smaller than this share of the median error
_TILT: Final = 0.05  # keeps the order of rows where the monotone map is flat
_CROSSED_FOLDS: Final = 10
_MIN_ROWS: Final = 30
_KNOTS: Final = 24
_MIN_KNOT_ROWS: Final = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class MonotoneMap:
    """A rising, piecewise linear function; constant beyond its ends.

    Attributes:
        x: (n_knots,), ascending.
        y: (n_knots,), not descending.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]

    @classmethod
    def fit(cls, x: npt.ArrayLike, y: npt.ArrayLike) -> Self:
        """Isotonic least squares of ``y`` (n,) on ``x`` (n,), joined by lines.

        The rows are gathered into at most 24 bins of equal numbers first, so that the ends are
        means over many rows and the map is short.
        """
        from scipy.optimize import isotonic_regression

        order = np.argsort(np.asarray(x, dtype=np.float64), kind="stable")
        n_knots = max(1, min(_KNOTS, len(order) // _MIN_KNOT_ROWS))
        parts = np.array_split(order, n_knots)
        ends, heights = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        centers = np.array([ends[part].mean() for part in parts])
        weights = np.array([len(part) for part in parts], dtype=np.float64)
        means = np.array([heights[part].mean() for part in parts])
        rising = isotonic_regression(means, weights=weights).x
        keep = np.append(True, np.diff(centers) > 0)
        return cls(
            x=tuple(float(c) for c in centers[keep]), y=tuple(float(r) for r in rising[keep])
        )

    def __call__(self, x: npt.ArrayLike) -> FloatArray:
        """(n,) from ``x`` (n,)."""
        return np.asarray(np.interp(np.asarray(x, dtype=np.float64), self.x, self.y))


@dataclass(frozen=True, slots=True, kw_only=True)
class SigmaModel:
    """Standard deviation of the error, from what is known before the error is.

    Attributes:
        names: Columns it looks at, in order.
        score: Logarithm of the absolute error.
        scale: From that logarithm to sigma, in the property's unit.
    """

    names: tuple[str, ...]
    score: ScoreRegression | TreeEnsemble
    scale: MonotoneMap

    @classmethod
    def fit(
        cls,
        columns: Mapping[str, npt.ArrayLike],
        errors: npt.ArrayLike,
        *,
        groups: Sequence[str] | None = None,
        seed: int = 0,
    ) -> Self:
        """Fit to held-out errors; the rows must not be used to calibrate afterwards.

        The map to the property's unit is fitted to answers for folds that the regression had not
        seen, and is 1.25 times the mean absolute error (the standard deviation where errors are
        normal).

        Args:
            columns: Name to (n,): ``ensemble_spread``, ``value``, ``embedding_distance``, ...
            errors: (n,), truth - prediction.
            groups: (n,), reduced formulas: rows of one stay in one fold.
            seed: Of the folds.

        Raises:
            InvalidInputError: fewer than 30 rows, or columns that do not fit.
        """
        names = tuple(columns)
        *table, error = checked("Sigma", *columns.values(), errors)
        if len(error) < _MIN_ROWS or not names:
            raise InvalidInputError(
                f"{len(error)} rows and {len(names)} columns are too few to learn a sigma from.",
                hint=f"At least {_MIN_ROWS} rows and one column.",
            )
        rows = np.stack(table, axis=1)
        size = np.abs(error)
        smallest = max(_SMALLEST * float(np.median(size)), 1e-12)
        target = np.log(size + smallest)
        fold = _folds(groups, len(error), _FOLDS, seed)
        unseen = np.empty(len(error))
        for index in np.unique(fold):
            out = fold == index
            unseen[out] = ScoreRegression.fit(rows[~out], target[~out]).predict(rows[out])
        return cls(
            names=names,
            score=ScoreRegression.fit(rows, target),
            scale=MonotoneMap.fit(unseen, np.maximum(size, smallest) * _SIGMA_PER_MEAN_ERROR),
        )

    @classmethod
    def crossed(
        cls,
        columns: Mapping[str, npt.ArrayLike],
        errors: npt.ArrayLike,
        *,
        groups: Sequence[str],
        seed: int = 0,
    ) -> tuple[Self, FloatArray]:
        """The model fitted to all rows, and for each row the sigma of one that had not seen it.

        For few rows: all of them shape sigma, and with the second answer all of them calibrate.

        Args:
            columns: As in :meth:`fit`.
            errors: As in :meth:`fit`.
            groups: (n,), reduced formulas: rows of one are left out together.
            seed: Of the folds.

        Raises:
            InvalidInputError: too few rows, or columns that do not fit.
        """
        *table, error = checked("Sigma", *columns.values(), errors)
        fold = _folds(groups, len(error), _CROSSED_FOLDS, seed)
        unseen = np.empty(len(error))
        for index in np.unique(fold):
            out = fold == index
            known = {name: c[~out] for name, c in zip(columns, table, strict=True)}
            asked = {name: c[out] for name, c in zip(columns, table, strict=True)}
            own = [group for group, left in zip(groups, out.tolist(), strict=True) if not left]
            model = cls.fit(known, error[~out], groups=own, seed=seed)
            unseen[out] = model.predict(asked)
        return cls.fit(columns, error, groups=groups, seed=seed), unseen

    def predict(self, columns: Mapping[str, npt.ArrayLike]) -> FloatArray:
        """(n,), positive, in the property's unit.

        Args:
            columns: Name to (n,); at least those of ``names``.

        Raises:
            InvalidInputError: a column is missing or not finite.
        """
        missing = [name for name in self.names if name not in columns]
        if missing:
            raise InvalidInputError(f"Sigma is predicted from {', '.join(missing)} too.")
        table = checked("Sigma", *(columns[name] for name in self.names))
        return self._sigma(self.score.predict(np.stack(table, axis=1)))

    def _sigma(self, logarithms: FloatArray) -> FloatArray:
        middle = (self.scale.x[0] + self.scale.x[-1]) / 2
        return np.asarray(self.scale(logarithms) * np.exp(_TILT * (logarithms - middle)))

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays of a safetensors file; with :meth:`to_dict` they are the whole model."""
        return self.score.to_arrays()

    def to_dict(self) -> dict[str, Any]:
        """The rest, as JSON types."""
        return {
            "format": FORMAT if isinstance(self.score, ScoreRegression) else _BOOSTED_FORMAT,
            "kind": "sigma",
            "names": list(self.names),
            "x": list(self.scale.x),
            "y": list(self.scale.y),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], data: Mapping[str, Any]) -> Self:
        """The model that :meth:`to_arrays` and :meth:`to_dict` took apart.

        Raises:
            InvalidInputError: of another format or kind.
        """
        boosted = data.get("format") == _BOOSTED_FORMAT
        check_format(data, "sigma", _BOOSTED_FORMAT if boosted else FORMAT)
        return cls(
            names=tuple(data["names"]),
            score=(TreeEnsemble if boosted else ScoreRegression).from_arrays(arrays),
            scale=MonotoneMap(x=tuple(data["x"]), y=tuple(data["y"])),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceModel:
    """Probability that the true value lies within a band around the prediction.

    Attributes:
        band: Half width, in the property's unit; None for ``relative`` times the value.
        relative: Half width as a share of the predicted value's size.
        probability: From log(band / sigma) to the probability.
    """

    band: float | None
    relative: float
    probability: MonotoneMap

    @classmethod
    def fit(
        cls,
        values: npt.ArrayLike,
        sigmas: npt.ArrayLike,
        truths: npt.ArrayLike,
        *,
        band: float | None,
        relative: float = 0.1,
    ) -> Self:
        """Isotonic calibration on rows that neither model nor sigma was fitted to.

        Args:
            values: (n,), predictions.
            sigmas: (n,), positive.
            truths: (n,), labels.
            band: In the property's unit; None for a relative band.
            relative: The relative band.
        """
        value, sigma, truth = checked("Confidence", values, sigmas, truths)
        half = _half_width(value, band, relative)
        good = (np.abs(truth - value) < half).astype(np.float64)
        return cls(
            band=band,
            relative=relative,
            probability=MonotoneMap.fit(_log_ratio(half, sigma), good),
        )

    def predict(self, values: npt.ArrayLike, sigmas: npt.ArrayLike) -> FloatArray:
        """(n,), in [0, 1]."""
        value, sigma = checked("Confidence", values, sigmas)
        half = _half_width(value, self.band, self.relative)
        return self.probability(_log_ratio(half, sigma))

    def to_dict(self) -> dict[str, Any]:
        """JSON types; :meth:`from_dict` gives it back."""
        return {
            "format": _CONFIDENCE_FORMAT,
            "kind": "confidence",
            "band": self.band,
            "relative": self.relative,
            "x": list(self.probability.x),
            "y": list(self.probability.y),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What :meth:`to_dict` wrote.

        Raises:
            InvalidInputError: of another format or kind.
        """
        check_format(data, "confidence", _CONFIDENCE_FORMAT)
        return cls(
            band=data["band"],
            relative=data["relative"],
            probability=MonotoneMap(x=tuple(data["x"]), y=tuple(data["y"])),
        )


def _half_width(values: FloatArray, band: float | None, relative: float) -> FloatArray:
    return np.full_like(values, band) if band is not None else relative * np.abs(values)


def _log_ratio(half: FloatArray, sigma: FloatArray) -> FloatArray:
    tiny = np.finfo(np.float64).tiny
    return np.log(np.maximum(half, tiny)) - np.log(np.maximum(sigma, tiny))


def _folds(
    groups: Sequence[str] | None, n_rows: int, n_folds: int, seed: int
) -> npt.NDArray[np.int64]:
    """(n_rows,), the fold of each row; rows of one group share one."""
    keys = np.arange(n_rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    if keys.max() == 0:
        keys = np.arange(n_rows)
    n_groups = int(keys.max()) + 1
    return np.asarray(np.random.default_rng(seed).permutation(n_groups) % n_folds)[keys]
