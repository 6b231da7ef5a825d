"""Graphs of many structures in a few flat arrays: what networks train on and predict from.

Every atom has the same number of places for neighbours, so the arrays are dense and a batch is a
gather. What counts as a neighbour, and by how much, is told in ``shared_neighbors``.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from nanoos.features.neighbors import NeighborList, shared_neighbors
from nanoos.structures import Structure
from nanoos.structures.elements import ATOMIC_NUMBERS

_AT_ONCE: Final = 1000
"""Atoms whose neighbours are chosen in one go: their arrays fit the cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedGraphs:
    """The neighbourhoods of the atoms of ``len(self)`` structures, ``width`` places each.

    Attributes:
        k: What the shares of an atom add up to, unless it has fewer neighbours.
        sizes: (n_graphs,), int64, atoms of each structure.
        atomic_numbers: (n_atoms,), uint8, all structures one after the other.
        neighbors: (n_atoms, width), int32, site index within the own structure; the atom itself
            where there is no neighbour. The width is at least k.
        distances: (n_atoms, width), float32, Å, ascending; inf where there is no neighbour.
        vectors: (n_atoms, width, 3), float32, Å, from atom to neighbour; 0 where there is none.
        shares: (n_atoms, width), float32, by how much a neighbour counts, 0 to 1; 0 where there
            is none.
    """

    k: int
    sizes: npt.NDArray[np.int64]
    atomic_numbers: npt.NDArray[np.uint8]
    neighbors: npt.NDArray[np.int32]
    distances: npt.NDArray[np.float32]
    vectors: npt.NDArray[np.float32]
    shares: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def width(self) -> int:
        """Places for neighbours of each atom."""
        return int(self.neighbors.shape[1])

    @property
    def n_atoms(self) -> int:
        """Atoms of all structures together."""
        return len(self.atomic_numbers)

    @classmethod
    def from_structures(
        cls, structures: Iterable[Structure], *, k: int = 12, cutoff: float = 8.0
    ) -> Self:
        """Build the graphs, some hundred atoms at a time.

        Args:
            structures: At least one.
            k: What the shares of an atom's neighbours add up to.
            cutoff: Å.
        """
        return cls.concatenate([_pack(some, k, cutoff) for some in _some(structures, _AT_ONCE)])

    @classmethod
    def concatenate(cls, parts: Sequence["PackedGraphs | Self"]) -> Self:
        """All graphs of ``parts``, in order; all with the same k."""
        width = max(part.width for part in parts)
        wide = [part.widened(width) for part in parts]
        return cls(
            k=parts[0].k,
            sizes=np.concatenate([part.sizes for part in wide]),
            atomic_numbers=np.concatenate([part.atomic_numbers for part in wide]),
            neighbors=np.concatenate([part.neighbors for part in wide]),
            distances=np.concatenate([part.distances for part in wide]),
            vectors=np.concatenate([part.vectors for part in wide]),
            shares=np.concatenate([part.shares for part in wide]),
        )

    def widened(self, width: int) -> "PackedGraphs":
        """The same graphs with at least ``width`` places for neighbours of each atom."""
        lacking = width - self.width
        if lacking <= 0:
            return self
        own = _own_sites(self.sizes)
        return replace(
            self,
            neighbors=np.hstack([self.neighbors, np.repeat(own[:, None], lacking, axis=1)]),
            distances=_padded(self.distances, lacking, np.inf),
            vectors=_padded(self.vectors, lacking, 0.0),
            shares=_padded(self.shares, lacking, 0.0),
        )

    @property
    def widths(self) -> npt.NDArray[np.int64]:
        """(n_graphs,), the places that each structure needs."""
        used = (self.shares > 0.0).sum(axis=1)
        starts = np.cumsum(self.sizes) - self.sizes
        return np.maximum(np.maximum.reduceat(used, starts), self.k)

    def select(self, indices: npt.NDArray[np.int64] | Sequence[int]) -> "PackedGraphs":
        """The graphs at ``indices`` (n_selected,), in that order, no wider than they need."""
        chosen = np.asarray(indices, dtype=np.int64)
        sizes = self.sizes[chosen]
        ends = np.cumsum(sizes)
        starts = (np.cumsum(self.sizes) - self.sizes)[chosen]
        rows = np.repeat(starts - (ends - sizes), sizes) + np.arange(int(sizes.sum()))
        shares = self.shares[rows]
        width = max(self.k, int(np.count_nonzero(shares.any(axis=0))))
        return PackedGraphs(
            k=self.k,
            sizes=sizes,
            atomic_numbers=self.atomic_numbers[rows],
            neighbors=self.neighbors[rows, :width],
            distances=self.distances[rows, :width],
            vectors=self.vectors[rows, :width],
            shares=shares[:, :width],
        )


