"""What the rules choose for a crystal, and why. Every choice can be overridden.

Metal or insulator: a given gap decides, else the composition does, until an SCF shows no gap. Either
way occupations are smeared, so a wrong guess never gives a wrong state: cold smearing of 0.01 Ry for
metals (Marzari et al., DOI 10.1103/PhysRevLett.82.3296), a Gaussian of 0.002 Ry, 27 meV, for
insulators.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from math import ceil
from typing import Any, Final

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.engines.dft_parameters import DftParameters
from nanoos.engines.espresso.parameters import EspressoParameters
from nanoos.kpoints import KpointPrediction, kpoint_model, mesh_of
from nanoos.kpoints.mesh import vacuum_directions
from nanoos.pseudopotentials import PseudopotentialFamily
from nanoos.structures import Structure
from nanoos.structures.elements import ATOMIC_NUMBERS

METAL_KDIST: Final = 0.15
INSULATOR_KDIST: Final = 0.25
METAL_DEGAUSS_RY: Final = 0.01
INSULATOR_DEGAUSS_RY: Final = 0.002
GAP_OF_AN_INSULATOR_EV: Final = 0.3
MOST_SITES_FOR_THE_MODEL: Final = 200
MIXING_BETA: Final = 0.7
HIGHEST_CONFIDENCE: Final = 0.95

_OPEN_SHELLS: Final[Mapping[str, float]] = {
    "Cr": 3.0, "Mn": 5.0, "Fe": 4.0, "Co": 3.0, "Ni": 2.0,
    "Ce": 1.0, "Pr": 2.0, "Nd": 3.0, "Pm": 4.0, "Sm": 5.0, "Eu": 7.0, "Gd": 7.0, "Tb": 6.0,
    "Dy": 5.0, "Ho": 4.0, "Er": 3.0, "Tm": 2.0,
    "Pa": 2.0, "U": 3.0, "Np": 4.0, "Pu": 5.0, "Am": 6.0, "Cm": 7.0,
}  # fmt: skip
"""Elements that carry moments in most crystals: starting moment, Bohr magnetons (high spin)."""
_OPEN_IN_COMPOUNDS: Final[Mapping[str, float]] = {"Ti": 1.0, "V": 3.0, "Cu": 1.0}
"""Elements whose ions carry moments; the metals do not."""
_ANIONS: Final[Mapping[str, int]] = {
    "F": -1, "Cl": -1, "Br": -1, "I": -1, "O": -2, "S": -2, "Se": -2, "Te": -2, "N": -3, "P": -3,
    "As": -3,
}  # fmt: skip
_CATIONS: Final[Mapping[str, int]] = {
    "H": 1, "Li": 1, "Na": 1, "K": 1, "Rb": 1, "Cs": 1, "Ag": 1, "Be": 2, "Mg": 2, "Ca": 2,
    "Sr": 2, "Ba": 2, "Zn": 2, "Cd": 2, "B": 3, "Al": 3, "Ga": 3, "In": 3, "Sc": 3, "Y": 3,
    "La": 3, "Lu": 3, "C": 4, "Si": 4, "Ge": 4, "Ti": 4, "Zr": 4, "Hf": 4, "Nb": 5, "Ta": 5,
    "Mo": 6, "W": 6,
}  # fmt: skip
"""Charge with closed shells, or with an empty d shell."""
_NONMETALS: Final = frozenset(
    (
        "H", "He", "B", "C", "N", "O", "F", "Ne", "Si", "P", "S", "Cl", "Ar", "Ge", "As", "Se", "Br",
        "Kr", "Te", "I", "Xe", "At", "Rn",
    )
)  # fmt: skip
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Everything that the input of a crystal needs, and why.

    Attributes:
        ecutwfc_ry: Cutoff of the wavefunctions, Ry.
        ecutrho_ry: Cutoff of the density, Ry.
        mesh: k-points along the reciprocal vectors.
        shift: 1 where the mesh is moved by half a step.
        kdist: Spacing that the mesh was made from, Å^-1; None where the mesh was given.
        metal: Whether it is treated as one.
        smearing: None for fixed occupations.
        degauss_ry: Width of the smearing, Ry.
        polarised: Whether spins are treated apart.
        species: Kinds of atoms.
        site_species: Index into them for each site.
        n_electrons: Valence electrons of the cell.
        nbnd: Bands, None for pw.x's own number.
        mixing_beta: Share of the new density.
        reasons: Name of a choice to the reason.
    """

    ecutwfc_ry: float
    ecutrho_ry: float
    mesh: tuple[int, int, int]
    shift: tuple[int, int, int]
    kdist: float | None
    metal: bool
    smearing: str | None
    degauss_ry: float
    polarised: bool
    species: tuple[Species, ...]
    site_species: tuple[int, ...]
    n_electrons: float
    nbnd: int | None
    mixing_beta: float
    reasons: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """JSON types."""
        return asdict(self)


