"""Periodic neighbour lists: all pairs within a radius, or the k nearest of each atom."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.structures import Structure

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_SELF_TOLERANCE_A: Final = 1e-8
_TIE_A: Final = 1e-4  # distances nearer than this count as one shell when neighbours are ranked
_FIRST_GUESS: Final = 1.8  # the first radius tried holds this many times k atoms on average
_GROWTH: Final = 1.3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NeighborList:
    """All directed pairs within a cutoff; each pair appears once from either end.

    Attributes:
        centers: (n_pairs,), site index, ascending.
        neighbors: (n_pairs,), site index.
        images: (n_pairs, 3), lattice translation of the neighbour.
        distances: (n_pairs,), Å.
    """

    centers: IntArray
    neighbors: IntArray
    images: IntArray
    distances: FloatArray

    def vectors(self, structure: Structure) -> FloatArray:
        """(n_pairs, 3), from centre to neighbour, Å."""
        positions = structure.cart_coords
        shifts = self.images @ structure.lattice
        return np.asarray(positions[self.neighbors] - positions[self.centers] + shifts)


def neighbor_list(
    structure: Structure, cutoff: float, *, may_be_isolated: Container[str] | None = ()
) -> NeighborList:
    """The pairs of ``structure`` nearer than ``cutoff`` (Å), sorted by centre.

    Args:
        structure: Any crystal.
        cutoff: Å.
        may_be_isolated: Elements whose atoms need no neighbour; None for all of them.

    Raises:
        InvalidInputError: code ``isolated_atoms``; an atom has no neighbour: a message-passing
            network says nothing sensible about it.
    """
    found = _pairs(structure, cutoff)
    if may_be_isolated is None:
        return found
    alone = set(range(structure.n_sites)) - set(found.centers.tolist())
    isolated = sorted(i for i in alone if structure.species[i] not in may_be_isolated)
    if isolated:
        raise InvalidInputError(
            f"{structure.formula}: {len(isolated)} of {structure.n_sites} atoms have no neighbour "
            f"within {cutoff:g} Å (first: site {isolated[0]}, {structure.species[isolated[0]]}).",
            hint="The cell is far too large for a crystal; check the lattice and its unit (Å).",
            details={"sites": isolated[:20], "cutoff_a": cutoff},
            code="isolated_atoms",
        )
    return found


def nearest_neighbors(structure: Structure, k: int = 12, cutoff: float = 8.0) -> NeighborList:
    """The ``k`` nearest neighbours of each atom within ``cutoff`` (Å), nearest first.

    Equal distances (to 1e-4 Å) are ranked by site index and image, so the list is the same in
    every process. An atom with fewer neighbours within the cutoff keeps those it has. The search
    starts at the radius that should hold enough atoms and widens only where some atom lacks
    neighbours: the k nearest are the same as from the full radius.

    Args:
        structure: Any crystal.
        k: Neighbours kept for each atom, at least 1.
        cutoff: Å, largest radius tried.
    """
    n_sites = structure.n_sites
    radius = min(
        cutoff, (3.0 * _FIRST_GUESS * k * structure.volume / (4.0 * np.pi * n_sites)) ** (1 / 3)
    )
    while True:
        found = _pairs(structure, radius)
        counts = np.bincount(found.centers, minlength=n_sites)
        if radius >= cutoff or counts.min() >= k:
            break
        radius = min(cutoff, radius * _GROWTH)
    x, y, z = found.images.T
    shells = np.round(found.distances / _TIE_A)
    order = np.lexsort((z, y, x, found.neighbors, shells, found.centers))
    starts = np.cumsum(counts) - counts
    rank = np.arange(len(order)) - starts[found.centers[order]]
    keep = order[rank < k]
    return NeighborList(
        centers=found.centers[keep],
        neighbors=found.neighbors[keep],
        images=found.images[keep],
        distances=found.distances[keep],
    )


def _pairs(structure: Structure, cutoff: float) -> NeighborList:
    """All pairs within ``cutoff`` (Å), an atom and itself in the same cell excepted."""
    from pymatgen.optimization.neighbors import find_points_in_spheres

    positions = np.ascontiguousarray(structure.cart_coords)
    centers, neighbors, images, distances = find_points_in_spheres(
        positions,
        positions,
        r=float(cutoff),
        pbc=np.array([1, 1, 1], dtype=np.int64),
        lattice=np.array(structure.lattice),
        tol=_SELF_TOLERANCE_A,
    )
    other = ~((centers == neighbors) & (distances <= _SELF_TOLERANCE_A))
    return NeighborList(
        centers=np.asarray(centers[other], dtype=np.int64),
        neighbors=np.asarray(neighbors[other], dtype=np.int64),
        images=np.asarray(np.rint(images[other]), dtype=np.int64),
        distances=np.asarray(distances[other], dtype=np.float64),
    )
