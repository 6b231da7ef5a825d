"""How the bonds of a crystal compare with those of training crystals of the same elements.

Networks answer for any geometry; these descriptors tell a crystal near equilibrium from one that
is compressed, stretched, shaken or taken apart. They need neighbours only, no network.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from nanoos.features.packed import PackedGraphs
from nanoos.structures.elements import ATOMIC_MASSES, ELECTRONEGATIVITY, SYMBOLS

FloatArray = npt.NDArray[np.float64]

_MAX_Z: Final = 119
_SOFTNESS_A: Final = 0.37  # of a bond valence, DOI 10.1107/S0108768190011041
_RIDGE: Final = 1.0  # rows of prior weight at the mean radius
_PAIR_PRIOR: Final = 5.0  # bonds of prior weight at the sum of the radii
_ATOM_PRIOR: Final = 20.0  # atoms of prior weight at the mean over all elements
_ISOTROPIC: Final = 0.05  # weight of a round surrounding, for atoms with one shell only
_SAME_SHELL: Final = 2e-3  # relative difference of two distances of one shell
_WEAKEST: Final = 1e-8  # bond strength of an atom whose neighbours are all beyond the cutoff
_FAR_A: Final = 9.0  # stands for a neighbour that is not there

ATOM_QUANTITIES: Final = ("shortest", "strength", "reach", "spacing")
STATISTICS: Final = ("mean", "min", "max", "std")


def scaled(graphs: PackedGraphs, factors: npt.ArrayLike) -> PackedGraphs:
    """The same graphs with all lengths of each structure times its factor (n_graphs,)."""
    per_atom = np.repeat(np.asarray(factors, dtype=np.float32), graphs.sizes)
    return replace(
        graphs,
        distances=graphs.distances * per_atom[:, None],
        vectors=graphs.vectors * per_atom[:, None, None],
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surroundings:
    """What the descriptors take from the graphs alone, whatever they are compared with.

    Attributes:
        graphs: The structures.
        starts: (n_graphs,), first atom of each.
        neighbors: (n_atoms, k), atomic number of each neighbour.
        distances: (n_atoms, k), Å, finite.
        order: (n_graphs, 6), means over the atoms.
        kinds: (n_graphs, 4).
    """

    graphs: PackedGraphs
    starts: npt.NDArray[np.int64]
    neighbors: npt.NDArray[np.int64]
    distances: FloatArray
    order: FloatArray
    kinds: FloatArray

    @classmethod
    def of(cls, graphs: PackedGraphs) -> Self:
        """Those of ``graphs``."""
        starts = np.cumsum(graphs.sizes) - graphs.sizes
        return cls(
            graphs=graphs,
            starts=starts,
            neighbors=_neighbor_numbers(graphs),
            distances=_finite(graphs.distances),
            order=np.add.reduceat(_order(graphs), starts) / graphs.sizes[:, None],
            kinds=_kinds(graphs, starts),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BondReference:
    """What bonds of each pair of elements, and surroundings of each element, are like.

    Attributes:
        lengths: (119, 119), Å, usual shortest distance of two elements, by atomic number.
        usual: (119, 3), usual logarithm of bond strength, 12th distance and mean distance.
    """

    lengths: npt.NDArray[np.float32]
    usual: npt.NDArray[np.float32]

    @classmethod
    def fit(cls, graphs: PackedGraphs) -> Self:
        """From training crystals, each atom counted once."""
        centers = graphs.atomic_numbers.astype(np.int64)
        nearest = _neighbor_numbers(graphs)[:, 0]
        shortest = _finite(graphs.distances[:, 0])
        radii = _radii(centers, nearest, shortest)
        sums = radii[:, None] + radii[None, :]
        ratio = np.log(shortest / sums[centers, nearest])
        total, count = np.zeros((_MAX_Z, _MAX_Z)), np.zeros((_MAX_Z, _MAX_Z))
        for first, second in ((centers, nearest), (nearest, centers)):
            np.add.at(total, (first, second), ratio)
            np.add.at(count, (first, second), 1.0)
        lengths = sums * np.exp(total / (count + _PAIR_PRIOR))
        bare = cls(
            lengths=lengths.astype(np.float32), usual=np.zeros((_MAX_Z, 3), dtype=np.float32)
        )
        own = bare._compared(graphs, _neighbor_numbers(graphs), _finite(graphs.distances))[:, 1:]
        number = np.bincount(centers, minlength=_MAX_Z)[:, None]
        sums_of_own = np.zeros((_MAX_Z, 3))
        np.add.at(sums_of_own, centers, own)
        usual = (sums_of_own + _ATOM_PRIOR * own.mean(axis=0)) / (number + _ATOM_PRIOR)
        return cls(lengths=bare.lengths, usual=usual.astype(np.float32))

    def _compared(
        self, graphs: PackedGraphs, neighbors: npt.NDArray[np.int64], distances: FloatArray
    ) -> FloatArray:
        """(n_atoms, 4): shortest bond, strength, 12th and mean distance, relative to usual."""
        centers = graphs.atomic_numbers.astype(np.int64)
        usual = self.lengths[centers[:, None], neighbors].astype(np.float64)
        strength = (graphs.shares * np.exp((usual - distances) / _SOFTNESS_A)).sum(axis=1)
        nearest = distances[:, : graphs.k]
        own = np.stack(
            [
                np.log(distances / usual).min(axis=1),
                np.log(np.maximum(strength, _WEAKEST)),
                np.log(nearest[:, -1]),
                np.log(nearest.mean(axis=1)),
            ],
            axis=1,
        )
        own[:, 1:] -= self.usual[centers]
        return own

    def describe(self, graphs: PackedGraphs, own: Surroundings | None = None) -> FloatArray:
        """(n_graphs, len(:func:`descriptor_names`)), finite.

        Args:
            graphs: The structures.
            own: Their :class:`Surroundings` where they are known already.
        """
        own = own or Surroundings.of(graphs)
        starts = own.starts
        count = graphs.sizes[:, None]
        atoms = self._compared(graphs, own.neighbors, own.distances)
        mean = np.add.reduceat(atoms, starts) / count
        square = np.add.reduceat(atoms**2, starts) / count
        spread = np.sqrt(np.maximum(square - mean**2, 0))
        lowest, highest = np.minimum.reduceat(atoms, starts), np.maximum.reduceat(atoms, starts)
        return np.hstack([mean, lowest, highest, spread, own.order, own.kinds])

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays for a safetensors file; :meth:`from_arrays` gives the reference back."""
        return {
            "lengths": self.lengths.astype(np.float16),
            "usual": self.usual.astype(np.float16),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The reference that :meth:`to_arrays` took apart."""
        return cls(
            lengths=arrays["lengths"].astype(np.float32), usual=arrays["usual"].astype(np.float32)
        )

    def rounded(self) -> Self:
        """As it is read back from a file, so that what is fitted on top sees the same numbers."""
        return self.from_arrays(self.to_arrays())


def descriptor_names() -> tuple[str, ...]:
    """Names of the columns of :meth:`BondReference.describe`."""
    atoms = tuple(f"{stat}_{name}" for stat in STATISTICS for name in ATOM_QUANTITIES)
    order = ("missing", "same_shell", "widest", "narrowest", "near_lopsided", "lopsided")
    kinds = ("mean_electronegativity", "std_electronegativity", "mean_log_mass", "std_log_mass")
    return (*atoms, *order, *kinds)


def _neighbor_numbers(graphs: PackedGraphs) -> npt.NDArray[np.int64]:
    """(n_atoms, width), atomic number of each neighbour."""
    starts = np.repeat(np.cumsum(graphs.sizes) - graphs.sizes, graphs.sizes)
    return graphs.atomic_numbers.astype(np.int64)[graphs.neighbors + starts[:, None]]


def _finite(distances: npt.NDArray[np.float32]) -> FloatArray:
    return np.where(np.isfinite(distances), distances, _FAR_A).astype(np.float64)


def _radii(
    centers: npt.NDArray[np.int64], nearest: npt.NDArray[np.int64], shortest: FloatArray
) -> FloatArray:
    """(119,), Å: least squares of shortest distance = sum of two radii, drawn to their mean."""
    average = float(shortest.mean()) / 2
    matrix = np.zeros((_MAX_Z, _MAX_Z))
    for first, second in ((centers, centers), (centers, nearest), (nearest, centers)):
        np.add.at(matrix, (first, second), 1.0)
    np.add.at(matrix, (nearest, nearest), 1.0)
    excess = np.zeros(_MAX_Z)
    for numbers in (centers, nearest):
        np.add.at(excess, numbers, shortest - 2 * average)
    return np.asarray(average + np.linalg.solve(matrix + _RIDGE * np.eye(_MAX_Z), excess))


def _order(graphs: PackedGraphs) -> FloatArray:
    """(n_atoms, 6): missing neighbours, equal distances, and how the neighbours are spread.

    Widest and narrowest are the extreme second moments of the directions to the neighbours; an
    atom at the edge of a molecule is lopsided, with all its neighbours on one side. Weights fall
    to zero at the k-th distance, so it does not matter which atoms of its shell come first.
    """
    distances = _finite(graphs.distances)
    nearest = distances[:, : graphs.k]
    missing = (~np.isfinite(graphs.distances[:, : graphs.k])).mean(axis=1)
    same = (np.diff(nearest, axis=1) < _SAME_SHELL * nearest[:, 1:]).mean(axis=1)
    unit = graphs.vectors / np.maximum(distances[..., None], 1e-6)
    weights = np.maximum(1 - distances / nearest[:, -1:], 0)
    near = weights * np.exp(-(distances - distances[:, :1]) / _SOFTNESS_A)
    moments = np.einsum("aj,ajx,ajy->axy", weights, unit, unit) + _ISOTROPIC / 3 * np.eye(3)
    moments /= weights.sum(axis=1)[:, None, None] + _ISOTROPIC
    extremes = np.linalg.eigvalsh(moments)[:, [2, 0]]
    sides = [
        np.linalg.norm((unit * w[..., None]).sum(axis=1), axis=1) / (w.sum(axis=1) + _ISOTROPIC)
        for w in (near, weights)
    ]
    return np.column_stack([missing, same, extremes, *sides])


def _kinds(graphs: PackedGraphs, starts: npt.NDArray[np.int64]) -> FloatArray:
    """(n_graphs, 4): mean and spread of electronegativity and of the logarithm of the mass."""
    atoms = _element_kinds()[graphs.atomic_numbers.astype(np.int64)]
    count = graphs.sizes[:, None]
    mean = np.add.reduceat(atoms, starts) / count
    spread = np.sqrt(np.maximum(np.add.reduceat(atoms**2, starts) / count - mean**2, 0))
    return np.stack([mean[:, 0], spread[:, 0], mean[:, 1], spread[:, 1]], axis=1)


@cache
def _element_kinds() -> FloatArray:
    """By atomic number: electronegativity, logarithm of the mass."""
    return np.array(
        [
            [ELECTRONEGATIVITY.get(symbol, 0.0), np.log(ATOMIC_MASSES.get(symbol, 1.0))]
            for symbol in SYMBOLS
        ]
    )
