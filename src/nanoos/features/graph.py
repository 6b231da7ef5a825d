"""The graph of one crystal: atoms, directed bonds, and what is known of each."""

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError, TooLargeError
from nanoos.features.neighbors import NeighborList, nearest_first, nearest_neighbors, neighbor_list
from nanoos.structures import Structure
from nanoos.structures.checks import MIN_VOLUME_A3
from nanoos.structures.elements import ATOMIC_MASSES, ATOMIC_NUMBERS, ELECTRONEGATIVITY
from nanoos.structures.structure import MIN_DISTANCE_A

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

ATOM_FEATURES: Final = ("atomic_number", "mass_u", "electronegativity", "covalent_radius_a")
"""Columns of :attr:`CrystalGraph.atom_features`."""

MAX_CUTOFF_A: Final = 20.0
MAX_NEIGHBORS: Final = 1000
MAX_BONDS: Final = 20_000_000
"""More bonds than this in one crystal are refused: they need gigabytes."""

_LAST_COVALENT: Final = 96  # the last element with a tabulated covalent radius, Cm


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CrystalGraph:
    """A crystal as a graph; each pair of neighbours is two bonds, one from either end.

    Bonds are sorted by source, the nearest target first; equal distances by target and image.

    Attributes:
        atomic_numbers: (n_atoms,).
        lattice: (3, 3), rows are the lattice vectors, Å.
        positions: (n_atoms, 3), Cartesian, Å, as given (not wrapped into the cell).
        sources: (n_bonds,), atom a bond starts from, ascending.
        targets: (n_bonds,), atom it leads to.
        images: (n_bonds, 3), lattice translation of the target.
        distances: (n_bonds,), Å.
        vectors: (n_bonds, 3), from source to target, Å.
        cutoff_radius: Å; no bond is longer, and without ``max_neighbors`` none is missing.
        max_neighbors: At most so many bonds start from each atom; None: all within the cutoff.
    """

    atomic_numbers: IntArray
    lattice: FloatArray
    positions: FloatArray
    sources: IntArray
    targets: IntArray
    images: IntArray
    distances: FloatArray
    vectors: FloatArray
    cutoff_radius: float
    max_neighbors: int | None

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.atomic_numbers)

    @property
    def n_bonds(self) -> int:
        """Number of directed bonds."""
        return len(self.sources)

    @property
    def coordination(self) -> IntArray:
        """(n_atoms,), bonds that start from each atom."""
        return np.bincount(self.sources, minlength=self.n_atoms)

    @property
    def isolated_atoms(self) -> IntArray:
        """Indices of the atoms without a neighbour within the cutoff."""
        return np.flatnonzero(self.coordination == 0)

    @property
    def atom_features(self) -> FloatArray:
        """(n_atoms, 4), columns :data:`ATOM_FEATURES`; NaN where nothing is tabulated.

        Standard atomic mass (u), Pauling electronegativity, covalent radius (Å, Cordero 2008,
        DOI 10.1039/b801115j; to curium).
        """
        return _element_table()[self.atomic_numbers]


@cache
def _element_table() -> FloatArray:
    """(n_elements + 1, 4), row 0 is no element."""
    from ase.data import covalent_radii

    table = np.full((len(ATOMIC_NUMBERS) + 1, len(ATOM_FEATURES)), np.nan)
    for symbol, number in ATOMIC_NUMBERS.items():
        radius = covalent_radii[number] if number <= _LAST_COVALENT else np.nan
        electronegativity = ELECTRONEGATIVITY.get(symbol, np.nan)
        table[number] = number, ATOMIC_MASSES[symbol], electronegativity, radius
    table.flags.writeable = False
    return table


