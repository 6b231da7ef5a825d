"""Space groups and standard cells. Ref: Togo, Shinohara, Tanaka, DOI 10.1080/27660400.2024.2384822."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from nanoos.core.errors import StructureRefusedError
from nanoos.structures.structure import Structure

DEFAULT_SYMPREC_A = 0.01

_LAST_NUMBER = (
    (2, "triclinic"),
    (15, "monoclinic"),
    (74, "orthorhombic"),
    (142, "tetragonal"),
    (167, "trigonal"),
    (194, "hexagonal"),
    (230, "cubic"),
)

_Cell = Any
"""spglib's (lattice, positions, numbers): arrays, though its annotations say sequences."""


@contextmanager
def quiet_spglib() -> Iterator[None]:
    """Keep the notice to itself that spglib 2.8 gives in every call about its version 3."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Set OLD_ERROR_HANDLING", DeprecationWarning)
        yield


def symmetry_dataset(structure: Structure, symprec: float = DEFAULT_SYMPREC_A) -> Any | None:
    """What spglib says of the arrangement of atoms; None where it finds no symmetry at all."""
    import spglib

    cell: _Cell = (structure.lattice, structure.frac_coords, structure.atomic_numbers)
    try:
        with quiet_spglib():
            return spglib.get_symmetry_dataset(cell, symprec=symprec)
    except spglib.SpglibError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SymmetryInfo:
    """The symmetry of the arrangement of atoms; charges and spins are not looked at.

    Attributes:
        number: International space group number, 1 to 230.
        symbol: Hermann-Mauguin symbol, short (``Fm-3m``).
        hall: Hall symbol of the setting found.
        crystal_system: ``triclinic`` to ``cubic``.
        point_group: International symbol (``m-3m``).
        n_symmetry_operations: Operations of the given cell; a cell of several primitive cells
            has the pure translations among them.
        symprec: Tolerance used, Å.
    """

    number: int
    symbol: str
    hall: str
    crystal_system: str
    point_group: str
    n_symmetry_operations: int
    symprec: float


def analyze_symmetry(structure: Structure, symprec: float = DEFAULT_SYMPREC_A) -> SymmetryInfo:
    """Find the space group.

    Args:
        structure: Any checked structure.
        symprec: How far (Å) atoms may be from their symmetric places.

    Raises:
        StructureRefusedError: ``no_symmetry``: spglib finds none, not even the identity, as
            with atoms nearer to each other than ``symprec``.
    """
    import spglib

    cell: _Cell = (structure.lattice, structure.frac_coords, structure.atomic_numbers)
    try:
        with quiet_spglib():
            found = spglib.get_symmetry_dataset(cell, symprec=symprec)
    except spglib.SpglibError as error:
        raise _no_symmetry(symprec, str(error)) from error
    if found is None:
        raise _no_symmetry(symprec, "no dataset")
    return SymmetryInfo(
        number=int(found.number),
        symbol=str(found.international),
        hall=str(found.hall),
        crystal_system=crystal_system(int(found.number)),
        point_group=str(found.pointgroup),
        n_symmetry_operations=len(found.rotations),
        symprec=symprec,
    )


def crystal_system(number: int) -> str:
    """The crystal system of a space group number from 1 to 230."""
    return next(name for last, name in _LAST_NUMBER if number <= last)


def primitive_cell(
    structure: Structure, symprec: float = DEFAULT_SYMPREC_A, *, idealize: bool = True
) -> Structure:
    """The standardized primitive cell.

    Sites that differ in charge or spin are kept apart, so a magnetic cell stays one.

    Args:
        structure: Any checked structure.
        symprec: Tolerance, Å.
        idealize: Move atoms and vectors to their symmetric places and the cell to its standard
            orientation; False keeps both as they are.

    Raises:
        StructureRefusedError: ``no_symmetry``.
    """
    return _standardized(structure, symprec, to_primitive=True, idealize=idealize)


def conventional_cell(
    structure: Structure, symprec: float = DEFAULT_SYMPREC_A, *, idealize: bool = True
) -> Structure:
    """The standardized conventional cell; arguments and errors as :func:`primitive_cell`."""
    return _standardized(structure, symprec, to_primitive=False, idealize=idealize)


def _standardized(
    structure: Structure, symprec: float, *, to_primitive: bool, idealize: bool
) -> Structure:
    import spglib

    blank = (None,) * structure.n_sites
    kinds = list(
        zip(
            structure.species,
            structure.charges or blank,
            structure.spins or blank,
            strict=True,
        )
    )
    number_of = {kind: number for number, kind in enumerate(dict.fromkeys(kinds), start=1)}
    kind_of = {number: kind for kind, number in number_of.items()}
    cell: _Cell = (
        structure.lattice,
        structure.frac_coords,
        np.array([number_of[kind] for kind in kinds], dtype=np.int64),
    )
    try:
        with quiet_spglib():
            found = spglib.standardize_cell(
                cell, to_primitive=to_primitive, no_idealize=not idealize, symprec=symprec
            )
    except spglib.SpglibError as error:
        raise _no_symmetry(symprec, str(error)) from error
    if found is None:
        raise _no_symmetry(symprec, "no standard cell")
    lattice, coords, kind_numbers = found
    sites = [kind_of[int(number)] for number in kind_numbers]
    return Structure(
        lattice=np.asarray(lattice, dtype=np.float64),
        species=tuple(symbol for symbol, _, _ in sites),
        frac_coords=np.asarray(coords, dtype=np.float64),
        charges=tuple(c for _, c, _ in sites if c is not None) or None,
        spins=tuple(s for _, _, s in sites if s is not None) or None,
        label=structure.label,
    )


def _no_symmetry(symprec: float, reason: str) -> StructureRefusedError:
    return StructureRefusedError(
        f"No symmetry found within {symprec:g} Å: {reason}.",
        hint="Use a smaller tolerance; atoms may be nearer to each other than it.",
        details={"symprec": symprec},
        code="no_symmetry",
    )
