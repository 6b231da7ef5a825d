"""A crystal graph network that answers quantiles of the k-point length, run with numpy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from nanoos.features.packed import PackedGraphs
from nanoos.kpoints.crystal_vectors import CrystalNetwork
from nanoos.models.conformal import FloatArray

_HALF_RANGE: Final = 1.73
"""Ranks are spread over a range of unit variance."""
_EPSILON: Final = 1e-5
_LARGEST_EXPONENT: Final = 80.0
_LAYERS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RankScale:
    """Columns as their rank among the training rows, between knots as a straight line.

    Attributes:
        knots: (n_columns, n_knots), ascending.
    """

    knots: npt.NDArray[np.float32]

    @classmethod
    def fit(cls, rows: npt.ArrayLike, n_knots: int = 65) -> Self:
        """From training rows (n_rows, n_columns)."""
        shares = np.linspace(0, 1, n_knots)
        return cls(knots=np.quantile(np.asarray(rows), shares, axis=0).T.astype(np.float32))

    def __call__(self, rows: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """(n_rows, n_columns) in [-1.73, 1.73]; a column that never varied is 0."""
        table = np.asarray(rows, dtype=np.float32)
        shares = np.linspace(-_HALF_RANGE, _HALF_RANGE, self.knots.shape[1])
        scaled = np.zeros(table.shape, dtype=np.float32)
        for column, knots in enumerate(self.knots):
            distinct, first = np.unique(knots, return_index=True)
            if len(distinct) > 1:
                scaled[:, column] = np.interp(table[:, column], distinct, shares[first])
        return scaled


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantileHead:
    """From the vector of a crystal, normalised, and its scaled descriptors, by three layers.

    Attributes:
        scale: Of the descriptors.
        weights: ``norm.weight``, ``norm.bias`` and ``0.weight`` (n_in, n_out) to ``2.bias``.
        shares: Of the quantiles, ascending.
        unit: Å, of the outputs.
    """

    scale: RankScale
    weights: Mapping[str, npt.NDArray[np.float32]]
    shares: tuple[float, ...]
    unit: float

    def quantiles(
        self, vectors: npt.NDArray[np.float32], descriptors: npt.ArrayLike, shares: Sequence[float]
    ) -> FloatArray:
        """(n_graphs, n_shares), Å, ascending in ``shares``.

        Args:
            vectors: (n_graphs, d), of the trunk.
            descriptors: (n_graphs, n_columns).
            shares: Within those that were learnt; between two of them on a straight line.
        """
        centred = vectors - vectors.mean(axis=1, keepdims=True)
        spread = np.sqrt(vectors.var(axis=1, keepdims=True) + _EPSILON)
        normed = centred / spread * self.weights["norm.weight"] + self.weights["norm.bias"]
        hidden = np.concatenate([normed, self.scale(descriptors)], axis=1)
        for layer in range(_LAYERS):
            hidden = hidden @ self.weights[f"{layer}.weight"] + self.weights[f"{layer}.bias"]
            if layer < _LAYERS - 1:
                hidden /= 1 + np.exp(-np.clip(hidden, -_LARGEST_EXPONENT, None))
        ordered = np.sort(hidden.astype(np.float64) * self.unit, axis=1)
        return np.array([np.interp(shares, self.shares, row) for row in ordered])

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays for a safetensors file; :meth:`from_arrays` gives it back with :meth:`to_dict`."""
        return {"knots": self.scale.knots, **self.weights}

    def to_dict(self) -> dict[str, Any]:
        """The rest, as JSON types."""
        return {"shares": list(self.shares), "unit": self.unit}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], data: Mapping[str, Any]) -> Self:
        """The head that :meth:`to_arrays` and :meth:`to_dict` took apart."""
        return cls(
            scale=RankScale(knots=arrays["knots"]),
            weights={name: array for name, array in arrays.items() if name != "knots"},
            shares=tuple(data["shares"]),
            unit=float(data["unit"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantileNetwork:
    """A CGCNN that learnt the length itself, with its head.

    Attributes:
        trunk: Gives the vector of a crystal.
        head: Makes quantiles of it.
    """

    trunk: CrystalNetwork
    head: QuantileHead

    def quantiles(
        self, graphs: PackedGraphs, descriptors: npt.ArrayLike, shares: Sequence[float]
    ) -> FloatArray:
        """(n_graphs, n_shares), Å; arguments as of :class:`QuantileHead`."""
        vectors = self.trunk.describe(graphs)[:, len(self.trunk.outputs) :]
        return self.head.quantiles(vectors, descriptors, shares)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays for a safetensors file; :meth:`from_arrays` gives it back with :meth:`to_dict`."""
        arrays = {f"trunk.{name}": array for name, array in self.trunk.to_arrays().items()}
        return arrays | {f"head.{name}": array for name, array in self.head.to_arrays().items()}

    def to_dict(self) -> dict[str, Any]:
        """The rest, as JSON types."""
        return {"trunk": self.trunk.to_dict(), "head": self.head.to_dict()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], data: Mapping[str, Any]) -> Self:
        """The network that :meth:`to_arrays` and :meth:`to_dict` took apart."""
        return cls(
            trunk=CrystalNetwork.from_arrays(below(arrays, "trunk."), data["trunk"]),
            head=QuantileHead.from_arrays(below(arrays, "head."), data["head"]),
        )


def below(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays whose names start with ``prefix``, without it."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
