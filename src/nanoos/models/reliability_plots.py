"""Pictures of an uncertainty: reliability, sparsification, error against sigma, parity."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from nanoos.models.conformal import FloatArray
from nanoos.models.reliability import (
    beta_binomial_interval,
    confidence_curve,
    sparsification_curves,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TEAL: Final = "#00796b"
_GREY: Final = "#9e9e9e"
_BAND: Final = "#b2dfdb"
_N_BINS: Final = 12


def plot_uncertainty(
    path: Path,
    *,
    values: npt.ArrayLike,
    sigmas: npt.ArrayLike,
    truths: npt.ArrayLike,
    quantiles: Mapping[float, tuple[FloatArray, FloatArray]],
    n_calibration: int,
    title: str,
    unit: str,
    confidences: npt.ArrayLike | None = None,
    good: npt.ArrayLike | None = None,
) -> None:
    """Write one picture of four panels (five with a confidence).

    Args:
        path: Of the picture; its suffix (``.png``, ``.svg``, ``.pdf``) chooses the format.
        values: (n,), predictions.
        sigmas: (n,), predicted standard deviations.
        truths: (n,), labels.
        quantiles: Level to (lower, upper), each (n,).
        n_calibration: Rows that the intervals were calibrated on.
        title: Above the picture.
        unit: Of values, sigmas and truths.
        confidences: (n,), predicted probabilities of ``good``.
        good: (n,), whether each row lies within the good band.
    """
    from matplotlib.figure import Figure

    value, sigma, truth = (np.asarray(c, dtype=np.float64) for c in (values, sigmas, truths))
    with_confidence = confidences is not None and good is not None
    n_panels = 4 + int(with_confidence)
    figure = Figure(figsize=(3.9 * n_panels, 3.9), layout="constrained")
    panels: Sequence[Axes] = np.ravel(figure.subplots(1, n_panels)).tolist()
    plot_reliability(panels[0], truth, quantiles, n_calibration)
    plot_sparsification(panels[1], sigma, np.abs(truth - value))
    plot_error_against_sigma(panels[2], sigma, np.abs(truth - value), unit)
    plot_parity(panels[3], value, truth, unit)
    if with_confidence:
        plot_confidence(panels[4], np.asarray(confidences), np.asarray(good))
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=130)


def plot_reliability(
    axes: "Axes",
    truths: FloatArray,
    quantiles: Mapping[float, tuple[FloatArray, FloatArray]],
    n_calibration: int,
) -> None:
    """Observed against nominal coverage, with what chance explains."""
    levels = sorted(quantiles)
    observed = [
        float(np.mean((quantiles[v][0] <= truths) & (truths <= quantiles[v][1]))) for v in levels
    ]
    band = [beta_binomial_interval(level, n_calibration, len(truths)) for level in levels]
    axes.fill_between(
        levels,
        [low for low, _ in band],
        [high for _, high in band],
        color=_BAND,
        label="chance (95 %)",
    )
    axes.plot(levels, levels, color=_GREY, linewidth=1)
    axes.plot(levels, observed, "o-", color=_TEAL, markersize=4, label=f"n = {len(truths)}")
    axes.set(xlabel="nominal coverage", ylabel="observed coverage", title="Reliability")
    axes.legend(frameon=False, loc="upper left", fontsize=8)


def plot_sparsification(axes: "Axes", sigmas: FloatArray, errors: FloatArray) -> None:
    """Error left when the least certain rows are taken away, and the best possible."""
    share, own, best = sparsification_curves(sigmas, errors)
    axes.plot(100 * share, own, color=_TEAL, label="by sigma")
    axes.plot(100 * share, best, color=_GREY, linestyle="--", label="by true error")
    axes.axhline(1, color=_GREY, linewidth=0.8, label="at random")
    axes.set(
        xlabel="rows taken away, %",
        ylabel="error of the rest / error of all",
        title="Sparsification",
        ylim=(0, None),
    )
    axes.legend(frameon=False, fontsize=8)


def plot_error_against_sigma(
    axes: "Axes", sigmas: FloatArray, errors: FloatArray, unit: str
) -> None:
    """Root mean square error against root mean square sigma, in bins of equally many rows."""
    order = np.argsort(sigmas, kind="stable")
    parts = [part for part in np.array_split(order, _N_BINS) if len(part)]
    said = [float(np.sqrt(np.mean(sigmas[part] ** 2))) for part in parts]
    was = [float(np.sqrt(np.mean(errors[part] ** 2))) for part in parts]
    smallest = 1e-3 * float(np.median(sigmas))
    axes.scatter(
        np.maximum(sigmas, smallest), np.maximum(errors, smallest), s=3, color=_GREY, alpha=0.3
    )
    ends = [min(said), max(said)]
    axes.plot(ends, ends, color="black", linewidth=0.8)
    axes.plot(said, np.maximum(was, smallest), "o-", color=_TEAL, markersize=4)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel=f"sigma, {unit}",
        ylabel=f"absolute error, {unit}",
        title="Error and sigma",
    )


def plot_parity(axes: "Axes", values: FloatArray, truths: FloatArray, unit: str) -> None:
    """Predicted against true values."""
    ends = [float(min(values.min(), truths.min())), float(max(values.max(), truths.max()))]
    axes.plot(ends, ends, color="black", linewidth=0.8)
    axes.scatter(truths, values, s=4, color=_TEAL, alpha=0.3, edgecolors="none")
    error = float(np.mean(np.abs(values - truths)))
    axes.set(xlabel=f"label, {unit}", ylabel=f"predicted, {unit}", title=f"MAE {error:.3g} {unit}")


def plot_confidence(axes: "Axes", confidences: FloatArray, good: FloatArray) -> None:
    """Share of good predictions against predicted confidence."""
    curve = confidence_curve(confidences, good.astype(np.float64))
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1)
    axes.plot([said for said, _, _ in curve], [was for _, was, _ in curve], "o-", color=_TEAL)
    axes.set(xlabel="confidence", ylabel="share good", title="Confidence", xlim=(0, 1), ylim=(0, 1))
