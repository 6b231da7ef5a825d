"""What a training run gives back, and how good the model was on rows it never saw."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nanoos.models.conformal import conformal_quantile
from nanoos.training.config import TrainingConfig
from nanoos.training.preparing import DividedRows

LEVELS: Final = (0.8, 0.9, 0.95)
"""At which the coverage of intervals is measured."""

HELD_OUT_FILE: Final = "held_out.json"
HISTORY_FILE: Final = "history.json"

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """A trained model.

    Attributes:
        config: What was asked for.
        metrics: Target to ``mae``, ``mse``, ``r2`` (None where all labels are equal),
            ``coverage`` (level to the part of held-out labels inside the interval), ``n`` and
            ``unit``; a binary target has ``accuracy`` and no coverage. Measured on rows that shared no formula with training (split
            ``composition``) and that nothing was chosen by.
        validation: The same of the rows that chose the epoch; they flatter.
        history: For each member of the ensemble one record for each epoch.
        checkpoint: The file of the model, with all members.
        weights_sha256: Of that file.
        dataset_info: Which rows, from where, divided how.
        best_epochs: Of each member, counted from 1.
        wall_time_s: Of this call; a resumed run counts from where it was resumed.
        held_out: File that names the rows that were held out.
    """

    config: TrainingConfig
    metrics: Mapping[str, Mapping[str, Any]]
    validation: Mapping[str, Mapping[str, Any]]
    history: tuple[tuple[Mapping[str, Any], ...], ...]
    checkpoint: Path
    weights_sha256: str
    dataset_info: Mapping[str, Any]
    best_epochs: tuple[int, ...]
    wall_time_s: float
    held_out: Path


def measured(
    predicted: FloatArray, true: FloatArray, *, unit: str, half_widths: Mapping[float, float] | None
) -> dict[str, Any]:
    """Errors of one target.

    Args:
        predicted: (n,), in ``unit``.
        true: (n,), NaN where there is no label.
        unit: For the record.
        half_widths: Level to half the width of its interval; None: no coverage is measured.
    """
    known = np.isfinite(true)
    errors, labels = predicted[known] - true[known], true[known]
    mse = float(np.mean(errors**2))
    spread = float(np.mean((labels - labels.mean()) ** 2))
    found: dict[str, Any] = {
        "mae": float(np.mean(np.abs(errors))),
        "mse": mse,
        "r2": 1.0 - mse / spread if spread > 0.0 else None,
        "n": int(known.sum()),
        "unit": unit,
    }
    if half_widths is not None:
        found["coverage"] = {
            f"{level:g}": float(np.mean(np.abs(errors) <= width))
            for level, width in half_widths.items()
        }
        found["half_width"] = {f"{level:g}": width for level, width in half_widths.items()}
    return found


def _accuracy(probability: FloatArray, true: FloatArray) -> float:
    """Part of the labels that the likelier answer meets."""
    known = np.isfinite(true)
    return float(np.mean((probability[known] > 0.5) == (true[known] > 0.5)))  # noqa: PLR2004


def half_widths(predicted: FloatArray, true: FloatArray) -> dict[float, float]:
    """Level to half the width of a split-conformal interval, from calibration rows.

    Levels for which there are too few rows are left out.
    """
    known = np.isfinite(true)
    scores = np.abs(predicted[known] - true[known])
    found = {level: conformal_quantile(scores, level) for level in LEVELS}
    return {level: float(width) for level, width in found.items() if np.isfinite(width)}


def evaluate(
    rows: DividedRows, on_val: npt.NDArray[np.float64], on_test: npt.NDArray[np.float64]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Errors on test rows and on validation rows, by target.

    The widths of the intervals whose coverage is measured come from the validation rows, so
    none is measured where there are no others.

    Args:
        rows: With the labels.
        on_val: (n_val, n_targets), predicted.
        on_test: (n_test, n_targets), predicted.
    """
    metrics, validation = {}, {}
    apart = rows.info["measured_on"] == "test"
    for column, (name, unit) in enumerate(rows.dataset.units.items()):
        val, test = rows.values[rows.val, column], rows.values[rows.test, column]
        binary = rows.normalisers[column] is None
        widths = None if binary else half_widths(on_val[:, column], val) if apart else {}
        metrics[name] = measured(on_test[:, column], test, unit=unit, half_widths=widths)
        validation[name] = measured(on_val[:, column], val, unit=unit, half_widths=None)
        if binary:
            metrics[name]["accuracy"] = _accuracy(on_test[:, column], test)
            validation[name]["accuracy"] = _accuracy(on_val[:, column], val)
    return metrics, validation


def write_held_out(rows: DividedRows, folder: Path) -> Path:
    """Write which rows were held out, for a later run to hold them out again."""
    path = folder / HELD_OUT_FILE
    path.write_text(json.dumps(rows.held_out))
    return path
