"""How good an uncertainty is: coverage, sharpness, ranking of errors, calibration of confidence.

Definitions follow Gneiting & Raftery 2007 (interval score, DOI 10.1198/016214506000001437),
Ilg et al. 2018 (sparsification, DOI 10.1007/978-3-030-01234-2_40) and Kuleshov et al. 2018
(miscalibration, arXiv 1807.00263). Their meaning is told in docs/uncertainty.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nanoos.models.conformal import FloatArray, checked

REPORTED_LEVELS: Final = (0.8, 0.9, 0.95)
_BOOTSTRAPS: Final = 1000


def beta_binomial_interval(
    level: float, n_calibration: int, n_test: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Where the observed coverage of a valid conformal interval lies, by chance alone.

    The coverage reached by split conformal calibration on ``n_calibration`` rows is
    Beta-distributed, the number covered of ``n_test`` rows then Beta-binomial (Angelopoulos &
    Bates 2023, DOI 10.1561/2200000101, section 3.2).

    Args:
        level: Nominal coverage.
        n_calibration: Rows calibrated on.
        n_test: Rows counted.
        confidence: Share of the chance kept; central.

    Returns:
        Lowest and highest share of rows covered.
    """
    from scipy.stats import betabinom

    missed = max(1, int((n_calibration + 1) * (1 - level) + 1e-9))
    missed = min(missed, n_calibration)
    spread = betabinom(n_test, n_calibration + 1 - missed, missed)
    tail = (1 - confidence) / 2
    return float(spread.ppf(tail)) / n_test, float(spread.ppf(1 - tail)) / n_test


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How often intervals of one level held, on one set of rows.

    Attributes:
        level: Nominal.
        observed: Share of rows whose truth lay within, ends included.
        n: Rows.
        expected: Lowest and highest share that chance explains (95 %, Beta-binomial).
        mean_width: In the property's unit.
        median_width: In the property's unit.
        interval_score: Mean of the width and of 2 / (1 - level) times how far the truth lay
            outside; the lower the better.
    """

    level: float
    observed: float
    n: int
    expected: tuple[float, float]
    mean_width: float
    median_width: float
    interval_score: float

    @property
    def as_expected(self) -> bool:
        """Whether chance explains the difference to the nominal level."""
        return self.expected[0] <= self.observed <= self.expected[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class UncertaintyReport:
    """What is measured of the uncertainty of one property, on rows that shaped nothing.

    Attributes:
        n: Rows.
        n_calibration: Rows that the intervals were calibrated on.
        mae: Mean absolute error, in the property's unit.
        mae_interval: 95 % bootstrap interval of ``mae``, whole formulas drawn.
        coverage: One for each level.
        by_group: Kind of group (``crystal_system``, ``sigma_quartile``) to group to coverages.
        spearman: Rank correlation of sigma and absolute error.
        ause: Area between the sparsification curve of sigma and the best possible one, as a
            share of ``mae``; 0 is perfect, a sigma without information has the area that
            ``ause_random`` states.
        ause_random: That area.
        miscalibration_area: Mean distance of observed and nominal coverage over the levels.
        confidence_error: Expected calibration error of the confidence; None without one.
        mean_confidence: None without one.
        share_good: Share of rows within the good band; None without a confidence.
    """

    n: int
    n_calibration: int
    mae: float
    mae_interval: tuple[float, float]
    coverage: tuple[Coverage, ...]
    by_group: Mapping[str, Mapping[str, tuple[Coverage, ...]]] = field(default_factory=dict)
    spearman: float = 0.0
    ause: float = 0.0
    ause_random: float = 0.0
    miscalibration_area: float = 0.0
    confidence_error: float | None = None
    mean_confidence: float | None = None
    share_good: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON types, for a model card."""
        return asdict(self)


