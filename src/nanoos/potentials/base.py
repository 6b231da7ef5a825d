"""What a potential is: energies, forces and stresses of crystals, many at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.core.records import LevelOfTheory
from nanoos.structures import Structure

FloatArray = npt.NDArray[np.float64]

MAX_ATOMS_PER_BATCH: Final = 1000
"""A batch is closed at this many atoms whatever ``batch_size`` says, which bounds its memory."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PotentialResult:
    """What a potential says of one structure.

    Attributes:
        energy_ev: Total energy of the cell, eV.
        energy_ev_per_atom: The same per atom.
        forces: (n_sites, 3), eV/Å.
        stress: (3, 3), eV/Å^3, symmetric, tension positive; None where it was not asked for.
        magmoms: (n_sites,), Bohr magnetons, where the potential gives them.
    """

    energy_ev: float
    energy_ev_per_atom: float
    forces: FloatArray
    stress: FloatArray | None = None
    magmoms: FloatArray | None = None


@runtime_checkable
class Potential(Protocol):
    """Energy and forces of atoms.

    An instance holds its weights and no other state: calls are independent of each other, and
    one instance may be shared within a process, by one thread at a time.
    """

    @property
    def name(self) -> str:
        """Name in the registry."""
        ...

    @property
    def version(self) -> str:
        """Version of the weights, not of the package that runs them."""
        ...

    @property
    def weights_sha256(self) -> str | None:
        """SHA-256 of the weights file, None for an analytic potential."""
        ...

    @property
    def elements(self) -> frozenset[str]:
        """Symbols it covers."""
        ...

    @property
    def level_of_theory(self) -> LevelOfTheory:
        """What its total energies mean."""
        ...

    @property
    def provides_magmoms(self) -> bool:
        """Whether results carry magnetic moments."""
        ...

    @property
    def software(self) -> dict[str, str]:
        """Package name to version of what computes it."""
        ...

    def compute(
        self, structures: Sequence[Structure], *, stress: bool = True, batch_size: int = 16
    ) -> list[PotentialResult]:
        """Energy, forces and stress of each structure, in order.

        Raises:
            InvalidInputError: an element is not covered, or an atom has no neighbour within
                the cutoff; raised before any network is evaluated.
        """
        ...

    def energies(self, structures: Sequence[Structure], *, batch_size: int = 16) -> FloatArray:
        """(n_structures,), total energies in eV: several times cheaper than :meth:`compute`.

        Raises:
            InvalidInputError: as :meth:`compute`.
        """
        ...

    def ase_calculator(self) -> Any:
        """An ``ase.calculators.calculator.Calculator`` that asks this potential."""
        ...


def check_coverage(potential: Potential, structures: Sequence[Structure]) -> None:
    """Refuse structures with elements that the potential does not know.

    Raises:
        InvalidInputError: code ``uncovered_element``.
    """
    from nanoos.potentials.coverage import check_elements

    wanted = {element for structure in structures for element in structure.species}
    if not wanted <= potential.elements:
        check_elements(potential.name, wanted)


def batches(structures: Sequence[Structure], batch_size: int) -> Iterator[list[Structure]]:
    """Consecutive runs of at most ``batch_size`` structures and about 1,000 atoms.

    Raises:
        InvalidInputError: ``batch_size`` is below one.
    """
    if batch_size < 1:
        raise InvalidInputError(f"batch_size must be at least 1, not {batch_size}.")
    batch: list[Structure] = []
    n_atoms = 0
    for structure in structures:
        full = len(batch) == batch_size or n_atoms + structure.n_sites > MAX_ATOMS_PER_BATCH
        if batch and full:
            yield batch
            batch, n_atoms = [], 0
        batch.append(structure)
        n_atoms += structure.n_sites
    if batch:
        yield batch
