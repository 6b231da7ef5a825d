"""Which atoms begin with a moment, and what follows for kinds of atoms and bands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from nanoos.core.errors import InvalidInputError
from nanoos.engines.dft_parameters import DftParameters
from nanoos.engines.espresso.closed_shells import ANIONS, NONMETALS, metal_or_insulator
from nanoos.kpoints.mesh import vacuum_directions
from nanoos.structures import Structure
from nanoos.structures.elements import ATOMIC_NUMBERS

_OPEN_SHELLS: Final[Mapping[str, float]] = {
    "Cr": 3.0, "Mn": 5.0, "Fe": 4.0, "Co": 3.0, "Ni": 2.0,
    "Ce": 1.0, "Pr": 2.0, "Nd": 3.0, "Pm": 4.0, "Sm": 5.0, "Eu": 7.0, "Gd": 7.0, "Tb": 6.0,
    "Dy": 5.0, "Ho": 4.0, "Er": 3.0, "Tm": 2.0,
    "Pa": 2.0, "U": 3.0, "Np": 4.0, "Pu": 5.0, "Am": 6.0, "Cm": 7.0,
}  # fmt: skip
"""Elements that carry moments in most crystals: starting moment, Bohr magnetons (high spin)."""
_OPEN_IN_COMPOUNDS: Final[Mapping[str, float]] = {"Ti": 1.0, "V": 3.0, "Cu": 1.0}
"""Elements whose ions carry moments; the metals do not."""
_TINY_MOMENT: Final = 1e-3
_SAME_MOMENT: Final = 0.2
"""Starting moments of an element that differ by no more are one kind of atom, Bohr magnetons."""
_MOST_KINDS: Final = 10
"""``ntypx`` of pw.x (Modules/parameters.f90)."""
_SIMPLE: Final = frozenset(("Li", "Na", "K", "Rb", "Cs", "Be", "Mg", "Ca", "Sr", "Ba"))
"""Metals without moments, whose compounds have them in their anions only: superoxides."""
_SMALL_MOLECULE: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Species:
    """A kind of atom in the input: an element with a starting moment.

    Attributes:
        label: ``Fe``, or ``Fe1`` where the element has several moments.
        element: Symbol.
        moment: Starting moment, Bohr magnetons.
    """

    label: str
    element: str
    moment: float


def starting_moments(
    structure: Structure, parameters: DftParameters, reasons: dict[str, str]
) -> tuple[bool, list[float]]:
    """Whether to polarise, and the starting moment of each site, Bohr magnetons.

    Raises:
        InvalidInputError: moments of an element that the structure lacks.
    """
    none = [0.0] * structure.n_sites
    if parameters.spin == "none":
        reasons["spin"] = "not polarised, as asked for"
        return False, none
    if structure.spins is not None and any(abs(m) > _TINY_MOMENT for m in structure.spins):
        reasons["spin"] = "the structure has moments"
        return True, list(structure.spins)
    if parameters.magnetic_moments is not None:
        unknown = set(parameters.magnetic_moments) - set(structure.species)
        if unknown:
            raise InvalidInputError(
                f"There is no {', '.join(sorted(unknown))} in {structure.formula}.",
                hint="magnetic_moments names elements of the structure.",
            )
        reasons["spin"] = "moments were given"
        return True, [parameters.magnetic_moments.get(s, 0.0) for s in structure.species]
    known = dict(_OPEN_SHELLS)
    if any(symbol in ANIONS for symbol in structure.species):
        known |= _OPEN_IN_COMPOUNDS
    open_shells, _ = metal_or_insulator(structure.composition, None)
    magnetic = sorted({s for s in structure.species if s in known})
    if not open_shells:  # charges that balance leave none: Ti4+
        magnetic = [s for s in magnetic if s in _OPEN_SHELLS]
    if magnetic:
        reasons["spin"] = f"{', '.join(magnetic)} may carry a moment; all start parallel"
        return True, [known[s] if s in magnetic else 0.0 for s in structure.species]
    if parameters.spin == "polarised":
        reasons["spin"] = "polarised, as asked for; every atom starts with half a moment"
        return True, [0.5] * structure.n_sites
    if radical := _radical(structure):
        reasons["spin"] = f"{radical}: a moment is likely"
        return True, [1.0 if s in NONMETALS else 0.0 for s in structure.species]
    reasons["spin"] = "no element that is known for its moments"
    return False, none


def _radical(structure: Structure) -> str:
    """Why a crystal or molecule without magnetic elements may have a moment; empty if none is likely.

    Valence electrons are odd where all electrons are: cores are closed.
    """
    elements = set(structure.species)
    if not elements & NONMETALS or not elements <= NONMETALS | _SIMPLE:
        return ""
    if sum(ATOMIC_NUMBERS[symbol] for symbol in structure.species) % 2:
        return "an odd number of electrons with a nonmetal"
    if structure.n_sites <= _SMALL_MOLECULE and all(vacuum_directions(structure)):
        return "an atom or a molecule of two, as O and O2 are"
    return ""


def _alike(species: Sequence[str], moments: Sequence[float]) -> list[float]:
    """Moments of an element and a sign that are nearly equal made equal: their mean.

    As an earlier calculation gives them, they would make a kind of each atom and hide the symmetry.
    """
    found = list(moments)
    for element in dict.fromkeys(species):
        sites = sorted(
            (site for site, one in enumerate(species) if one == element), key=moments.__getitem__
        )
        group: list[int] = []
        for site in [*sites, None]:
            first = moments[group[0]] if group else 0.0
            if site is not None and (
                not group
                or (moments[site] - first <= _SAME_MOMENT and moments[site] * first > 0)
                or moments[site] == first
            ):
                group.append(site)
                continue
            mean = sum(moments[one] for one in group) / len(group)
            for one in group:
                found[one] = round(mean, 6)
            group = [] if site is None else [site]
    return found


def kinds_of_atoms(
    structure: Structure, moments: list[float]
) -> tuple[tuple[Species, ...], tuple[int, ...]]:
    """The kinds of atoms in order of appearance, and the index of each site's.

    Args:
        structure: The crystal.
        moments: Starting moment of each site, Bohr magnetons; nearly equal ones become equal.

    Raises:
        InvalidInputError: code ``too_many_kinds``.
    """
    moments = _alike(structure.species, moments)
    kinds = list(dict.fromkeys(zip(structure.species, moments, strict=True)))
    if len(kinds) > _MOST_KINDS:
        raise InvalidInputError(
            f"{len(kinds)} kinds of atoms: pw.x has room for {_MOST_KINDS}.",
            hint="Give fewer different moments.",
            code="too_many_kinds",
        )
    count: dict[str, int] = {}
    for element, _ in kinds:
        count[element] = count.get(element, 0) + 1
    seen: dict[str, int] = {}
    species = []
    for element, moment in kinds:
        seen[element] = seen.get(element, 0) + 1
        label = element if count[element] == 1 else f"{element}{seen[element]}"
        species.append(Species(label=label, element=element, moment=moment))
    index = {kind: i for i, kind in enumerate(kinds)}
    sites = tuple(index[pair] for pair in zip(structure.species, moments, strict=True))
    return tuple(species), sites


def bands_of_spins(n_electrons: float, moment: float) -> int:
    """Bands for both spins; pw.x counts its own without the moment (PW/src/setup.f90)."""
    majority = ceil((n_electrons + moment) / 2)
    own = max(round(0.6 * n_electrons), ceil(n_electrons / 2) + 4)
    return max(own, majority + max(4, ceil(majority / 10)))
