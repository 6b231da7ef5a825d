"""A trained crystal graph network, run with numpy: vectors of crystals without loading PyTorch.

The network is one of ours (``models/networks/cgcnn.py``, after Xie & Grossman 2018, DOI
10.1103/PhysRevLett.120.145301); its weights were taken over and do not change. Loading PyTorch
takes longer than a first answer may.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from nanoos.features.packed import PackedGraphs

Float32 = npt.NDArray[np.float32]

_LARGEST_EXPONENT: Final = 30.0
_BATCH_ATOMS: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CrystalNetwork:
    """Weights of a CGCNN; a normalisation is folded into the linear map before it.

    Attributes:
        elements: (104, d), vector of each element by atomic number.
        weights: Convolution and part (``0.atom``, ``0.bond``, ...) to its array; read-outs as
            ``head.NAME.0`` (weight), ``head.NAME.1`` (bias) and so on.
        outputs: Names of the read-outs, in order.
        cutoff: Å, of the neighbours and of the largest Gaussian centre.
        k: Neighbours of each atom.
        n_gaussians: Of the distance.
    """

    elements: Float32
    weights: Mapping[str, Float32]
    outputs: tuple[str, ...]
    cutoff: float
    k: int
    n_gaussians: int

    @property
    def n_convolutions(self) -> int:
        """Convolutions."""
        return sum(name.endswith(".atom") for name in self.weights)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that :meth:`describe` gives."""
        pooled = (f"vector_{index}" for index in range(self.elements.shape[1]))
        return (*self.outputs, *pooled)

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, npt.NDArray[Any]],
        *,
        outputs: tuple[str, ...],
        cutoff: float,
        k: int,
        n_gaussians: int,
    ) -> Self:
        """From the state of a trained network.

        Args:
            state: Name to array, as a checkpoint holds them.
            outputs: Names of its targets, in order.
            cutoff: Å.
            k: Neighbours of each atom.
            n_gaussians: Of the distance.
        """
        given = {name: np.asarray(array, dtype=np.float64) for name, array in state.items()}
        elements = (
            given["elements.learned.weight"]
            + given["elements.properties"] @ given["elements.map.weight"].T
            + given["elements.map.bias"]
        )
        n_layers = len({name.split(".")[1] for name in given if name.startswith("convolutions.")})
        weights: dict[str, npt.NDArray[np.float64]] = {}
        for layer in range(n_layers):
            part = f"convolutions.{layer}."
            scale, shift = _normalisation(given, f"{part}message_norm.")
            weights[f"{layer}.atom"] = given[f"{part}atom.weight"].T * scale
            weights[f"{layer}.bias"] = given[f"{part}atom.bias"] * scale + shift
            weights[f"{layer}.neighbor"] = given[f"{part}neighbor.weight"].T * scale
            weights[f"{layer}.bond"] = given[f"{part}bond.weight"].T * scale
            scale, shift = _normalisation(given, f"{part}sum_norm.")
            weights[f"{layer}.sum_scale"], weights[f"{layer}.sum_shift"] = scale, shift
        for index, name in enumerate(outputs):
            for number, layer in enumerate((1, 4)):
                weights[f"head.{name}.{2 * number}"] = given[f"heads.{index}.{layer}.weight"].T
                weights[f"head.{name}.{2 * number + 1}"] = given[f"heads.{index}.{layer}.bias"]
        return cls(
            elements=elements.astype(np.float32),
            weights={name: array.astype(np.float32) for name, array in weights.items()},
            outputs=outputs,
            cutoff=cutoff,
            k=k,
            n_gaussians=n_gaussians,
        )

    def describe(self, graphs: PackedGraphs) -> Float32:
        """(n_graphs, n_columns): the read-outs, normalised as in training, then the vectors.

        Args:
            graphs: With ``k`` neighbours within ``cutoff``.
        """
        parts, first = [], 0
        ends = np.cumsum(graphs.sizes)
        while first < len(graphs):
            start = ends[first] - graphs.sizes[first]
            last = max(first + 1, int(np.searchsorted(ends, start + _BATCH_ATOMS, side="right")))
            parts.append(self._describe(graphs.select(np.arange(first, last))))
            first = last
        return np.concatenate(parts)

    def _describe(self, graphs: PackedGraphs) -> Float32:
        starts = np.cumsum(graphs.sizes) - graphs.sizes
        neighbors = graphs.neighbors + np.repeat(starts, graphs.sizes)[:, None]
        atoms = self._atoms(graphs, neighbors)
        total = np.add.reduceat(atoms, starts, axis=0)
        pooled: Float32 = (total / graphs.sizes[:, None]).astype(np.float32)
        opened = _softplus(pooled)
        outputs = []
        for name in self.outputs:
            weights = [self.weights[f"head.{name}.{index}"] for index in range(4)]
            hidden = _softplus(opened @ weights[0] + weights[1])
            outputs.append(hidden @ weights[2] + weights[3])
        return np.concatenate([*outputs, pooled], axis=1)

    def _atoms(self, graphs: PackedGraphs, neighbors: npt.NDArray[Any]) -> Float32:
        """(n_atoms, d), after the last convolution.

        Only the bonds that are there are summed, one by one, so that what is said of a crystal
        does not depend on how wide the others in the batch make the arrays.
        """
        centers, places = np.nonzero(graphs.shares)
        others = neighbors[centers, places]
        shares = graphs.shares[centers, places][:, None]
        bonds = self._gaussians(graphs.distances[centers, places])
        owners, starts = np.unique(centers, return_index=True)
        atoms: Float32 = self.elements[graphs.atomic_numbers]
        for layer in range(self.n_convolutions):
            part = {
                name: self.weights[f"{layer}.{name}"]
                for name in ("atom", "bias", "neighbor", "bond", "sum_scale", "sum_shift")
            }
            total = bonds @ part["bond"]
            total += (atoms @ part["atom"] + part["bias"])[centers]
            total += (atoms @ part["neighbor"])[others]
            gate, core = np.split(total, 2, axis=-1)
            heard = np.zeros_like(atoms)
            if len(owners):
                messages = shares * _sigmoid(gate) * _softplus(core)
                heard[owners] = np.add.reduceat(messages, starts)
            atoms = _softplus(atoms + heard * part["sum_scale"] + part["sum_shift"])
        return atoms

    def _gaussians(self, distances: Float32) -> Float32:
        """(n_bonds, n_gaussians), from the lengths (n_bonds,)."""
        centers = np.linspace(0.0, self.cutoff, self.n_gaussians, dtype=np.float32)
        inverse_width = np.float32((self.n_gaussians - 1) / self.cutoff)
        exponent = np.square((distances[..., None] - centers) * inverse_width)
        near = np.minimum(exponent, np.float32(_LARGEST_EXPONENT))
        return np.where(exponent < _LARGEST_EXPONENT, np.exp(-near), np.float32(0))

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays for a safetensors file; :meth:`from_arrays` gives it back with :meth:`to_dict`."""
        return {"elements": self.elements, **self.weights}

    def to_dict(self) -> dict[str, Any]:
        """The rest, as JSON types."""
        return {
            "outputs": list(self.outputs),
            "cutoff": self.cutoff,
            "k": self.k,
            "n_gaussians": self.n_gaussians,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], data: Mapping[str, Any]) -> Self:
        """The network that :meth:`to_arrays` and :meth:`to_dict` took apart."""
        return cls(
            elements=np.asarray(arrays["elements"], dtype=np.float32),
            weights={
                name: np.asarray(array, dtype=np.float32)
                for name, array in arrays.items()
                if name != "elements"
            },
            outputs=tuple(data["outputs"]),
            cutoff=float(data["cutoff"]),
            k=int(data["k"]),
            n_gaussians=int(data["n_gaussians"]),
        )


def _normalisation(
    state: Mapping[str, npt.NDArray[np.float64]], prefix: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Factor and summand of a batch normalisation in evaluation."""
    scale = state[f"{prefix}weight"] / np.sqrt(state[f"{prefix}running_var"] + 1e-5)
    return scale, state[f"{prefix}bias"] - state[f"{prefix}running_mean"] * scale


def _softplus(values: Float32) -> Float32:
    return np.asarray(np.log1p(np.exp(-np.abs(values))) + np.maximum(values, np.float32(0)))


def _sigmoid(values: Float32) -> Float32:
    small = np.exp(-np.abs(values))
    return np.asarray(np.where(values >= 0, np.float32(1), small) / (np.float32(1) + small))
