"""What a training run gives back, and how good the model was on rows it never saw."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nanoos.models.conformal import conformal_quantile
from nanoos.training.config import TrainingConfig

LEVELS: Final = (0.8, 0.9, 0.95)
"""At which the coverage of intervals is measured."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """A trained model.

    Attributes:
        config: What was asked for.
        metrics: Target to ``mae``, ``mse``, ``r2`` (None where all labels are equal),
            ``coverage`` (level to the part of held-out labels inside the interval), ``n`` and
            ``unit``, measured on rows that shared no formula with training (split
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
    predicted: FloatArray, true: FloatArray, *, unit: str, half_widths: Mapping[float, float]
) -> dict[str, Any]:
    """Errors of one target.

    Args:
        predicted: (n,), in ``unit``.
        true: (n,), NaN where there is no label.
        unit: For the record.
        half_widths: Level to half the width of its interval; empty: no coverage is measured.
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
    if half_widths:
        found["coverage"] = {
            f"{level:g}": float(np.mean(np.abs(errors) <= width))
            for level, width in half_widths.items()
        }
        found["half_width"] = {f"{level:g}": width for level, width in half_widths.items()}
    return found


def half_widths(predicted: FloatArray, true: FloatArray) -> dict[float, float]:
    """Level to half the width of a split-conformal interval, from calibration rows.

    Levels for which there are too few rows are left out.
    """
    known = np.isfinite(true)
    scores = np.abs(predicted[known] - true[known])
    found = {level: conformal_quantile(scores, level) for level in LEVELS}
    return {level: float(width) for level, width in found.items() if np.isfinite(width)}