def choose(
    structure: Structure, parameters: EspressoParameters, family: PseudopotentialFamily
) -> Choices:
    """Apply the rules.

    Raises:
        InvalidInputError: an element that the family lacks, no cutoffs, moments that are larger
            than the number of electrons, fixed occupations of an odd number of electrons.
    """
    reasons: dict[str, str] = {}
    pseudos = family.of(structure.species)
    wfc, rho = _cutoffs(structure, parameters, family, reasons)
    metal, why = metal_or_insulator(structure.composition, parameters.expected_gap_ev)
    reasons["metal"] = why
    polarised, moments = starting_moments(structure, parameters, reasons)
    species, site_species = _species(structure, moments)
    n_electrons = sum(pseudos[symbol].z_valence for symbol in structure.species)
    for one in species:
        if abs(one.moment) > pseudos[one.element].z_valence:
            raise InvalidInputError(
                f"A moment of {one.moment:g} is more than the electrons of {one.element}.",
                hint="Moments are in Bohr magnetons, for each atom.",
            )
    mesh, kdist = choose_mesh(structure, parameters, reasons, metal=metal)
    smearing, degauss = _smearing(parameters, reasons, metal=metal)
    nbnd = parameters.nbnd
    if smearing is None:
        if polarised or round(n_electrons) % 2:
            raise InvalidInputError(
                "Fixed occupations need paired electrons: the cell has "
                f"{n_electrons:g}" + (" and is spin-polarised." if polarised else "."),
                hint="Set occupations to smearing.",
            )
        if nbnd is None:
            nbnd = _enough_bands(n_electrons)
            reasons["nbnd"] = "a fifth more than are filled, at least four, so that a gap is seen"
    elif polarised and nbnd is None:
        nbnd = _bands_of_spins(n_electrons, sum(abs(moment) for moment in moments))
        reasons["nbnd"] = "enough for the majority spin if all moments are parallel"
    if nbnd is not None and nbnd < n_electrons / 2:
        raise InvalidInputError(
            f"{nbnd} bands do not hold {n_electrons:g} electrons.",
            hint=f"At least {_enough_bands(n_electrons)}.",
        )
    return Choices(
        ecutwfc_ry=wfc,
        ecutrho_ry=rho,
        mesh=mesh,
        shift=parameters.kshift,
        kdist=kdist,
        metal=metal,
        smearing=smearing,
        degauss_ry=degauss,
        polarised=polarised,
        species=species,
        site_species=site_species,
        n_electrons=n_electrons,
        nbnd=nbnd,
        mixing_beta=parameters.mixing_beta or MIXING_BETA,
        reasons=reasons,
    )


def may_be_metal(choices: Choices, parameters: EspressoParameters) -> bool:
    """Whether it is an insulator by its elements alone, so that an SCF without a gap tells better."""
    given = (parameters.expected_gap_ev, parameters.smearing, parameters.degauss_ry)
    return not choices.metal and choices.smearing is not None and given == (None, None, None)