def _own_sites(sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """(n_atoms,), the site index of each atom within its structure."""
    ends = np.cumsum(sizes)
    return (np.arange(int(sizes.sum())) - np.repeat(ends - sizes, sizes)).astype(np.int32)


def _padded(array: npt.NDArray[np.float32], lacking: int, value: float) -> npt.NDArray[np.float32]:
    """``lacking`` more columns of ``value``."""
    more = np.full((len(array), lacking, *array.shape[2:]), value, dtype=np.float32)
    return np.concatenate([array, more], axis=1)


def _pack(structures: Sequence[Structure], k: int, cutoff: float) -> PackedGraphs:
    sizes = np.array([structure.n_sites for structure in structures], dtype=np.int64)
    found, shares = shared_neighbors(structures, k, cutoff)
    counts = np.bincount(found.centers, minlength=int(sizes.sum()))
    width = max(k, int(counts.max(initial=0)))
    slot = np.arange(len(found.centers)) - np.repeat(np.cumsum(counts) - counts, counts)
    places = found.centers * width + slot
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    neighbors = np.repeat(_own_sites(sizes), width)
    distances = np.full(len(counts) * width, np.inf, dtype=np.float32)
    directed = np.zeros((len(counts) * width, 3), dtype=np.float32)
    counted = np.zeros(len(counts) * width, dtype=np.float32)
    neighbors[places] = found.neighbors - first[found.centers]
    distances[places] = found.distances
    directed[places] = _vectors(structures, sizes, found)
    counted[places] = shares
    return PackedGraphs(
        k=k,
        sizes=sizes,
        atomic_numbers=np.array(
            [ATOMIC_NUMBERS[s] for structure in structures for s in structure.species],
            dtype=np.uint8,
        ),
        neighbors=neighbors.reshape(-1, width),
        distances=distances.reshape(-1, width),
        vectors=directed.reshape(-1, width, 3),
        shares=counted.reshape(-1, width),
    )


def _vectors(
    structures: Sequence[Structure], sizes: npt.NDArray[np.int64], found: NeighborList
) -> npt.NDArray[np.float64]:
    """(n_pairs, 3), from centre to neighbour, Å; the sites numbered through all structures."""
    positions = np.concatenate([structure.cart_coords for structure in structures])
    lattices = np.stack([structure.lattice for structure in structures])
    structure_of = np.repeat(np.arange(len(sizes)), sizes)[found.centers]
    vectors = positions[found.neighbors] - positions[found.centers]
    vectors += np.einsum("pi,pij->pj", found.images.astype(np.float64), lattices[structure_of])
    return np.asarray(vectors)


def _some(structures: Iterable[Structure], max_atoms: int) -> Iterator[list[Structure]]:
    """Of at most ``max_atoms`` together; a larger structure alone."""
    part: list[Structure] = []
    n_atoms = 0
    for structure in structures:
        if part and n_atoms + structure.n_sites > max_atoms:
            yield part
            part, n_atoms = [], 0
        part.append(structure)
        n_atoms += structure.n_sites
    if part:
        yield part


def stream_packed(
    structures: Iterable[Structure], *, k: int = 12, cutoff: float = 8.0, max_atoms: int = 20_000
) -> Iterator[PackedGraphs]:
    """The graphs of any number of structures, in order, some thousand atoms at a time.

    Memory stays that of one part however many structures there are.

    Args:
        structures: Consumed as it goes.
        k: What the shares of an atom's neighbours add up to.
        cutoff: Å.
        max_atoms: A part is closed before it would hold more; a larger structure is one part.
    """
    for some in _some(structures, max_atoms):
        yield PackedGraphs.from_structures(some, k=k, cutoff=cutoff)
