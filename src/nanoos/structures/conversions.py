"""Structures to and from ASE and pymatgen; what cannot be held exactly is refused."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import StructureRefusedError
from nanoos.structures.checks import fractional_coords, unknown_element
from nanoos.structures.elements import ATOMIC_NUMBERS
from nanoos.structures.structure import Structure

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure as PymatgenStructure

OCCUPANCY_TOLERANCE = 1e-4
"""An occupancy further than this from 1 is partial; smaller differences are rounding."""


def partial_occupancy(species: str, occupancy: float, *, where: str) -> StructureRefusedError:
    """The refusal of a site that is not fully occupied by one element."""
    return StructureRefusedError(
        f"{where} ({species}) has an occupancy of {occupancy:g}: the structure is disordered.",
        hint="Choose an ordered approximant (for example pymatgen's OrderDisorderedStructure"
        "Transformation) and give that.",
        details={"where": where, "species": species, "occupancy": occupancy},
        code="partial_occupancy",
    )


def noncollinear_spins(where: str) -> StructureRefusedError:
    """The refusal of magnetic moments that are vectors."""
    return StructureRefusedError(
        f"{where} gives magnetic moments as vectors.",
        hint="Only collinear moments (one number for each site) are supported.",
        code="noncollinear_spins",
    )


def to_ase(structure: Structure) -> Any:
    """An ``ase.Atoms``, periodic in all directions.

    Charges and spins become initial charges (e) and initial magnetic moments (Bohr magnetons).
    """
    from ase import Atoms

    atoms: Any = Atoms(
        numbers=structure.atomic_numbers,
        cell=structure.lattice,
        scaled_positions=structure.frac_coords,
        pbc=True,
    )
    if structure.charges is not None:
        atoms.set_initial_charges(structure.charges)
    if structure.spins is not None:
        atoms.set_initial_magnetic_moments(structure.spins)
    return atoms


def from_ase(atoms: Any, *, label: str | None = None) -> Structure:
    """A structure from an ``ase.Atoms`` with a cell; initial charges and magnetic moments are kept.

    Raises:
        StructureRefusedError: ``missing_lattice``, ``partial_occupancy``, ``unknown_element`` or
            ``noncollinear_spins``.
    """
    cell = np.asarray(atoms.cell, dtype=np.float64)
    if not cell.any(axis=1).all():
        raise StructureRefusedError(
            "The atoms have no cell in all three directions.",
            hint="Set a cell (atoms.center(vacuum=...) for slabs and molecules).",
            code="missing_lattice",
        )
    _refuse_ase_disorder(atoms.info.get("occupancy"))
    symbols = tuple(atoms.get_chemical_symbols())
    for index, symbol in enumerate(symbols):
        if symbol not in ATOMIC_NUMBERS:
            raise unknown_element(symbol, where=f"site {index + 1}")
    charges = atoms.get_initial_charges() if atoms.has("initial_charges") else None
    spins = atoms.get_initial_magnetic_moments() if atoms.has("initial_magmoms") else None
    if spins is not None and spins.ndim != 1:
        raise noncollinear_spins("The ASE object")
    return Structure(
        lattice=cell,
        species=symbols,
        frac_coords=fractional_coords(atoms.get_positions(), cell),
        charges=None if charges is None else tuple(charges),
        spins=None if spins is None else tuple(spins),
        label=label,
    )


def _refuse_ase_disorder(occupancy: Any) -> None:
    """ASE's CIF reader keeps the majority element and notes the occupancies in ``info``."""
    if not isinstance(occupancy, dict):
        return
    for kind, shares in occupancy.items():
        for symbol, share in shares.items():
            if abs(float(share) - 1) > OCCUPANCY_TOLERANCE:
                raise partial_occupancy(symbol, float(share), where=f"Site of kind {kind}")


def to_pymatgen(structure: Structure) -> "PymatgenStructure":
    """A ``pymatgen.core.Structure``.

    Charges become oxidation states, spins the site property ``magmom`` (Bohr magnetons).
    """
    from pymatgen.core.periodic_table import Species
    from pymatgen.core.structure import Structure as PymatgenStructure

    if structure.charges is None:
        species: list[Any] = list(structure.species)
    else:
        pairs = zip(structure.species, structure.charges, strict=True)
        species = [Species(symbol, charge) for symbol, charge in pairs]
    properties = None if structure.spins is None else {"magmom": list(structure.spins)}
    return PymatgenStructure(
        structure.lattice, species, structure.frac_coords, site_properties=properties
    )


def from_pymatgen(structure: "PymatgenStructure", *, label: str | None = None) -> Structure:
    """A structure from an ordered ``pymatgen.core.Structure``.

    Oxidation states become charges; spins come from the site property ``magmom`` or, without
    it, from the species.

    Raises:
        StructureRefusedError: ``partial_occupancy``, ``unknown_element``,
            ``noncollinear_spins``.
    """
    species: list[str] = []
    charges: list[float | None] = []
    species_spins: list[float | None] = []
    for index, site in enumerate(structure):
        where = f"Site {index + 1}"
        kind, occupancy = next(iter(site.species.items()))
        if len(site.species) != 1 or abs(occupancy - 1) > OCCUPANCY_TOLERANCE:
            raise partial_occupancy(site.species_string, float(occupancy), where=where)
        symbol = str(kind.symbol)
        if symbol not in ATOMIC_NUMBERS:
            raise unknown_element(symbol, where=where.lower())
        species.append(symbol)
        charges.append(getattr(kind, "oxi_state", None))
        species_spins.append(getattr(kind, "spin", None))
    moments = structure.site_properties.get("magmom")
    return Structure(
        lattice=structure.lattice.matrix,
        species=tuple(species),
        frac_coords=structure.frac_coords,
        charges=_per_site(charges),
        spins=_per_site(species_spins if moments is None else [_moment(m) for m in moments]),
        label=label,
    )


def _moment(value: Any) -> float | None:
    if value is None:
        return None
    moment: npt.NDArray[np.float64] = np.asarray(getattr(value, "moment", value), dtype=np.float64)
    if moment.ndim:
        raise noncollinear_spins("The pymatgen object")
    return float(moment)


def _per_site(values: list[float | None]) -> tuple[float, ...] | None:
    """None where no site has a value; sites without one get 0 otherwise."""
    if all(value is None for value in values):
        return None
    return tuple(0.0 if value is None else float(value) for value in values)
