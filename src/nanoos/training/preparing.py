"""From a data set to what the loop takes: rows checked, divided, normalised; graphs built."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.datasets.building import DatasetConfig, TrainValDatasets, build_train_val_datasets
from nanoos.datasets.dataset import Dataset
from nanoos.datasets.normalisation import TargetNormaliser
from nanoos.datasets.outliers import iqr_outliers, without_outliers
from nanoos.training.config import TrainingConfig
from nanoos.training.data import BINARY, IntArray, Progress, TrainingSet, cached_graphs

Held = Mapping[str, Mapping[str, list[str]]]
"""``val`` and ``test``, each with the ``formulas`` and ``structures`` (content hashes) in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DividedRows:
    """The rows of a run before any graph is built.

    Attributes:
        dataset: All rows that take part.
        values: (n_rows, n_targets); training labels that the outlier filter took are NaN.
        train: Rows to fit.
        val: Rows to choose by.
        test: Rows that nothing is chosen by; the validation rows where there are no others.
        normalisers: One for each target, fitted on the training rows; None for a binary one.
        info: What the model's row and card say of the data.
        held_out: What a later run must keep from its training rows to be compared fairly.
    """

    dataset: Dataset
    values: npt.NDArray[np.float64]
    train: IntArray
    val: IntArray
    test: IntArray
    normalisers: tuple[TargetNormaliser | None, ...]
    info: Mapping[str, Any]
    held_out: Held


def divide(
    config: TrainingConfig,
    dataset: Dataset,
    *,
    held_out: Held | None = None,
    scales: Mapping[str, TargetNormaliser] | None = None,
) -> DividedRows:
    """Choose the rows with the targets, divide them, normalise the targets.

    Args:
        config: Which targets, which split.
        dataset: Everything there is.
        held_out: Of an earlier run; its rows are held out again, all others are trained on.
        scales: Of targets whose read-out is gone on with; others are fitted.

    Raises:
        NotFoundError: no such target.
        InvalidInputError: too few labelled rows (``too_few_rows``), or labels that do not fit.
    """
    names = tuple(config.target_weights)
    if held_out is not None:
        dataset = replace(dataset, given_split=parts_as_before(dataset, held_out))
    method = "given" if held_out is not None else config.split
    built = build_train_val_datasets(
        dataset,
        DatasetConfig(targets=names, min_samples=config.min_rows, split=method, seed=config.seed),
    )
    chosen, train = built.dataset, built.split.train
    values = np.stack([chosen.target(name) for name in names], axis=1)
    outliers: dict[str, Any] = {}
    for column, name in enumerate(names):
        if name in BINARY:
            _check_binary(name, values[:, column])
        elif config.outlier_filter:
            found = iqr_outliers(values[train, column])
            values[train, column] = without_outliers(values[train, column], found)
            outliers[name] = found.as_dict()
    train = _usable(chosen, values, train, config.max_sites)
    normalisers = tuple(
        None
        if name in BINARY
        else (scales or {}).get(name)
        or TargetNormaliser.fit(values[train, column], log10=name in config.log_targets)
        for column, name in enumerate(names)
    )
    test = built.split.test
    if not np.isfinite(values[test]).any(axis=0).all():
        test = built.split.val
    return DividedRows(
        dataset=chosen,
        values=values,
        train=train,
        val=built.split.val,
        test=test,
        normalisers=normalisers,
        info=_info(config, dataset, built=built, train=train, test=test, outliers=outliers),
        held_out={
            "val": _members(chosen, built.split.val, method),
            "test": _members(chosen, built.split.test, method),
        }
        if held_out is None
        else held_out,
    )


def parts_as_before(dataset: Dataset, held_out: Held) -> tuple[str, ...]:
    """``train``, ``val`` or ``test`` for each row, as an earlier run divided them."""
    formulas = {f: part for part in ("val", "test") for f in held_out[part]["formulas"]}
    structures = {s: part for part in ("val", "test") for s in held_out[part]["structures"]}
    return tuple(
        structures.get(content_hash) or formulas.get(formula) or "train"
        for content_hash, formula in zip(
            dataset.content_hashes, dataset.reduced_formulas, strict=True
        )
    )


def _members(dataset: Dataset, rows: IntArray, method: str) -> dict[str, list[str]]:
    by_formula = method == "composition"
    return {
        "formulas": sorted({dataset.reduced_formulas[row] for row in rows}) if by_formula else [],
        "structures": sorted({dataset.content_hashes[row] for row in rows}),
    }


def _check_binary(name: str, values: npt.NDArray[np.float64]) -> None:
    known = values[np.isfinite(values)]
    if not np.isin(known, (0.0, 1.0)).all():
        raise InvalidInputError(
            f"{name} is a yes or no: its labels must be 0 or 1.",
            hint=f"The data set has {known[~np.isin(known, (0.0, 1.0))][0]:g}.",
        )


def _usable(
    dataset: Dataset, values: npt.NDArray[np.float64], rows: IntArray, max_sites: int | None
) -> IntArray:
    kept = rows[np.isfinite(values[rows]).any(axis=1)]
    if max_sites is not None:
        sites = np.array([dataset.structures[row].n_sites for row in kept])
        kept = kept[sites <= max_sites]
    if not np.isfinite(values[kept]).any(axis=0).all():
        raise InvalidInputError(
            "No training row is left that has every target.",
            hint="Raise max_sites, or turn outlier_filter off.",
            code="too_few_rows",
        )
    return kept


def _info(
    config: TrainingConfig,
    given: Dataset,
    *,
    built: TrainValDatasets,
    train: IntArray,
    test: IntArray,
    outliers: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "name": given.name,
        "sha256": given.sha256,
        "units": dict(built.dataset.units),
        "level_of_theory": {
            name: asdict(theory) for name, theory in built.dataset.level_of_theory.items()
        },
        "split": config.split,
        "seed": config.seed,
        "split_sha256": built.split.sha256,
        "n_rows": len(built.dataset),
        "n_labelled": {
            name: int(np.isfinite(values).sum()) for name, values in built.dataset.targets.items()
        },
        "n_train": len(train),
        "n_val": len(built.split.val),
        "n_test": len(built.split.test),
        "measured_on": "val" if test is built.split.val else "test",
        "report": built.report.as_dict() | {"outliers": outliers},
    }


def training_set(
    rows: DividedRows,
    config: TrainingConfig,
    *,
    k: int,
    cutoff: float,
    graphs_dir: Path,
    progress: Progress,
) -> TrainingSet:
    """Build the graphs, or take them from ``graphs_dir``, and put everything together.

    Args:
        rows: Divided.
        config: Weights of the targets.
        k: Neighbours of each atom.
        cutoff: Å.
        graphs_dir: Where built graphs are kept from run to run.
        progress: Told how far the graphs are.
    """
    weights = config.target_weights
    wanted = np.stack(
        [
            column if normaliser is None else normaliser.transform(column)
            for column, normaliser in zip(rows.values.T, rows.normalisers, strict=True)
        ],
        axis=1,
    )
    digest = hashlib.sha256("".join(rows.dataset.content_hashes).encode())
    return TrainingSet(
        graphs=cached_graphs(
            rows.dataset.structures,
            k=k,
            cutoff=cutoff,
            key=digest.hexdigest(),
            folder=graphs_dir,
            progress=progress,
        ),
        values=rows.values.astype(np.float32),
        wanted=wanted.astype(np.float32),
        names=tuple(weights),
        weights=np.array(list(weights.values()), dtype=np.float32),
        normalisers=rows.normalisers,
        train=rows.train,
        val=rows.val,
        test=rows.test,
    )