def choose_as_metal(
    structure: Structure, parameters: EspressoParameters, family: PseudopotentialFamily, stage: str
) -> Choices:
    """Apply the rules to what was taken for an insulator and has no gap in ``stage``.

    The mesh is of the careful end: the likely one of something that looks like an insulator is
    too coarse for a metal (GeO2 with the structure of fluorite).
    """
    guess = metal_or_insulator(structure.composition, None)[1]
    careful = parameters.kpoint_confidence or HIGHEST_CONFIDENCE
    of_a_metal = parameters.model_copy(
        update={"expected_gap_ev": 0.0, "kpoint_confidence": careful}
    )
    choices = choose(structure, of_a_metal, family)
    why = f"{stage} found no gap in what was computed as an insulator first ({guess})"
    return replace(choices, reasons={**choices.reasons, "metal": why})


def metal_or_insulator(
    composition: Mapping[str, int], expected_gap_ev: float | None
) -> tuple[bool, str]:
    """Whether to treat a crystal as a metal, and why."""
    if expected_gap_ev is not None:
        metal = expected_gap_ev < GAP_OF_AN_INSULATOR_EV
        return metal, f"a gap of {expected_gap_ev:g} eV is expected"
    if _NONMETALS.issuperset(composition):
        return False, "all elements are nonmetals"
    charge = 0
    for symbol, count in composition.items():
        state = _ANIONS.get(symbol, _CATIONS.get(symbol))
        if state is None:
            return True, f"{symbol} has no single closed-shell charge"
        charge += state * count
    if charge == 0 and any(symbol in _ANIONS for symbol in composition):
        return False, "the closed-shell charges of its ions balance"
    return True, "the closed-shell charges of its elements do not balance"


def _cutoffs(
    structure: Structure,
    parameters: EspressoParameters,
    family: PseudopotentialFamily,
    reasons: dict[str, str],
) -> tuple[float, float]:
    suggested = family.cutoffs(structure.species, parameters.accuracy)
    wfc, rho = parameters.ecutwfc_ry, parameters.ecutrho_ry
    if wfc is None:
        if suggested is None:
            raise InvalidInputError(
                f"The family {family.name} suggests no cutoffs for {structure.formula}.",
                hint="Set ecutwfc_ry, or install the family with --cutoffs.",
            )
        wfc = suggested.wfc_ry
        reasons["ecutwfc_ry"] = f"{parameters.accuracy} of {family.name}"
    else:
        reasons["ecutwfc_ry"] = "given"
    if rho is None:
        dual = suggested.rho_ry / suggested.wfc_ry if suggested is not None else 4.0
        if any(family.pseudos[symbol].kind != "NC" for symbol in structure.elements):
            dual = max(dual, 8.0)
        rho = dual * wfc
        reasons["ecutrho_ry"] = f"{dual:g} times ecutwfc_ry"
    else:
        reasons["ecutrho_ry"] = "given"
    if rho < 4 * wfc:
        raise InvalidInputError(
            f"A density cutoff of {rho:g} Ry is less than four times {wfc:g} Ry.",
            hint="Leave ecutrho_ry out.",
        )
    return wfc, rho


def choose_mesh(
    structure: Structure, parameters: DftParameters, reasons: dict[str, str], *, metal: bool
) -> tuple[tuple[int, int, int], float | None]:
    """The mesh, and the spacing that it was made from; ``reasons["mesh"]`` tells why."""
    if parameters.kmesh is not None:
        reasons["mesh"] = "given"
        return parameters.kmesh, None
    kdist = parameters.kdist
    if kdist is None and parameters.mesh_from == "model":
        kdist = _predicted_kdist(structure, parameters.kpoint_confidence, reasons)
    elif kdist is not None:
        reasons["mesh"] = f"the given spacing of {kdist:g} Å^-1"
    if kdist is None:
        kdist = METAL_KDIST if metal else INSULATOR_KDIST
        kind = "metal" if metal else "insulator"
        before = f"{reasons['mesh']}; " if "mesh" in reasons else ""
        reasons["mesh"] = f"{before}a spacing of {kdist:g} Å^-1 for a {kind}"
    return mesh_of(structure, kdist).divisions, kdist


