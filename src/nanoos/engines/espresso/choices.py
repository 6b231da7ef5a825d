"""What the rules choose for a crystal, and why. Every choice can be overridden.

Metal or insulator: a given gap decides, else the composition does, until an SCF shows no gap. Either
way occupations are smeared, so a wrong guess never gives a wrong state: cold smearing of 0.01 Ry for
metals (Marzari et al., DOI 10.1103/PhysRevLett.82.3296), a Gaussian of 0.002 Ry, 27 meV, for
insulators.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Final

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.engines.dft_parameters import DftParameters
from nanoos.engines.espresso.closed_shells import metal_or_insulator
from nanoos.engines.espresso.parameters import EspressoParameters
from nanoos.engines.espresso.spins import Species, bands_of_spins, kinds_of_atoms, starting_moments
from nanoos.kpoints import KpointPrediction, kpoint_model, mesh_of
from nanoos.pseudopotentials import PseudopotentialFamily
from nanoos.structures import Structure

METAL_KDIST: Final = 0.15
INSULATOR_KDIST: Final = 0.25
METAL_DEGAUSS_RY: Final = 0.01
INSULATOR_DEGAUSS_RY: Final = 0.002
MOST_SITES_FOR_THE_MODEL: Final = 200
MIXING_BETA: Final = 0.7
HIGHEST_CONFIDENCE: Final = 0.95


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
    species, site_species = kinds_of_atoms(structure, moments)
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
        nbnd = bands_of_spins(n_electrons, sum(abs(moment) for moment in moments))
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


def _enough_bands(n_electrons: float) -> int:
    filled = -(-round(n_electrons) // 2)
    return filled + max(4, -(-filled // 5))
