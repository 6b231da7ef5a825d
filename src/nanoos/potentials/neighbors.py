"""Periodic neighbour lists, shared by all potentials."""

from collections.abc import Container
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.structures import Structure

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_SELF_TOLERANCE_A = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NeighborList:
    """All directed pairs within a cutoff; each pair appears once from either end.

    Attributes:
        centers: (n_pairs,), site index.
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
    structure: Structure, cutoff: float, *, may_be_isolated: Container[str] = ()
) -> NeighborList:
    """The pairs of ``structure`` nearer than ``cutoff`` (Å), sorted by centre.

    Args:
        structure: Any crystal.
        cutoff: Å.
        may_be_isolated: Elements whose atoms need no neighbour.

    Raises:
        InvalidInputError: code ``isolated_atoms``; an atom has no neighbour: a message-passing
            network says nothing sensible about it.
    """
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
    found = NeighborList(
        centers=np.asarray(centers[other], dtype=np.int64),
        neighbors=np.asarray(neighbors[other], dtype=np.int64),
        images=np.asarray(np.rint(images[other]), dtype=np.int64),
        distances=np.asarray(distances[other], dtype=np.float64),
    )
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