def _predicted_kdist(
    structure: Structure, confidence: float | None, reasons: dict[str, str]
) -> float | None:
    """The likely spacing of the k-point model, or its careful end; None where it cannot answer.

    Ref: docs/adr/0008-engines-take-the-likely-mesh.md.
    """
    found = predicted_mesh(structure, confidence or HIGHEST_CONFIDENCE, reasons)
    if found is None:
        return None
    model = f"the k-point model {found.model} {found.version}"
    if confidence is None and not found.out_of_domain:
        reasons["mesh"] = f"a spacing of {found.kdist:.4f} Å^-1, the likely one of {model}"
        return found.kdist
    beyond = ", outside what it learnt from" if found.out_of_domain else ""
    reasons["mesh"] = (
        f"a spacing of {found.kdist_lower:.4f} Å^-1: the careful end at {found.interval_level:g} of {model}"
        f"{beyond}"
    )
    return found.kdist_lower


def predicted_mesh(
    structure: Structure, confidence: float, reasons: dict[str, str]
) -> KpointPrediction | None:
    """What the k-point model says; None where it cannot, and ``reasons["mesh"]`` tells why."""
    if structure.n_sites > MOST_SITES_FOR_THE_MODEL:
        reasons["mesh"] = f"no k-point model for more than {MOST_SITES_FOR_THE_MODEL} atoms"
        return None
    try:
        return _prediction(structure, confidence)
    except (InvalidInputError, UnavailableError) as error:
        reasons["mesh"] = f"the k-point model does not answer ({error.message})"
        return None


@lru_cache(maxsize=256)
def _prediction(structure: Structure, confidence: float) -> KpointPrediction:
    (found,) = kpoint_model().predict([structure], confidence=confidence)
    return found


def _smearing(
    parameters: EspressoParameters, reasons: dict[str, str], *, metal: bool
) -> tuple[str | None, float]:
    if parameters.occupations == "fixed":
        reasons["smearing"] = "fixed occupations were asked for"
        return None, 0.0
    smearing = parameters.smearing or ("cold" if metal else "gaussian")
    width = parameters.degauss_ry or (METAL_DEGAUSS_RY if metal else INSULATOR_DEGAUSS_RY)
    given = parameters.smearing or parameters.degauss_ry
    rule = "as for a metal" if metal else "narrow, as for an insulator"
    reasons["smearing"] = "given" if given else rule
    return smearing, width


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
    if any(symbol in _ANIONS for symbol in structure.species):
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
        return True, [1.0 if s in _NONMETALS else 0.0 for s in structure.species]
    reasons["spin"] = "no element that is known for its moments"
    return False, none


def _radical(structure: Structure) -> str:
    """Why a crystal or molecule without magnetic elements may have a moment; empty if none is likely.

    Valence electrons are odd where all electrons are: cores are closed.
    """
    elements = set(structure.species)
    if not elements & _NONMETALS or not elements <= _NONMETALS | _SIMPLE:
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


def _species(
    structure: Structure, moments: list[float]
) -> tuple[tuple[Species, ...], tuple[int, ...]]:
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


def _bands_of_spins(n_electrons: float, moment: float) -> int:
    """Bands for both spins; pw.x counts its own without the moment (PW/src/setup.f90)."""
    majority = ceil((n_electrons + moment) / 2)
    own = max(round(0.6 * n_electrons), ceil(n_electrons / 2) + 4)
    return max(own, majority + max(4, ceil(majority / 10)))


def _enough_bands(n_electrons: float) -> int:
    filled = -(-round(n_electrons) // 2)
    return filled + max(4, -(-filled // 5))
