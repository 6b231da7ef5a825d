"""A predicted sigma that follows the errors, and the probability that a prediction is good.

What an ensemble or dropout spreads is in no unit of error. A small boosted model learns from
held-out errors how spread, predicted value, distance to the training set and size of the cell go
with them; a monotone map puts its answer in the unit of the property. No scikit-learn is needed
to predict, and nothing is pickled.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.models.conformal import FloatArray, check_format, checked
from nanoos.models.trees import TreeEnsemble

FORMAT: Final = 1
_SIGMA_PER_MEAN_ERROR: Final = math.sqrt(math.pi / 2)  # of a normal distribution
_FOLDS: Final = 5
_SMALLEST: Final = 0.05  # errors count as no smaller than this share of the median error
_TILT: Final = 0.05  # keeps the order of rows where the monotone map is flat
_MAX_TREES: Final = 120
_MIN_ROWS: Final = 60
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
        trees: Logarithm of the absolute error.
        scale: From that logarithm to sigma, in the property's unit.
    """

    names: tuple[str, ...]
    trees: TreeEnsemble
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

        The map to the property's unit is fitted to answers for folds that the trees had not
        seen, and is 1.25 times the mean absolute error (the standard deviation where errors are
        normal).

        Args:
            columns: Name to (n,): ``ensemble_spread``, ``value``, ``embedding_distance``, ...
            errors: (n,), truth - prediction.
            groups: (n,), reduced formulas: rows of one stay in one fold.
            seed: Of the boosting and the folds.

        Raises:
            InvalidInputError: fewer than 60 rows, or columns that do not fit.
        """
        names = tuple(columns)
        *table, error = checked("Sigma", *columns.values(), errors)
        if len(error) < _MIN_ROWS or not names:
            raise InvalidInputError(
                f"{len(error)} rows and {len(names)} columns are too few to learn a sigma from.",
                hint=f"At least {_MIN_ROWS} rows and one column.",
            )
        rows = np.stack(table, axis=1).astype(np.float32)
        size = np.abs(error)
        smallest = max(_SMALLEST * float(np.median(size)), 1e-12)
        target = np.log(size + smallest)
        fold = _folds(groups, len(error), np.random.default_rng(seed))
        unseen = np.empty(len(error))
        for index in range(_FOLDS):
            out = fold == index
            unseen[out] = _boosted(rows[~out], target[~out], seed).predict(rows[out])
        return cls(
            names=names,
            trees=_boosted(rows, target, seed),
            scale=MonotoneMap.fit(unseen, np.maximum(size, smallest) * _SIGMA_PER_MEAN_ERROR),
        )

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
        return self._sigma(self.trees.predict(np.stack(table, axis=1)))

    def _sigma(self, logarithms: FloatArray) -> FloatArray:
        middle = (self.scale.x[0] + self.scale.x[-1]) / 2
        return np.asarray(self.scale(logarithms) * np.exp(_TILT * (logarithms - middle)))

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays of a safetensors file; with :meth:`to_dict` they are the whole model."""
        return self.trees.to_arrays()

    def to_dict(self) -> dict[str, Any]:
        """The rest, as JSON types."""
        return {
            "format": FORMAT,
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
        check_format(data, "sigma", FORMAT)
        return cls(
            names=tuple(data["names"]),
            trees=TreeEnsemble.from_arrays(arrays),
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
            "format": FORMAT,
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
        check_format(data, "confidence", FORMAT)
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
    groups: Sequence[str] | None, n_rows: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """(n_rows,), the fold of each row; rows of one group share one."""
    keys = np.arange(n_rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    n_groups = int(keys.max()) + 1
    return np.asarray(rng.permutation(n_groups) % _FOLDS)[keys]


def _boosted(rows: npt.NDArray[np.float32], target: FloatArray, seed: int) -> TreeEnsemble:
    """Few shallow trees: a thousand rows of noisy targets carry no more."""
    from sklearn.ensemble import GradientBoostingRegressor

    rate = 0.05
    model = GradientBoostingRegressor(
        n_estimators=_MAX_TREES,
        learning_rate=rate,
        max_depth=3,
        min_samples_leaf=max(5, len(rows) // 50),
        subsample=0.7,
        random_state=seed,
    ).fit(rows, target)
    return TreeEnsemble.from_sklearn(
        model.estimators_[:, 0], offset=float(target.mean()), scale=rate
    )
