"""From a data set to what a training takes: rows chosen, outliers reported, parts divided."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from nanoos.core.errors import InvalidInputError
from nanoos.datasets.dataset import Dataset
from nanoos.datasets.outliers import OutlierReport, iqr_outliers, without_outliers
from nanoos.datasets.packed_structures import IntArray
from nanoos.datasets.splits import (
    DEFAULT_FRACTIONS,
    SplitMethod,
    TrainValSplit,
    split_train_val,
)


class DatasetConfig(BaseModel):
    """Which rows a training takes and how they are divided."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    targets: tuple[str, ...] = ()
    """Property names; empty: every target of the data set."""
    outlier_filter: bool = False
    """Whether numbers beyond Tukey's fences are left out of the training part."""
    iqr_factor: float = Field(default=1.5, gt=0, le=100)
    """Where the fences stand: so many interquartile ranges beyond the quartiles."""
    min_samples: int = Field(default=20, ge=1)
    """Fewer rows with a number than this are refused, for each target."""
    split: SplitMethod = "composition"
    """``composition`` (no reduced formula in two parts), ``random`` or ``given`` by the source."""
    fractions: tuple[float, float, float] = DEFAULT_FRACTIONS
    """Of train, val and test; together 1."""
    seed: int = Field(default=0, ge=0)
    """Of the split."""

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if min(self.fractions) < 0 or abs(sum(self.fractions) - 1) > 1e-6:  # noqa: PLR2004
            raise ValueError("fractions must not be below 0 and must be 1 together")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetReport:
    """What happened on the way, for the card of the model.

    Attributes:
        rows_given: Rows of the data set.
        rows_without_target: Rows left out because they have none of the targets.
        outliers: Target to what the filter found; empty where it was off.
        rows_dropped: Rows left out because only outliers were known of them.
        duplicate_structures: Rows beyond the first with the same structure (they stay).
    """

    rows_given: int
    rows_without_target: int
    outliers: Mapping[str, OutlierReport]
    rows_dropped: int
    duplicate_structures: int

    def as_dict(self) -> dict[str, Any]:
        """JSON types."""
        return {
            "rows_given": self.rows_given,
            "rows_without_target": self.rows_without_target,
            "outliers": {name: found.as_dict() for name, found in self.outliers.items()},
            "rows_dropped": self.rows_dropped,
            "duplicate_structures": self.duplicate_structures,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionDataset:
    """The rows of a data set that carry the wanted targets.

    Attributes:
        dataset: With these targets only, and at least one number in each row.
        report: What was left out.
    """

    dataset: Dataset
    report: DatasetReport


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainValDatasets:
    """A divided data set.

    Attributes:
        dataset: All rows that take part, before the outlier filter; ``split`` is of these.
        train: Training rows, outliers left out where the filter is on.
        val: Rows that choose; never filtered.
        test: Rows that measure; never filtered.
        split: Indices into ``dataset``.
        report: What was left out.
    """

    dataset: Dataset
    train: Dataset
    val: Dataset
    test: Dataset
    split: TrainValSplit
    report: DatasetReport


def build_regression_dataset(
    dataset: Dataset, config: DatasetConfig | None = None
) -> RegressionDataset:
    """Choose targets and the rows that have them; drop outliers where the filter is on.

    Args:
        dataset: Everything there is.
        config: Targets, outlier filter, minimum; fences are of all rows here. To divide first
            and filter the training part alone, use :func:`build_train_val_datasets`.

    Raises:
        NotFoundError: no such target.
        InvalidInputError: a target has fewer rows than ``min_samples`` (``too_few_rows``).
    """
    config = config or DatasetConfig()
    chosen, without = _with_targets(dataset, config)
    filtered, outliers, dropped = _filtered(chosen, config)
    _check_minimum(filtered, config)
    report = _report(dataset, chosen, without, outliers, dropped)
    return RegressionDataset(dataset=filtered, report=report)


def build_train_val_datasets(
    dataset: Dataset, config: DatasetConfig | None = None
) -> TrainValDatasets:
    """Choose rows as :func:`build_regression_dataset`, divide them, filter the training part.

    The fences come from the training part, and only training rows are left out by them: what is
    measured on val and test is of all their rows.

    Raises:
        NotFoundError: no such target.
        InvalidInputError: a target has fewer rows than ``min_samples``, or the train or val part
            has none (``too_few_rows``); or no split is given.
    """
    config = config or DatasetConfig()
    chosen, without = _with_targets(dataset, config)
    _check_minimum(chosen, config)
    split = split_train_val(
        chosen, method=config.split, fractions=config.fractions, seed=config.seed
    )
    parts = {name: chosen.select(indices) for name, indices in split.parts().items()}
    for name in ("train", "val"):
        _check_part(parts[name], name)
    train, outliers, dropped = _filtered(parts["train"], config)
    _check_part(train, "train")
    return TrainValDatasets(
        dataset=chosen,
        train=train,
        val=parts["val"],
        test=parts["test"],
        split=split,
        report=_report(dataset, chosen, without, outliers, dropped),
    )


def _with_targets(dataset: Dataset, config: DatasetConfig) -> tuple[Dataset, int]:
    names = config.targets or tuple(dataset.targets)
    if not names:
        raise InvalidInputError(f"The data set {dataset.name!r} has no target.")
    targets = {name: dataset.target(name) for name in names}
    narrowed = replace(
        dataset,
        targets=targets,
        units={name: dataset.units[name] for name in names},
        level_of_theory={n: t for n, t in dataset.level_of_theory.items() if n in targets},
    )
    rows = _rows_with_a_number(narrowed)
    if len(rows) == len(dataset):
        return narrowed, 0
    return narrowed.select(rows), len(dataset) - len(rows)


def _rows_with_a_number(dataset: Dataset) -> IntArray:
    known = np.zeros(len(dataset), dtype=bool)
    for values in dataset.targets.values():
        known |= np.isfinite(values)
    return np.flatnonzero(known).astype(np.int64)


def _filtered(
    dataset: Dataset, config: DatasetConfig
) -> tuple[Dataset, Mapping[str, OutlierReport], int]:
    """A row stays for the targets in which it is no outlier; it goes when none is left."""
    if not config.outlier_filter:
        return dataset, {}, 0
    outliers = {
        name: iqr_outliers(values, config.iqr_factor) for name, values in dataset.targets.items()
    }
    kept = replace(
        dataset,
        targets={
            name: without_outliers(values, outliers[name])
            for name, values in dataset.targets.items()
        },
    )
    rows = _rows_with_a_number(kept)
    return kept.select(rows), outliers, len(dataset) - len(rows)


def _check_minimum(dataset: Dataset, config: DatasetConfig) -> None:
    for name, values in dataset.targets.items():
        known = int(np.isfinite(values).sum())
        if known < config.min_samples:
            raise InvalidInputError(
                f"{known} rows of {dataset.name!r} have {name}, at least "
                f"{config.min_samples} are needed.",
                hint="Bring more rows, or lower min_samples.",
                details={"target": name, "rows": known, "min_samples": config.min_samples},
                code="too_few_rows",
            )


def _check_part(dataset: Dataset, part: str) -> None:
    for name, values in dataset.targets.items():
        if not np.isfinite(values).any():
            raise InvalidInputError(
                f"No row of the {part} part of {dataset.name!r} has {name}.",
                hint="Bring more rows, or give this part a larger fraction.",
                details={"target": name, "part": part},
                code="too_few_rows",
            )


def _report(
    given: Dataset,
    chosen: Dataset,
    without: int,
    outliers: Mapping[str, OutlierReport],
    dropped: int,
) -> DatasetReport:
    return DatasetReport(
        rows_given=len(given),
        rows_without_target=without,
        outliers=outliers,
        rows_dropped=dropped,
        duplicate_structures=len(chosen) - len(set(chosen.content_hashes)),
    )