def evaluate_uncertainty(
    values: npt.ArrayLike,
    sigmas: npt.ArrayLike,
    truths: npt.ArrayLike,
    quantiles: Mapping[float, tuple[FloatArray, FloatArray]],
    *,
    n_calibration: int,
    formulas: Sequence[str] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    group_calibration: Mapping[str, int] | None = None,
    confidences: npt.ArrayLike | None = None,
    good: npt.ArrayLike | None = None,
    levels: Sequence[float] = REPORTED_LEVELS,
    seed: int = 0,
) -> UncertaintyReport:
    """Measure the uncertainty of one property on held-out rows.

    Quartiles of sigma are always among the groups.

    Args:
        values: (n,), predictions.
        sigmas: (n,), predicted standard deviations.
        truths: (n,), labels.
        quantiles: Level to (lower, upper), each (n,).
        n_calibration: Rows that the intervals were calibrated on.
        formulas: (n,), reduced formulas, for the bootstrap; None where each row is its own.
        groups: Kind of group to the name of each row's (n,).
        group_calibration: Group to the number of calibration rows of that group; the expected
            range of a group not named here uses its share of ``n_calibration``.
        confidences: (n,), predicted probabilities of ``good``.
        good: (n,), whether each row lies within the good band.
        levels: Reported; those without quantiles are left out.
        seed: Of the bootstrap.

    Raises:
        InvalidInputError: columns of different lengths or not finite.
    """
    value, sigma, truth = checked("The report", values, sigmas, truths)
    shown = [level for level in levels if level in quantiles]
    names = {"sigma_quartile": quartile_names(sigma), **(groups or {})}
    counted = group_calibration or {}

    def of(rows: npt.NDArray[np.bool_], n_rows: int) -> tuple[Coverage, ...]:
        return tuple(coverage(truth, quantiles[lv], lv, rows, n_rows) for lv in shown)

    everything = np.ones(len(value), dtype=np.bool_)
    by_group: dict[str, dict[str, tuple[Coverage, ...]]] = {}
    for kind, labels in names.items():
        label = np.asarray(labels)
        by_group[kind] = {
            str(name): of(
                label == name,
                counted.get(
                    str(name), max(1, round(n_calibration * float(np.mean(label == name))))
                ),
            )
            for name in np.unique(label)
        }
    error = np.abs(truth - value)
    ause, at_random = sparsification_area(sigma, error)
    confidence_error = mean_confidence = share_good = None
    if confidences is not None and good is not None:
        confidence, is_good = checked("Confidence", confidences, good)
        confidence_error = expected_calibration_error(confidence, is_good)
        mean_confidence, share_good = float(confidence.mean()), float(is_good.mean())
    return UncertaintyReport(
        n=len(value),
        n_calibration=n_calibration,
        mae=float(error.mean()),
        mae_interval=bootstrap_mean_interval(error, formulas, seed=seed),
        coverage=of(everything, n_calibration),
        by_group=by_group,
        spearman=spearman(sigma, error),
        ause=ause,
        ause_random=at_random,
        miscalibration_area=miscalibration_area(truth, quantiles),
        confidence_error=confidence_error,
        mean_confidence=mean_confidence,
        share_good=share_good,
    )


def coverage(
    truths: FloatArray,
    interval: tuple[FloatArray, FloatArray],
    level: float,
    rows: npt.NDArray[np.bool_],
    n_calibration: int,
) -> Coverage:
    """The coverage of ``interval`` (two of (n,)) on the chosen ``rows`` (n,)."""
    truth, lower, upper = truths[rows], interval[0][rows], interval[1][rows]
    width = upper - lower
    outside = np.maximum(lower - truth, 0) + np.maximum(truth - upper, 0)
    return Coverage(
        level=level,
        observed=float(np.mean((lower <= truth) & (truth <= upper))),
        n=int(rows.sum()),
        expected=beta_binomial_interval(level, n_calibration, int(rows.sum())),
        mean_width=float(width.mean()),
        median_width=float(np.median(width)),
        interval_score=float(np.mean(width + 2 / (1 - level) * outside)),
    )


