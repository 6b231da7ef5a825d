"""Periodic neighbour lists: all pairs within a radius, or the k nearest of each atom."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.structures import Structure

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_PERIODIC: Final = np.array([1, 1, 1], dtype=np.int64)
_SELF_TOLERANCE_A: Final = 1e-8
_TIE_A: Final = 1e-4  # distances nearer than this count as one shell when neighbours are ranked
_SOFT_A: Final = 0.05
"""Half the width in Å of the edge of a neighbourhood."""
_LEAST_SHARE: Final = 1e-6  # less is the rounding of a distance
_FIRST_GUESS: Final = 1.8  # the first radius tried holds this many times k atoms on average
_GROWTH: Final = 1.3
_LARGEST_KEY: Final = 2**63 - 1
_SKEWED: Final = 0.15  # volume over product of the lengths; 0.71 in a primitive fcc cell


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

    def at(self, order: IntArray) -> "NeighborList":
        """The pairs at ``order``."""
        return NeighborList(
            centers=self.centers[order],
            neighbors=self.neighbors[order],
            images=self.images[order],
            distances=self.distances[order],
        )

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
    every process. An atom with fewer neighbours within the cutoff keeps those it has.

    Args:
        structure: Any crystal.
        k: Neighbours kept for each atom, at least 1.
        cutoff: Å, largest radius tried.
    """
    found = _at_least(structure, k, cutoff, margin=0.0)
    counts = np.bincount(found.centers, minlength=structure.n_sites)
    return found.at(_ranking(found, counts)[_rank(counts) < k])


def shared_neighbors(
    structures: Sequence[Structure], k: int = 12, cutoff: float = 8.0
) -> tuple[NeighborList, FloatArray]:
    """The neighbourhood of each atom: neighbours that count as ``k`` together, nearest first.

    The ``k`` nearest would depend on how a crystal is written down wherever the last shell holds
    more atoms than there is room for (as in rock salt, where 6 of 12 would be chosen), and jump
    when a small strain splits the shell. Here each neighbour counts with a share that falls from
    1 to 0 over 0.1 Å around a radius, the atom's own, at which the shares add up to ``k``. Equal
    neighbours have equal shares, and shares change continuously with the distances.

    Args:
        structures: Any crystals, at least one. All are done at once: give some thousand atoms.
        k: What the shares of an atom add up to, at least 1; less where there are fewer
            neighbours within the cutoff.
        cutoff: Å, largest radius tried.

    Returns:
        The neighbours with a share, their sites numbered through all structures, and the shares
        (n_pairs,), in (0, 1].
    """
    found = _joined(
        [_at_least(structure, k, cutoff, margin=2.0 * _SOFT_A) for structure in structures],
        [structure.n_sites for structure in structures],
    )
    counts = np.bincount(found.centers, minlength=sum(each.n_sites for each in structures))
    order = _ranking(found, counts)
    centers, distances = found.centers[order], found.distances[order]
    shares = (_rank(counts) < k).astype(np.float64)
    edges = np.full(len(counts), np.inf)
    more = counts > k
    edges[more] = distances[(np.cumsum(counts) - counts)[more] + k - 1]
    beyond = distances - edges[centers]
    near = np.flatnonzero(np.abs(beyond) < 2.0 * _SOFT_A)
    number = np.bincount(centers[near], minlength=len(counts))
    inner = np.bincount(centers[beyond <= -2.0 * _SOFT_A], minlength=len(counts))
    wanted = k - inner
    crowded = number > wanted
    near = near[crowded[centers[near]]]
    if len(near):
        number, wanted = number[crowded], wanted[crowded]
        rows, places = np.repeat(np.arange(len(number)), number), _rank(number)
        dense = np.full((len(number), int(number.max())), np.inf)
        dense[rows, places] = beyond[near]
        shares[near] = _shares(dense, wanted)[rows, places]
    kept = np.flatnonzero(shares > _LEAST_SHARE)
    return found.at(order[kept]), shares[kept]


def _shares(beyond: FloatArray, wanted: IntArray) -> FloatArray:
    """Shares (n, m) that add up to ``wanted`` (n,).

    The sum is piecewise linear in the radius: it is followed from corner to corner.

    Args:
        beyond: (n, m), distances less that of the k-th neighbour, of those near it; inf where
            there are fewer.
        wanted: (n,), k less the neighbours that are nearer.
    """
    width = 2.0 * _SOFT_A
    corners = np.concatenate([beyond - _SOFT_A, beyond + _SOFT_A], axis=1)
    corners = np.clip(corners, -_SOFT_A, _SOFT_A)
    order = np.argsort(corners, axis=1)
    corners = np.take_along_axis(corners, order, axis=1)
    slopes = np.cumsum(np.where(order < beyond.shape[1], 1.0 / width, -1.0 / width), axis=1)
    totals = np.empty_like(corners)
    totals[:, 0] = np.clip(-beyond / width, 0.0, 1.0).sum(axis=1)
    totals[:, 1:] = totals[:, :1] + np.cumsum(slopes[:, :-1] * np.diff(corners, axis=1), axis=1)
    rows, high = np.arange(len(beyond)), np.argmax(totals >= wanted[:, None] - _LEAST_SHARE, axis=1)
    low = np.maximum(high - 1, 0)
    lower, short = corners[rows, low], wanted - totals[rows, low]
    step = short / np.maximum(totals[rows, high] - totals[rows, low], _LEAST_SHARE)
    radius = (lower + np.clip(step, 0.0, 1.0) * (corners[rows, high] - lower))[:, None]
    return np.asarray(np.clip((radius - beyond) / width + 0.5, 0.0, 1.0))


