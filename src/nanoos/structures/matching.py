"""Is this crystal already there? By content hash, then by geometry.

A duplicate is the same crystal written differently: another cell of the same lattice, another
origin, rotated, sites in another order, numbers rounded. Strained, scaled or displaced copies
are other structures: the points of an equation of state or of a phonon calculation must never
be merged. So the tolerances are those of rounding in files, not those of chemistry.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nanoos.core.errors import StructureRefusedError
from nanoos.structures.structure import Structure
from nanoos.structures.symmetry import primitive_cell

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure as PymatgenStructure

VOLUME_TOLERANCE: Final = 1e-3
"""Relative difference in volume per atom below which two crystals can be the same."""

LENGTH_TOLERANCE: Final = 5e-4
ANGLE_TOLERANCE_DEG: Final = 0.05
SITE_TOLERANCE: Final = 1.5e-3
"""Largest displacement of a site, in units of (volume per atom)^(1/3): about 0.004 Å."""

SYMPREC_A: Final = 2e-3
"""Tolerance (Å) of the translations that reduce a cell to its primitive one."""

SPIN_TOLERANCE_DECIMALS: Final = 1

MAX_MATCH_SITES: Final = 500
"""Primitive cells above this are compared by hash only: matching takes minutes."""


def duplicate_key(structure: Structure) -> str:
    """What duplicates have in common and a database can be asked for: the reduced formula."""
    return structure.formula


def find_duplicate(structure: Structure, candidates: Iterable[Structure]) -> int | None:
    """The first candidate that is the same crystal.

    Charges are not compared (formal charges are a reading of a structure); spins are, to 0.1
    Bohr magnetons, and a structure with spins is never the duplicate of one without. Mirror
    images count as the same.

    Args:
        structure: A checked structure.
        candidates: Others, for example those of the same :func:`duplicate_key`.

    Returns:
        Position of the candidate in ``candidates``, None where there is none.
    """
    others = list(candidates)
    for index, other in enumerate(others):
        if other.content_hash == structure.content_hash:
            return index
    possible = [i for i, other in enumerate(others) if may_be_duplicates(structure, other)]
    if not possible:
        return None
    reduced = _reduced(structure)
    if reduced is None:
        return None
    matcher = _matcher()
    for index in possible:
        other_reduced = _reduced(others[index])
        if (
            other_reduced is not None
            and len(other_reduced) == len(reduced)
            and matcher.fit(reduced, other_reduced)
        ):
            return index
    return None


def may_be_duplicates(first: Structure, second: Structure) -> bool:
    """Whether formula, volume per atom and presence of spins allow it; cheap."""
    if first.formula != second.formula or (first.spins is None) != (second.spins is None):
        return False
    volumes = [s.volume / s.n_sites for s in (first, second)]
    return abs(volumes[0] - volumes[1]) <= VOLUME_TOLERANCE * max(volumes)


def _matcher() -> Any:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return StructureMatcher(
        ltol=LENGTH_TOLERANCE,
        stol=SITE_TOLERANCE,
        angle_tol=ANGLE_TOLERANCE_DEG,
        primitive_cell=False,
        scale=False,
        attempt_supercell=False,
    )


def _reduced(structure: Structure) -> "PymatgenStructure | None":
    """The primitive cell for the matcher, None where it is too large.

    Reduced by spglib at a tight tolerance: pymatgen's own reduction averages sites that are
    0.25 Å apart and would undo displacements.
    """
    from pymatgen.core.periodic_table import Species
    from pymatgen.core.structure import Structure as PymatgenStructure

    decimals = SPIN_TOLERANCE_DECIMALS
    spins = structure.spins
    plain = Structure(
        lattice=structure.lattice,
        species=structure.species,
        frac_coords=structure.frac_coords,
        spins=None if spins is None else tuple(np.round(spins, decimals) + 0.0),
    )
    try:
        cell = primitive_cell(plain, SYMPREC_A, idealize=False)
    except StructureRefusedError:
        cell = plain
    if cell.n_sites > MAX_MATCH_SITES:
        return None
    kinds: list[Any] = list(cell.species)
    if cell.spins is not None:
        kinds = [Species(s, 0, spin=m) for s, m in zip(cell.species, cell.spins, strict=True)]
    return PymatgenStructure(cell.lattice, kinds, cell.frac_coords)
