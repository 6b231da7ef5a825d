"""Graphs of many structures in a few flat arrays: what networks train on and predict from.

A fixed number of neighbours for each atom (the k nearest) makes the arrays dense, so a batch is
a gather and a convolution needs no scatter.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from nanoos.features.neighbors import nearest_neighbors
from nanoos.structures import Structure
from nanoos.structures.elements import ATOMIC_NUMBERS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedGraphs:
    """The k-nearest-neighbour graphs of ``len(self)`` structures.

    Attributes:
        sizes: (n_graphs,), int64, atoms of each structure.
        atomic_numbers: (n_atoms,), uint8, all structures one after the other.
        neighbors: (n_atoms, k), int32, site index within the own structure; an atom with fewer
            than k neighbours within the cutoff points to itself.
        distances: (n_atoms, k), float32, Å, ascending; inf where there is no neighbour.
        vectors: (n_atoms, k, 3), float32, Å, from atom to neighbour; 0 where there is none.
    """

    sizes: npt.NDArray[np.int64]
    atomic_numbers: npt.NDArray[np.uint8]
    neighbors: npt.NDArray[np.int32]
    distances: npt.NDArray[np.float32]
    vectors: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def k(self) -> int:
        """Neighbours of each atom."""
        return int(self.neighbors.shape[1])

    @property
    def n_atoms(self) -> int:
        """Atoms of all structures together."""
        return len(self.atomic_numbers)

    @classmethod
    def from_structures(
        cls, structures: Iterable[Structure], *, k: int = 12, cutoff: float = 8.0
    ) -> Self:
        """Build the graphs, one structure after the other.

        Args:
            structures: At least one.
            k: Neighbours kept for each atom.
            cutoff: Å.
        """
        return cls.concatenate([_pack(structure, k=k, cutoff=cutoff) for structure in structures])

    @classmethod
    def concatenate(cls, parts: Sequence["PackedGraphs | Self"]) -> Self:
        """All graphs of ``parts``, in order; all with the same k."""
        return cls(
            sizes=np.concatenate([part.sizes for part in parts]),
            atomic_numbers=np.concatenate([part.atomic_numbers for part in parts]),
            neighbors=np.concatenate([part.neighbors for part in parts]),
            distances=np.concatenate([part.distances for part in parts]),
            vectors=np.concatenate([part.vectors for part in parts]),
        )

    def select(self, indices: npt.NDArray[np.int64] | Sequence[int]) -> "PackedGraphs":
        """The graphs at ``indices`` (n_selected,), in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        sizes = self.sizes[chosen]
        ends = np.cumsum(sizes)
        starts = (np.cumsum(self.sizes) - self.sizes)[chosen]
        rows = np.repeat(starts - (ends - sizes), sizes) + np.arange(int(sizes.sum()))
        return PackedGraphs(
            sizes=sizes,
            atomic_numbers=self.atomic_numbers[rows],
            neighbors=self.neighbors[rows],
            distances=self.distances[rows],
            vectors=self.vectors[rows],
        )


def _pack(structure: Structure, *, k: int, cutoff: float) -> PackedGraphs:
    n_sites = structure.n_sites
    found = nearest_neighbors(structure, k, cutoff)
    vectors = found.vectors(structure)
    if len(found.centers) == n_sites * k:
        neighbors = found.neighbors.astype(np.int32).reshape(n_sites, k)
        distances = found.distances.astype(np.float32).reshape(n_sites, k)
        directed = vectors.astype(np.float32).reshape(n_sites, k, 3)
    else:
        counts = np.bincount(found.centers, minlength=n_sites)
        slot = np.arange(len(found.centers)) - np.repeat(np.cumsum(counts) - counts, counts)
        neighbors = np.repeat(np.arange(n_sites, dtype=np.int32)[:, None], k, axis=1)
        distances = np.full((n_sites, k), np.inf, dtype=np.float32)
        directed = np.zeros((n_sites, k, 3), dtype=np.float32)
        neighbors[found.centers, slot] = found.neighbors
        distances[found.centers, slot] = found.distances
        directed[found.centers, slot] = vectors
    return PackedGraphs(
        sizes=np.array([n_sites], dtype=np.int64),
        atomic_numbers=np.array([ATOMIC_NUMBERS[s] for s in structure.species], dtype=np.uint8),
        neighbors=neighbors,
        distances=distances,
        vectors=directed,
    )


def stream_packed(
    structures: Iterable[Structure], *, k: int = 12, cutoff: float = 8.0, max_atoms: int = 20_000
) -> Iterator[PackedGraphs]:
    """The graphs of any number of structures, in order, some thousand atoms at a time.

    Memory stays that of one part however many structures there are.

    Args:
        structures: Consumed as it goes.
        k: Neighbours kept for each atom.
        cutoff: Å.
        max_atoms: A part is closed before it would hold more; a larger structure is one part.
    """
    parts: list[PackedGraphs] = []
    n_atoms = 0
    for structure in structures:
        if parts and n_atoms + structure.n_sites > max_atoms:
            yield PackedGraphs.concatenate(parts)
            parts, n_atoms = [], 0
        parts.append(_pack(structure, k=k, cutoff=cutoff))
        n_atoms += structure.n_sites
    if parts:
        yield PackedGraphs.concatenate(parts)
