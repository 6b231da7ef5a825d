"""Finding the same crystal among many of one formula without comparing all of them in full.

The frames of a molecular dynamics run share formula and volume. Comparing each new frame with
each stored one takes hours, so candidates are limited in number and first compared by the
distances of nearest neighbours, which are the same in every cell of a crystal.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from nanoos.structures import Structure, find_duplicate
from nanoos.structures.structure import FloatArray

MAX_CANDIDATES: Final = 50
"""Stored structures of one formula and volume that a new one is compared with."""

_SHELL: Final = 2.0
"""Neighbours are sought up to this many times the cube root of the volume per atom."""

_DISTANCE_TOLERANCE: Final = 5e-3
"""In the same unit; several times what the comparison in full allows sites and cells to move."""

_CACHED: Final = 4096


def find_same_crystal(structure: Structure, candidates: Sequence[Structure]) -> int | None:
    """Position of the first candidate that is the same crystal, None where there is none."""
    own = _distances(structure)
    likely = [
        index
        for index, candidate in enumerate(candidates)
        if candidate.n_sites == structure.n_sites
        and candidate.content_hash == structure.content_hash
    ] or [
        index
        for index, candidate in enumerate(candidates)
        if np.abs(_distances(candidate) - own).max(initial=0) < _DISTANCE_TOLERANCE
    ]
    found = find_duplicate(structure, [candidates[index] for index in likely])
    return None if found is None else likely[found]


@lru_cache(maxsize=_CACHED)
def _distances(structure: Structure) -> FloatArray:
    """(3 n_elements,): least, mean and largest nearest-neighbour distance of each element.

    In units of the cube root of the volume per atom; elements by atomic number.
    """
    from pymatgen.optimization.neighbors import find_points_in_spheres

    unit = (structure.volume / structure.n_sites) ** (1 / 3)
    coords = np.ascontiguousarray(structure.cart_coords)
    first, _, _, found = find_points_in_spheres(
        coords,
        coords,
        r=_SHELL * unit,
        pbc=np.array([1, 1, 1], dtype=np.int64),
        lattice=np.ascontiguousarray(structure.lattice),
        tol=1e-8,
    )
    nearest = np.full(structure.n_sites, _SHELL * unit)
    others = found > 1e-8  # noqa: PLR2004 - a site is no neighbour of itself
    np.minimum.at(nearest, first[others], found[others])
    nearest /= unit
    species = np.array(structure.species)
    groups = [nearest[species == element] for element in structure.elements]
    return np.array([f(group) for group in groups for f in (np.min, np.mean, np.max)])
