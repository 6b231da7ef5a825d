"""Training the baseline: a random forest for each target."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

from nanoos.core.errors import ConfigError
from nanoos.datasets.dataset import Dataset
from nanoos.models.forest import Forest, forest_descriptors
from nanoos.models.trees import TreeEnsemble
from nanoos.training.artifact import write_checkpoint
from nanoos.training.config import TrainingConfig
from nanoos.training.data import Progress
from nanoos.training.preparing import DividedRows, Held, divide
from nanoos.training.result import HISTORY_FILE, TrainingResult, evaluate, write_held_out

_CHUNK = 500
_DESCRIPTORS_SHARE = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestParameters:
    """Hyper-parameters; given under ``parameters``.

    Attributes:
        n_trees: For each target.
        min_samples_leaf: Rows in a leaf at least.
        max_features: Part of the descriptors that a split looks at.
    """

    n_trees: int = 200
    min_samples_leaf: int = 2
    max_features: float = 0.4


def forest_parameters(config: TrainingConfig) -> ForestParameters:
    """Hyper-parameters of the forest that ``config`` asks for.

    Raises:
        ConfigError: an unknown one, or a value that it cannot have; names the key.
    """
    known = ForestParameters.__slots__
    unknown = sorted(set(config.parameters) - set(known))
    if unknown:
        raise ConfigError(
            f"parameters.{unknown[0]}: RandomForest has no such hyper-parameter.",
            hint=f"It has: {', '.join(known)}.",
        )
    try:
        checked = TypeAdapter(ForestParameters).validate_python(config.parameters)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"parameters.{first['loc'][0]}: {first['msg']}.") from error
    if checked.n_trees < 1 or checked.min_samples_leaf < 1 or not 0 < checked.max_features <= 1:
        raise ConfigError(
            "parameters: n_trees and min_samples_leaf are at least 1, max_features in (0, 1]."
        )
    return checked


def train_forest(
    config: TrainingConfig,
    dataset: Dataset,
    *,
    run_dir: Path,
    held_out: Held | None,
    report: Progress,
) -> TrainingResult:
    """As :func:`nanoos.training.run.train_model`, for a RandomForest."""
    began = time.monotonic()
    parameters = forest_parameters(config)
    rows = divide(config, dataset, held_out=held_out)
    run_dir.mkdir(parents=True, exist_ok=True)
    columns, table = _described(rows, report)
    names = tuple(config.target_weights)
    trees: dict[str, TreeEnsemble] = {}
    for column, name in enumerate(names):
        done = _DESCRIPTORS_SHARE + (1.0 - _DESCRIPTORS_SHARE) * column / len(names)
        report(done, f"trees for {name}")
        labels = rows.values[rows.train, column]
        known = np.isfinite(labels)
        logged = name in config.log_targets
        trees[name] = _grown(
            table[rows.train][known],
            np.log10(labels[known]) if logged else labels[known],
            parameters,
            seed=config.seed,
        )
    forest = Forest(trees=trees, log10=frozenset(config.log_targets), columns=columns)
    metrics, validation = evaluate(
        rows, forest.predict(table[rows.val]), forest.predict(table[rows.test])
    )
    path = run_dir / f"{config.name}.safetensors"
    state = {key: torch.from_numpy(array.copy()) for key, array in forest.to_arrays().items()}
    weights_sha256 = write_checkpoint(
        path,
        (state,),
        config=config,
        parameters={**asdict(parameters), "columns": list(columns)},
        rows=rows,
        metrics=metrics,
        training={"validation": validation},
    )
    (run_dir / HISTORY_FILE).write_text(json.dumps([[]]))
    return TrainingResult(
        config=config,
        metrics=metrics,
        validation=validation,
        history=((),),
        checkpoint=path,
        weights_sha256=weights_sha256,
        dataset_info=rows.info,
        best_epochs=(),
        wall_time_s=time.monotonic() - began,
        held_out=write_held_out(rows, run_dir),
    )


def _described(rows: DividedRows, report: Progress) -> tuple[tuple[str, ...], Any]:
    structures, parts = rows.dataset.structures, []
    columns: tuple[str, ...] = ()
    for start in range(0, len(structures), _CHUNK):
        report(
            _DESCRIPTORS_SHARE * start / len(structures),
            f"descriptors: {start} of {len(structures)}",
        )
        columns, part = forest_descriptors(structures[start : start + _CHUNK])
        parts.append(part)
    return columns, np.concatenate(parts)


def _grown(table: Any, labels: Any, parameters: ForestParameters, *, seed: int) -> TreeEnsemble:
    from sklearn.ensemble import RandomForestRegressor

    model = RandomForestRegressor(
        n_estimators=parameters.n_trees,
        min_samples_leaf=parameters.min_samples_leaf,
        max_features=parameters.max_features,
        random_state=seed,
        n_jobs=1,
    ).fit(table.astype(np.float32), labels)
    return TreeEnsemble.from_sklearn(model.estimators_, offset=0.0, scale=1.0 / parameters.n_trees)
