"""What a network trains on: graphs built once, targets, and batches put together from them."""

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nanoos.datasets.normalisation import TargetNormaliser
from nanoos.features.packed import PackedGraphs
from nanoos.models.networks.batch import GraphBatch
from nanoos.structures import Structure

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Progress = Callable[[float, str], None]

BINARY: Final = frozenset({"is_metal"})
"""Targets that are 0 or 1: the network gives the logit of a probability."""

_GRAPH_ARRAYS: Final = ("sizes", "atomic_numbers", "neighbors", "distances", "vectors", "shares")
_OTHER_ARRAYS: Final = ("values", "wanted", "weights", "train", "val", "test")
_CHUNK: Final = 200
_SORTED_TOGETHER: Final = 16  # batches


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingSet:
    """Graphs and targets of all rows, and which row is for what.

    Attributes:
        graphs: Of n rows.
        values: (n, n_targets), in the units of the targets; NaN where there is no label.
        wanted: (n, n_targets), what the network learns to give: normalised, or 0 and 1 for a
            binary target.
        names: Targets, in the order of the columns.
        weights: (n_targets,), of each target in the loss.
        normalisers: One for each target; None for a binary one.
        train: Rows to fit.
        val: Rows to choose the epoch by.
        test: Rows that nothing is chosen by.
    """

    graphs: PackedGraphs
    values: FloatArray
    wanted: FloatArray
    names: tuple[str, ...]
    weights: FloatArray
    normalisers: tuple[TargetNormaliser | None, ...]
    train: IntArray
    val: IntArray
    test: IntArray

    @property
    def binary(self) -> npt.NDArray[np.bool_]:
        """(n_targets,), which targets are 0 or 1."""
        return np.array([normaliser is None for normaliser in self.normalisers])

    def to_units(self, out: FloatArray) -> npt.NDArray[np.float64]:
        """Output of the network (n, n_targets) in the units; binary targets as probabilities."""
        numbers = out.astype(np.float64)
        columns = [
            0.5 * (1.0 + np.tanh(0.5 * column))
            if normaliser is None
            else normaliser.inverse(column)
            for column, normaliser in zip(numbers.T, self.normalisers, strict=True)
        ]
        return np.stack(columns, axis=1)

    def save(self, folder: Path) -> None:
        """Write everything to ``folder``, for other processes to map into memory."""
        save_graphs(self.graphs, folder / "graphs")
        for name in _OTHER_ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))
        document = {
            "names": self.names,
            "normalisers": [None if n is None else n.as_dict() for n in self.normalisers],
        }
        (folder / "targets.json").write_text(json.dumps(document))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What :meth:`save` wrote; the graphs stay on the disk until they are read."""
        document = json.loads((folder / "targets.json").read_text())
        arrays: dict[str, Any] = {name: np.load(folder / f"{name}.npy") for name in _OTHER_ARRAYS}
        return cls(
            graphs=load_graphs(folder / "graphs"),
            names=tuple(document["names"]),
            normalisers=tuple(
                None if n is None else TargetNormaliser(**n) for n in document["normalisers"]
            ),
            **arrays,
        )


def save_graphs(graphs: PackedGraphs, folder: Path) -> None:
    """Write the arrays of ``graphs``; the folder appears whole or not at all."""
    if folder.exists():
        return
    partial = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.part")
    partial.mkdir(parents=True)
    try:
        for name in _GRAPH_ARRAYS:
            np.save(partial / f"{name}.npy", getattr(graphs, name))
        (partial / "k.json").write_text(json.dumps(graphs.k))
        partial.replace(folder)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        if not folder.exists():  # another process was first: its folder holds the same
            raise


def load_graphs(folder: Path) -> PackedGraphs:
    """The graphs that :func:`save_graphs` wrote, mapped into memory."""
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _GRAPH_ARRAYS}
    return PackedGraphs(k=json.loads((folder / "k.json").read_text()), **arrays)


def cached_graphs(
    structures: Sequence[Structure],
    *,
    k: int,
    cutoff: float,
    key: str,
    folder: Path,
    progress: Progress,
) -> PackedGraphs:
    """The graphs of ``structures``, built now or by an earlier run.

    Args:
        structures: All rows of a dataset.
        k: What the shares of an atom's neighbours add up to.
        cutoff: Å.
        key: Hash of the dataset.
        folder: Where built graphs are kept.
        progress: Told how far it is, 0 to 1; may raise to end the work.
    """
    kept = folder / f"{key[:32]}_shared_{k}_{cutoff:g}"
    if not kept.exists():
        parts = []
        for start in range(0, len(structures), _CHUNK):
            progress(start / len(structures), f"graphs: {start} of {len(structures)}")
            some = structures[start : start + _CHUNK]
            parts.append(PackedGraphs.from_structures(some, k=k, cutoff=cutoff))
        save_graphs(PackedGraphs.concatenate(parts), kept)
    os.utime(kept)
    return load_graphs(kept)


class GraphBatches:
    """Batches of one pass after another; an iterable that a Lightning trainer takes.

    Each batch is gathered from flat arrays: there is no work for single structures. The order
    of pass ``epoch`` depends on the seed and on ``epoch`` alone, so a resumed run meets the
    same batches.

    Args:
        data: Where the rows are.
        rows: Which of them.
        batch_size: Of all processes together.
        epoch: Tells the number of the pass when one begins: a random order, whole batches
            only. None: all rows in order.
        seed: Of the order.
        rank: Which share of each batch is this process's.
        world: How many processes there are.
        by_width: Whether structures with about as many neighbours go into one batch of a random
            order: a network on angles works on arrays as wide as the widest needs.
    """

    def __init__(
        self,
        data: TrainingSet,
        rows: IntArray,
        *,
        batch_size: int,
        epoch: Callable[[], int] | None = None,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        by_width: bool = False,
    ) -> None:
        self._data = data
        self._rows = rows
        self._size = min(batch_size, max(1, len(rows)))
        self._epoch = epoch
        self._seed = seed
        self._share = slice(rank, None, world)
        self._widths = data.graphs.widths if by_width and epoch is not None else None

    def __len__(self) -> int:
        whole, rest = divmod(len(self._rows), self._size)
        return whole + (rest > 0 and self._epoch is None)

    def __iter__(self) -> Iterator[tuple[GraphBatch, Tensor, Tensor]]:
        """Graphs, ``wanted`` (n_graphs, n_targets) and rows (n_graphs,) of each batch."""
        order = self._rows
        if self._epoch is not None:
            rng = np.random.default_rng((self._seed, self._epoch()))
            order = rng.permutation(order)
            if self._widths is not None:
                order = self._sorted_by_width(order, rng)
        for step in range(len(self)):
            rows = order[step * self._size : (step + 1) * self._size][self._share]
            yield (
                GraphBatch.from_graphs(self._data.graphs.select(rows)),
                torch.from_numpy(self._data.wanted[rows]),
                torch.from_numpy(rows),
            )

    def _sorted_by_width(self, order: IntArray, rng: np.random.Generator) -> IntArray:
        """Batches of similar width from every few in a random order, in a random order."""
        widths = cast("npt.NDArray[np.int64]", self._widths)
        size, n_batches = self._size, len(self)
        order, few = order[: n_batches * size], _SORTED_TOGETHER * size
        parts = [order[start : start + few] for start in range(0, len(order), few)]
        together = [part[np.argsort(widths[part], kind="stable")] for part in parts]
        whole = np.concatenate(together).reshape(n_batches, size)
        return np.asarray(rng.permutation(whole).ravel())