def quartile_names(sigmas: FloatArray) -> list[str]:
    """``Q1`` (the smallest quarter) to ``Q4`` of each row; equal sigmas share one."""
    edges = np.quantile(sigmas, [0.25, 0.5, 0.75])
    return [f"Q{index + 1}" for index in np.searchsorted(edges, sigmas, side="left")]


def spearman(sigmas: FloatArray, errors: FloatArray) -> float:
    """Rank correlation of ``sigmas`` and absolute ``errors``; 0 where either is constant."""
    from scipy.stats import rankdata

    first, second = rankdata(sigmas), rankdata(errors)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def sparsification_curves(
    sigmas: FloatArray, errors: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean absolute error of what is left when the rows of largest sigma are taken away.

    Returns:
        Share taken away (n,), from 0; error left (n,), as a share of the whole mean; the same
        when the rows of largest error go first.
    """
    count = len(errors)
    left = np.arange(count, 0, -1)

    def curve(key: FloatArray) -> FloatArray:
        kept = np.cumsum(errors[np.argsort(key, kind="stable")])[::-1] / left
        return np.asarray(kept / max(float(errors.mean()), np.finfo(np.float64).tiny))

    return np.arange(count) / count, curve(sigmas), curve(errors)


def sparsification_area(sigmas: FloatArray, errors: FloatArray) -> tuple[float, float]:
    """Area under the sparsification error of ``sigmas``, and that of a random order."""
    share, own, best = sparsification_curves(sigmas, errors)
    return float(np.trapezoid(own - best, share)), float(np.trapezoid(1 - best, share))


def miscalibration_area(
    truths: FloatArray, quantiles: Mapping[float, tuple[FloatArray, FloatArray]]
) -> float:
    """Mean distance of observed from nominal coverage over all stored levels."""
    gaps = [
        abs(float(np.mean((low <= truths) & (truths <= up))) - level)
        for level, (low, up) in quantiles.items()
    ]
    return float(np.mean(gaps))


def confidence_curve(
    confidences: FloatArray, good: FloatArray, *, n_bins: int = 10
) -> list[tuple[float, float, int]]:
    """(mean confidence, share good, rows) in bins of equally many rows, ascending."""
    order = np.argsort(confidences, kind="stable")
    parts = [part for part in np.array_split(order, n_bins) if len(part)]
    return [
        (float(confidences[part].mean()), float(good[part].mean()), len(part)) for part in parts
    ]


def expected_calibration_error(
    confidences: FloatArray, good: FloatArray, *, n_bins: int = 10
) -> float:
    """Mean distance of confidence and share good over bins of equally many rows."""
    curve = confidence_curve(confidences, good, n_bins=n_bins)
    return sum(abs(said - was) * rows for said, was, rows in curve) / len(confidences)


def bootstrap_mean_interval(
    errors: npt.ArrayLike,
    groups: Sequence[str] | None = None,
    *,
    confidence: float = 0.95,
    n_draws: int = _BOOTSTRAPS,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of ``errors`` (n,).

    Args:
        errors: Absolute errors for an interval of the MAE.
        groups: (n,), drawn as wholes (reduced formulas): polymorphs err alike.
        confidence: Of the interval.
        n_draws: Bootstrap samples.
        seed: Of the draws.
    """
    error = np.asarray(errors, dtype=np.float64)
    keys = np.arange(len(error)) if groups is None else np.unique(groups, return_inverse=True)[1]
    total = np.bincount(keys, weights=error)
    rows = np.bincount(keys).astype(np.float64)
    rng = np.random.default_rng(seed)
    means = np.empty(n_draws)
    for draw in range(n_draws):
        chosen = rng.integers(0, len(total), len(total))
        means[draw] = total[chosen].sum() / rows[chosen].sum()
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
