"""Ensembles of regression trees as plain arrays: trained by scikit-learn, saved without pickle."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError

FloatArray = npt.NDArray[np.float64]

_FIRST_ARRIVALS: Final = 6  # steps before it pays to see who has arrived
_BLOCK_CELLS: Final = 2_000_000  # rows times trees walked down at once: 16 MB of indices


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TreeEnsemble:
    """Trees that are averaged (a forest) or added (boosting).

    A node sends a row left where its feature is at most the threshold. The leaves point to
    themselves, so every row walks down the same number of steps.

    Attributes:
        roots: (n_trees,), int32, index of each tree's first node.
        feature: (n_nodes,), int16, column that is looked at; 0 in a leaf.
        threshold: (n_nodes,), float32, in the feature's unit.
        left: (n_nodes,), int32.
        right: (n_nodes,), int32.
        value: (n_nodes,), float32, what a leaf answers.
        depth: Steps from the root to the deepest leaf.
        n_features: Columns of the input.
        offset: Added to the sum over the trees.
        scale: Factor of the sum over the trees: the learning rate, or 1 / n_trees.
    """

    roots: npt.NDArray[np.int32]
    feature: npt.NDArray[np.int16]
    threshold: npt.NDArray[np.float32]
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    value: npt.NDArray[np.float32]
    depth: int
    n_features: int
    offset: float
    scale: float

    @property
    def n_trees(self) -> int:
        """Number of trees."""
        return len(self.roots)

    @classmethod
    def from_sklearn(cls, trees: Iterable[Any], *, offset: float, scale: float) -> Self:
        """The ensemble of fitted ``sklearn.tree`` regressors.

        Args:
            trees: Fitted trees of one output, all on the same columns.
            offset: Added to the sum.
            scale: Factor of the sum.
        """
        fitted = [tree.tree_ for tree in trees]
        sizes = np.array([tree.node_count for tree in fitted])
        roots = np.cumsum(sizes) - sizes
        own = [np.arange(n) for n in sizes]
        leaves = [tree.children_left < 0 for tree in fitted]
        parts = list(zip(fitted, own, leaves, roots, strict=True))

        def children(name: str) -> npt.NDArray[np.int32]:
            return np.concatenate(
                [np.where(leaf, i, getattr(t, name)) + root for t, i, leaf, root in parts]
            ).astype(np.int32)

        return cls(
            roots=roots.astype(np.int32),
            feature=np.concatenate(
                [np.where(leaf, 0, t.feature) for t, _, leaf, _ in parts]
            ).astype(np.int16),
            threshold=_rounded_down(np.concatenate([t.threshold for t in fitted])),
            left=children("children_left"),
            right=children("children_right"),
            value=np.concatenate([t.value[:, 0, 0] for t in fitted]).astype(np.float32),
            depth=max(int(tree.max_depth) for tree in fitted),
            n_features=int(fitted[0].n_features),
            offset=offset,
            scale=scale,
        )

    @classmethod
    def from_histogram_boosting(cls, model: Any) -> Self:
        """The ensemble of a fitted ``HistGradientBoosting`` regressor or binary classifier.

        It answers the raw score: the prediction, or the logarithm of the odds.

        Args:
            model: Fitted on numbers without missing values or categories.
        """
        trees = [stage[0].nodes for stage in model._predictors]  # noqa: SLF001 - no public way
        sizes = np.array([len(nodes) for nodes in trees])
        roots = np.cumsum(sizes) - sizes
        nodes = np.concatenate(trees)
        shift = np.repeat(roots, sizes)
        leaf = nodes["is_leaf"].astype(np.bool_)
        own = np.arange(len(nodes))
        return cls(
            roots=roots.astype(np.int32),
            feature=np.where(leaf, 0, nodes["feature_idx"]).astype(np.int16),
            threshold=_rounded_down(np.where(leaf, 0.0, nodes["num_threshold"])),
            left=np.where(leaf, own, nodes["left"] + shift).astype(np.int32),
            right=np.where(leaf, own, nodes["right"] + shift).astype(np.int32),
            value=nodes["value"].astype(np.float32),
            depth=int(nodes["depth"].max()),
            n_features=int(model.n_features_in_),
            offset=float(np.ravel(model._baseline_prediction)[0]),  # noqa: SLF001
            scale=1.0,
        )

    def leaves(self, rows: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """(n_rows, n_trees), the answer of each tree, from ``rows`` (n_rows, n_features).

        Raises:
            InvalidInputError: another number of columns.
        """
        table = np.atleast_2d(np.asarray(rows, dtype=np.float32))
        if table.shape[1] != self.n_features:
            raise InvalidInputError(
                f"The trees look at {self.n_features} columns, not {table.shape[1]}.",
                hint="The descriptors are of another version than the model.",
            )
        answers = np.empty((len(table), self.n_trees), dtype=np.float32)
        step = max(1, _BLOCK_CELLS // self.n_trees)
        for start in range(0, len(table), step):
            block = table[start : start + step]
            nodes = _walked(_steps(self), block, self.depth).reshape(len(block), -1)
            answers[start : start + step] = self.value[nodes]
        return answers

    def predict(self, rows: npt.ArrayLike) -> FloatArray:
        """(n_rows,) from ``rows`` (n_rows, n_features)."""
        return np.asarray(
            self.offset + self.scale * self.leaves(rows).sum(axis=1, dtype=np.float64)
        )

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything as arrays for a safetensors file; :meth:`from_arrays` gives it back."""
        return {
            "roots": self.roots,
            "feature": self.feature,
            "threshold": self.threshold,
            "left": self.left,
            "right": self.right,
            "value": self.value,
            "shape": np.array([self.depth, self.n_features], dtype=np.int32),
            "linear": np.array([self.offset, self.scale], dtype=np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The ensemble that :meth:`to_arrays` took apart."""
        return cls(
            **{n: arrays[n] for n in ("roots", "feature", "threshold", "left", "right", "value")},
            depth=int(arrays["shape"][0]),
            n_features=int(arrays["shape"][1]),
            offset=float(arrays["linear"][0]),
            scale=float(arrays["linear"][1]),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Steps:
    """The nodes as a walk reads them fastest.

    Attributes:
        roots: (n_trees,), indices of the platform's own width, as the others.
        feature: (n_nodes,).
        threshold: (n_nodes,), float32.
        next: (2 n_nodes,), right and left node of each node.
        leaf: (n_nodes,), whether the node leads to itself.
    """

    roots: npt.NDArray[np.intp]
    feature: npt.NDArray[np.intp]
    threshold: npt.NDArray[np.float32]
    next: npt.NDArray[np.intp]
    leaf: npt.NDArray[np.bool_]


@lru_cache(maxsize=64)
def _steps(trees: TreeEnsemble) -> _Steps:
    return _Steps(
        roots=trees.roots.astype(np.intp),
        feature=trees.feature.astype(np.intp),
        threshold=trees.threshold,
        next=np.stack([trees.right, trees.left], axis=1).astype(np.intp).ravel(),
        leaf=trees.left == np.arange(len(trees.left)),
    )


def _walked(steps: _Steps, block: npt.NDArray[np.float32], depth: int) -> npt.NDArray[np.intp]:
    """(n_rows * n_trees,), the leaf each row reaches in each tree; who arrives leaves the walk."""
    n_rows, n_columns = block.shape
    cells = block.ravel()
    n_trees = len(steps.roots)
    arrived = np.tile(steps.roots, n_rows)
    nodes = arrived
    starts = np.repeat(np.arange(n_rows) * n_columns, n_trees)
    walking: npt.NDArray[np.intp] | None = None
    for step in range(depth):
        left = cells.take(starts + steps.feature.take(nodes)) <= steps.threshold.take(nodes)
        nodes = steps.next.take(2 * nodes + left)
        if step < _FIRST_ARRIVALS:
            continue
        if walking is None:
            arrived = nodes
            walking = np.flatnonzero(~steps.leaf.take(nodes))
        else:
            arrived[walking] = nodes
            going = ~steps.leaf.take(nodes)
            walking = walking[going]
        if not len(walking):
            break
        nodes = arrived.take(walking)
        starts = (walking // n_trees) * n_columns
    else:
        if walking is None:
            arrived = nodes
    return arrived


def _rounded_down(thresholds: FloatArray) -> npt.NDArray[np.float32]:
    """The largest float32 not above each threshold: a float32 feature compares the same way."""
    rounded = thresholds.astype(np.float32)
    above = rounded.astype(np.float64) > thresholds
    return np.where(above, np.nextafter(rounded, np.float32(-np.inf)), rounded)
