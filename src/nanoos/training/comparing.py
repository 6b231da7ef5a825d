"""How an earlier model does on the rows that a new one is measured on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nanoos.datasets.dataset import Dataset
from nanoos.datasets.normalisation import TargetNormaliser
from nanoos.models.checkpoints import Checkpoint, load_checkpoint
from nanoos.models.forest import FAMILY, Forest, forest_descriptors
from nanoos.training.data import IntArray, TrainingSet, cached_graphs
from nanoos.training.loop import predict
from nanoos.training.network import parameters_from
from nanoos.training.preparing import DividedRows
from nanoos.training.result import measured


def measure_checkpoint(
    path: Path, rows: DividedRows, *, graphs_dir: Path, device: str
) -> Mapping[str, Mapping[str, Any]]:
    """Errors of a checkpoint on the test rows, for each target that both have.

    Args:
        path: The checkpoint.
        rows: Divided.
        graphs_dir: Where built graphs are kept.
        device: Where to predict.
    """
    checkpoint = load_checkpoint(path)
    test = rows.dataset.select(rows.test)
    if checkpoint.header.family == FAMILY:
        _, descriptors = forest_descriptors(test.structures)
        predicted = Forest.from_checkpoint(checkpoint).predict(descriptors)
    else:
        predicted = _by_networks(checkpoint, test, graphs_dir=graphs_dir, device=device)
    names = [target.name for target in checkpoint.header.targets]
    return {
        name: measured(
            predicted[:, column], test.targets[name], unit=test.units[name], half_widths=None
        )
        for column, name in enumerate(names)
        if name in test.targets
    }


def _by_networks(
    checkpoint: Checkpoint, test: Dataset, *, graphs_dir: Path, device: str
) -> npt.NDArray[np.float64]:
    """(n_rows, n_targets), the mean over the members."""
    header = checkpoint.header
    parameters = parameters_from(header.family, header.parameters)
    graphs = cached_graphs(
        test.structures,
        k=parameters.max_neighbors,
        cutoff=parameters.cutoff,
        key=test.sha256,
        folder=graphs_dir,
        progress=_silent,
    )
    blank = np.full((len(test), len(header.targets)), np.nan, dtype=np.float32)
    everything: IntArray = np.arange(len(test), dtype=np.int64)
    data = TrainingSet(
        graphs=graphs,
        values=blank,
        wanted=blank,
        names=tuple(target.name for target in header.targets),
        weights=np.ones(len(header.targets), dtype=np.float32),
        normalisers=tuple(
            TargetNormaliser(mean=target.mean, std=target.std, log10=target.log10)
            if target.kind == "regression"
            else None
            for target in header.targets
        ),
        train=everything,
        val=everything,
        test=everything,
    )
    found = [
        data.to_units(predict(checkpoint.network(n), data, everything, device=device).numpy())
        for n in range(header.n_members)
    ]
    return np.asarray(np.mean(found, axis=0))


def _silent(_fraction: float, _message: str) -> None:
    """Nobody listens."""