def crystal_graph(
    structure: Structure, cutoff_radius: float = 5.0, *, max_neighbors: int | None = None
) -> CrystalGraph:
    """The graph of all neighbours within a radius, or of the nearest of them.

    An atom without neighbours is a node without bonds.

    Args:
        structure: Any crystal.
        cutoff_radius: Å, above 0, at most 20.
        max_neighbors: Keep the nearest so many of each atom; 1 to 1000; None: all.

    Raises:
        StructureRefusedError: the structure is physically impossible.
        InvalidInputError: a parameter is out of range, or the cell too skewed.
        TooLargeError: the graph would have more than 20 million bonds.
    """
    check_parameters(cutoff_radius, max_neighbors)
    _refuse_impossible(structure)
    _check_size(structure, cutoff_radius, max_neighbors)
    if max_neighbors is None:
        every = neighbor_list(structure, cutoff_radius, may_be_isolated=None)
        found = nearest_first(every, structure.n_sites)
    else:
        found = nearest_neighbors(structure, max_neighbors, cutoff_radius)
    if len(found.distances) and found.distances.min() < MIN_DISTANCE_A:
        structure.validated()
    return graph_of_bonds(
        structure.atomic_numbers,
        structure.lattice,
        structure.cart_coords,
        found,
        cutoff_radius=cutoff_radius,
        max_neighbors=max_neighbors,
    )


def graph_of_bonds(
    atomic_numbers: IntArray,
    lattice: FloatArray,
    positions: FloatArray,
    bonds: NeighborList,
    *,
    cutoff_radius: float,
    max_neighbors: int | None,
) -> CrystalGraph:
    """The graph with these bonds; vectors and distances follow from positions and images."""
    vectors = positions[bonds.neighbors] - positions[bonds.centers] + bonds.images @ lattice
    return CrystalGraph(
        atomic_numbers=atomic_numbers,
        lattice=lattice,
        positions=positions,
        sources=bonds.centers,
        targets=bonds.neighbors,
        images=bonds.images,
        distances=np.sqrt((vectors**2).sum(axis=1)),
        vectors=vectors,
        cutoff_radius=cutoff_radius,
        max_neighbors=max_neighbors,
    )


def check_parameters(cutoff_radius: float, max_neighbors: int | None) -> None:
    """Refuse parameters that no graph can have.

    Raises:
        InvalidInputError: a parameter is out of range.
    """
    if not 0 < cutoff_radius <= MAX_CUTOFF_A:
        raise InvalidInputError(
            f"The cutoff radius is {cutoff_radius} Å.",
            hint=f"Give a length above 0 and at most {MAX_CUTOFF_A:g} Å; 5 and 8 are usual.",
        )
    if max_neighbors is not None and not 1 <= max_neighbors <= MAX_NEIGHBORS:
        raise InvalidInputError(
            f"{max_neighbors} neighbours were asked for.",
            hint=f"Give 1 to {MAX_NEIGHBORS}; 12 is usual.",
        )


def _refuse_impossible(structure: Structure) -> None:
    """Raise what the full check says where a cheap look finds no crystal.

    The full check looks for overlapping atoms, which the graph shows anyway and faster.
    """
    finite = np.isfinite(structure.lattice).all() and np.isfinite(structure.frac_coords).all()
    known = structure.n_sites > 0 and all(s in ATOMIC_NUMBERS for s in structure.species)
    if not (finite and known and structure.volume >= MIN_VOLUME_A3):
        structure.validated()


def _check_size(structure: Structure, cutoff_radius: float, max_neighbors: int | None) -> None:
    """Refuse a graph that would not fit into memory, before it is built."""
    sphere = 4.0 / 3.0 * np.pi * cutoff_radius**3
    expected = structure.n_sites**2 * sphere / structure.volume
    if max_neighbors is not None:
        expected = min(expected, 4.0 * structure.n_sites * max_neighbors)
    if expected > MAX_BONDS:
        raise TooLargeError(
            f"{structure.formula} with {structure.n_sites} atoms would have about "
            f"{expected:.1e} bonds within {cutoff_radius:g} Å.",
            hint="Take a smaller cutoff radius or the nearest 12 neighbours.",
            code="graph_too_large",
        )
