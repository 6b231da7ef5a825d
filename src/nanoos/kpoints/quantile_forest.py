"""A quantile forest as plain arrays: trees whose leaves remember the labels that fell into them.

After Meinshausen 2006 (JMLR 7, 983): the distribution of a row is the mean, over the trees, of
that of the training labels in its leaf. Labels come in steps; each stands for the step around it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.models.conformal import FloatArray

_LEAF: Final = -1
_BLOCK_CELLS: Final = 200_000  # rows times trees at once


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantileForest:
    """Trees stored depth first: the left child of a node is the next node.

    Attributes:
        roots: (n_trees,), int32, first node of each tree.
        feature: (n_nodes,), int16, column looked at; -1 in a leaf.
        threshold: (n_nodes,), float32; a row goes left where its feature is at most this.
        link: (n_nodes,), int32, right child; of a leaf, where its labels begin.
        labels: (n_trees * n_rows,), uint8, steps above ``lowest`` of the training labels, leaf by
            leaf in the order of the nodes.
        n_features: Columns of the input.
        lowest: Smallest label.
        step: Of the labels.
    """

    roots: npt.NDArray[np.int32]
    feature: npt.NDArray[np.int16]
    threshold: npt.NDArray[np.float32]
    link: npt.NDArray[np.int32]
    labels: npt.NDArray[np.uint8]
    n_features: int
    lowest: float
    step: float

    @classmethod
    def from_sklearn(
        cls,
        trees: Sequence[Any],
        rows: npt.ArrayLike,
        labels: npt.ArrayLike,
        *,
        lowest: float,
        step: float,
    ) -> Self:
        """The forest of fitted ``sklearn.tree`` regressors.

        Args:
            trees: Grown depth first (no ``max_leaf_nodes``).
            rows: (n_rows, n_features), training rows: all of them fill the leaves.
            labels: (n_rows,), ``lowest`` plus multiples of ``step``.
            lowest: Smallest label.
            step: Of the labels.
        """
        table = np.asarray(rows, dtype=np.float32)
        steps = np.round((np.asarray(labels, dtype=np.float64) - lowest) / step).astype(np.int64)
        if steps.min() < 0 or steps.max() > np.iinfo(np.uint8).max:
            raise InvalidInputError("A label lies outside the steps that a forest can store.")
        parts: list[tuple[npt.NDArray[Any], ...]] = []
        roots, n_nodes, n_labels = [], 0, 0
        for fitted in (tree.tree_ for tree in trees):
            leaf = fitted.children_left < 0
            inner = np.flatnonzero(~leaf)
            if not np.array_equal(fitted.children_left[inner], inner + 1):
                raise InvalidInputError("The trees were not grown depth first.")
            found = fitted.apply(table)
            order = np.argsort(found, kind="stable")
            begins = np.searchsorted(found[order], np.arange(fitted.node_count))
            link = np.where(leaf, begins + n_labels, fitted.children_right + n_nodes)
            parts.append(
                (
                    np.where(leaf, _LEAF, fitted.feature).astype(np.int16),
                    np.where(leaf, 0.0, fitted.threshold),
                    link.astype(np.int32),
                    steps[order].astype(np.uint8),
                )
            )
            roots.append(n_nodes)
            n_nodes, n_labels = n_nodes + fitted.node_count, n_labels + len(table)
        feature, threshold, links, stored = (
            np.concatenate(part) for part in zip(*parts, strict=True)
        )
        return cls(
            roots=np.array(roots, dtype=np.int32),
            feature=feature,
            threshold=_rounded_down(threshold),
            link=links,
            labels=stored,
            n_features=table.shape[1],
            lowest=lowest,
            step=step,
        )

    @property
    def n_trees(self) -> int:
        """Number of trees."""
        return len(self.roots)

    @cached_property
    def _counts(self) -> npt.NDArray[np.int64]:
        """(n_nodes,), labels in each leaf; 0 elsewhere."""
        leaves = np.flatnonzero(self.feature == _LEAF)
        begins = self.link[leaves].astype(np.int64)
        counts = np.zeros(len(self.feature), dtype=np.int64)
        counts[leaves] = np.diff(np.append(begins, len(self.labels)))
        return counts

    @cached_property
    def n_steps(self) -> int:
        """Labels that were seen, from the lowest to the highest, in steps."""
        return int(self.labels.max()) + 1

    def distribution(self, rows: npt.ArrayLike) -> FloatArray:
        """(n_rows, n_steps), the probability of each label.

        Args:
            rows: (n_rows, n_features).

        Raises:
            InvalidInputError: another number of columns.
        """
        table = np.atleast_2d(np.asarray(rows, dtype=np.float32))
        if table.shape[1] != self.n_features:
            raise InvalidInputError(
                f"The trees look at {self.n_features} columns, not {table.shape[1]}.",
                hint="The descriptors are of another version than the model.",
            )
        size = max(1, _BLOCK_CELLS // self.n_trees)
        blocks = [self._of_block(table[i : i + size]) for i in range(0, len(table), size)]
        return np.concatenate(blocks) if blocks else np.empty((0, self.n_steps))

    def _of_block(self, block: npt.NDArray[np.float32]) -> FloatArray:
        nodes = np.repeat(self.roots[None, :], len(block), axis=0)
        index = np.arange(len(block))[:, None]
        while True:
            looked_at = self.feature[nodes]
            inner = looked_at != _LEAF
            if not inner.any():
                break
            left = block[index, np.where(inner, looked_at, 0)] <= self.threshold[nodes]
            nodes = np.where(inner, np.where(left, nodes + 1, self.link[nodes]), nodes)
        leaves = nodes.ravel()
        counts = self._counts[leaves]
        ends = np.cumsum(counts)
        places = np.repeat(self.link[leaves] - (ends - counts), counts) + np.arange(ends[-1])
        row = np.repeat(np.repeat(np.arange(len(block)), self.n_trees), counts)
        weight = np.repeat(1.0 / (counts * self.n_trees), counts)
        flat = np.bincount(
            row * self.n_steps + self.labels[places], weight, minlength=len(block) * self.n_steps
        )
        return np.asarray(flat.reshape(len(block), self.n_steps))

    def quantiles(self, rows: npt.ArrayLike, shares: Sequence[float]) -> FloatArray:
        """(n_rows, n_shares), each label spread evenly over the step around it.

        Args:
            rows: (n_rows, n_features).
            shares: In (0, 1).
        """
        chances = self.distribution(rows)
        edges = self.lowest + self.step * (np.arange(self.n_steps + 1) - 0.5)
        below = np.hstack([np.zeros((len(chances), 1)), np.cumsum(chances, axis=1)])
        return np.array([np.interp(shares, row, edges) for row in below]).reshape(-1, len(shares))

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything as arrays for a safetensors file; :meth:`from_arrays` gives it back."""
        return {
            "roots": self.roots,
            "feature": self.feature,
            "threshold": self.threshold,
            "link": self.link,
            "labels": self.labels,
            "shape": np.array([self.n_features], dtype=np.int32),
            "steps": np.array([self.lowest, self.step], dtype=np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The forest that :meth:`to_arrays` took apart."""
        return cls(
            **{name: arrays[name] for name in ("roots", "feature", "threshold", "link", "labels")},
            n_features=int(arrays["shape"][0]),
            lowest=float(arrays["steps"][0]),
            step=float(arrays["steps"][1]),
        )


def _rounded_down(thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The largest float32 not above each threshold: a float32 feature compares the same way."""
    rounded = thresholds.astype(np.float32)
    above = rounded.astype(np.float64) > thresholds
    return np.where(above, np.nextafter(rounded, np.float32(-np.inf)), rounded)