def _at_least(structure: Structure, k: int, cutoff: float, *, margin: float) -> NeighborList:
    """Pairs that hold all as near as the k-th of each atom and ``margin`` (Å) beyond.

    The search starts at the radius that should hold enough atoms and widens only where some atom
    lacks neighbours.
    """
    n_sites = structure.n_sites
    volume = _FIRST_GUESS * k * structure.volume / n_sites
    radius = min(cutoff, (3.0 * volume / (4.0 * np.pi)) ** (1 / 3) + margin)
    while True:
        found = _pairs(structure, radius)
        if radius >= cutoff:
            return found
        near = found.centers[found.distances < radius - margin] if margin else found.centers
        if np.bincount(near, minlength=n_sites).min() >= k:
            return found
        radius = min(cutoff, radius * _GROWTH)


def _joined(parts: Sequence[NeighborList], sizes: Sequence[int]) -> NeighborList:
    """One list of all, the sites numbered through."""
    starts = np.cumsum([0, *sizes[:-1]])
    shift = np.repeat(starts, [len(part.centers) for part in parts])
    return NeighborList(
        centers=np.concatenate([part.centers for part in parts]) + shift,
        neighbors=np.concatenate([part.neighbors for part in parts]) + shift,
        images=np.concatenate([part.images for part in parts]),
        distances=np.concatenate([part.distances for part in parts]),
    )


def _rank(counts: IntArray) -> IntArray:
    """0, 1, 2, ... for the pairs of each atom, from how many it has."""
    return np.asarray(np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts))


def nearest_first(found: NeighborList, n_sites: int) -> NeighborList:
    """The same pairs, the nearest of each centre first, equal distances as above."""
    return found.at(_ranking(found, np.bincount(found.centers, minlength=n_sites)))


def _ranking(found: NeighborList, counts: IntArray) -> IntArray:
    """Indices that sort by centre, shell, neighbour and image.

    All five are packed into one integer where they fit, which sorts several times faster.
    """
    shells = np.rint(found.distances / _TIE_A).astype(np.int64)
    columns = [found.centers, shells, found.neighbors, *found.images.T]
    sizes = [1, 1, 1, 1, 1, 1]
    if len(shells):
        lowest = int(found.images.min())
        span = int(found.images.max()) - lowest + 1
        columns[3:] = [image - lowest for image in columns[3:]]
        sizes = [len(counts), int(shells.max()) + 1, len(counts), span, span, span]
    if prod(sizes) > _LARGEST_KEY:
        return np.asarray(np.lexsort(columns[::-1]), dtype=np.int64)
    key = columns[0]
    for column, size in zip(columns[1:], sizes[1:], strict=True):
        key = key * size + column
    return np.argsort(key)


def _pairs(structure: Structure, cutoff: float) -> NeighborList:
    """All pairs within ``cutoff`` (Å), an atom and itself in the same cell excepted."""
    from pymatgen.optimization.neighbors import find_points_in_spheres

    lattice, operation = _compact(structure.lattice)
    coords = structure.frac_coords
    if operation is not None:
        coords = coords @ np.linalg.inv(operation)
    cells = np.floor(coords)
    positions = (coords - cells) @ lattice  # the search is slow for atoms far outside the cell
    centers, neighbors, images, distances = find_points_in_spheres(
        positions,
        positions,
        r=float(cutoff),
        pbc=_PERIODIC,
        lattice=lattice,
        tol=_SELF_TOLERANCE_A,
    )
    other = (distances > _SELF_TOLERANCE_A) | (centers != neighbors)
    centers, neighbors = centers[other], neighbors[other]
    images = images[other]
    if cells.any():
        images += cells[centers] - cells[neighbors]
    if operation is not None:
        images = images @ operation
    return NeighborList(
        centers=centers.astype(np.int64, copy=False),
        neighbors=neighbors.astype(np.int64, copy=False),
        images=np.rint(images).astype(np.int64),
        distances=distances[other],
    )


def _compact(lattice: FloatArray) -> tuple[FloatArray, FloatArray | None]:
    """The lattice in short vectors, and these in terms of the given ones where they differ.

    The search counts cells along each given vector: in a very skewed cell that are far too many.
    """
    lengths = np.sqrt((lattice**2).sum(axis=1))
    if abs(np.linalg.det(lattice)) >= _SKEWED * lengths.prod():
        return np.array(lattice), None
    from ase.geometry import minkowski_reduce

    try:
        reduced, operation = minkowski_reduce(lattice)
    except RuntimeError as error:
        raise InvalidInputError(
            "The cell is so skewed that no short lattice vectors were found.",
            hint="Give the crystal in a reduced cell.",
            code="cell_too_skewed",
        ) from error
    return np.ascontiguousarray(reduced), operation.astype(np.float64)
