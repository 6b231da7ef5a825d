"""Atoms that a graph network cannot tell apart: each kind needs to be computed only once.

What an invariant network with n convolutions makes of an atom depends on the atom's element, on
the distances to its neighbours (and the angles between them), and on the same of the neighbours,
n steps far. Colour refinement (Weisfeiler & Leman 1968) finds the atoms of a structure that agree
in all of it: in a crystal mostly those that its symmetry makes equal, more than half of all.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from nanoos.features.packed import PackedGraphs

UIntArray = npt.NDArray[np.uint64]
IntArray = npt.NDArray[np.int64]

_TOLERANCE: Final = 2e-6
"""Å; lengths, and cosines of angles, that lie closer count as equal: four roundings of 8 Å in single
precision."""

_MISSING_A: Final = 50.0
_SPAN: Final = 100.0  # larger than any length: keeps the lengths of structures apart
_FACTORS: Final = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))
_SHIFT: Final = np.uint64(32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DistinctAtoms:
    """The distinct atoms of some graphs.

    Attributes:
        atoms: (n_distinct,), index of the first atom of each kind, ascending.
        neighbors: (n_distinct, width), index among the distinct atoms.
        labels: (n_distinct, width), equal for equal distances of a structure.
        weights: (n_distinct,), float32, share of the atoms of its structure.
        sizes: (n_graphs,), distinct atoms of each structure.
    """

    atoms: IntArray
    neighbors: IntArray
    labels: IntArray
    weights: npt.NDArray[np.float32]
    sizes: IntArray


def distinct_atoms(graphs: PackedGraphs, rounds: int, *, angles: bool = False) -> DistinctAtoms:
    """The atoms of each structure that differ from each other within ``rounds`` steps.

    Args:
        graphs: Any.
        rounds: Convolutions of the network.
        angles: Whether the network sees the angles between the bonds of an atom.
    """
    index = np.repeat(np.arange(len(graphs)), graphs.sizes)
    first = np.cumsum(graphs.sizes) - graphs.sizes
    neighbors = graphs.neighbors + first[index][:, None]
    labels = _labels(np.where(np.isfinite(graphs.distances), graphs.distances, _MISSING_A), index)
    atoms = _mixed(graphs.atomic_numbers.astype(np.uint64) + np.uint64(1))
    bonds = _mixed(labels.astype(np.uint64))
    between = _mixed(_labels(_cosines(graphs), index).astype(np.uint64)) if angles else None
    for _ in range(rounds):
        bonds = _mixed(bonds + atoms[neighbors])
        if between is not None:
            bonds = _mixed(bonds + _mixed(bonds[:, None, :] ^ between).sum(axis=2))
        atoms = _mixed(atoms + bonds.sum(axis=1))
    # labels differ from structure to structure, so no kind belongs to two of them
    _, found, kinds, counts = np.unique(
        atoms, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(found)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    chosen = found[order]
    owners = index[chosen]
    return DistinctAtoms(
        atoms=chosen,
        neighbors=place[kinds][neighbors[chosen]],
        labels=labels[chosen],
        weights=(counts[order] / graphs.sizes[owners]).astype(np.float32),
        sizes=np.bincount(owners, minlength=len(graphs)),
    )


def _labels(values: npt.NDArray[np.floating], index: IntArray) -> IntArray:
    """The same integer for values of one structure that are equal within the tolerance."""
    shift = (_SPAN * index).reshape(-1, *(1,) * (values.ndim - 1))
    flat = (values + shift).ravel()
    order = np.argsort(flat)
    steps = np.empty(len(flat), dtype=np.int64)
    steps[:1] = 0
    steps[1:] = np.diff(flat[order]) > _TOLERANCE
    labels = np.empty_like(steps)
    labels[order] = np.cumsum(steps)
    return labels.reshape(values.shape)


def _cosines(graphs: PackedGraphs) -> npt.NDArray[np.float32]:
    """(n_atoms, width, width), of the angles between the bonds of each atom; 0 for a missing bond."""
    lengths = np.where(np.isfinite(graphs.distances), graphs.distances, 1.0)
    unit = graphs.vectors / lengths[..., None]
    return np.asarray(unit @ unit.transpose(0, 2, 1))


def _mixed(values: UIntArray) -> UIntArray:
    """Scattered over all 64 bits, so that sums of different values differ."""
    for factor in _FACTORS:
        values = values * factor
        values ^= values >> _SHIFT
    return values
