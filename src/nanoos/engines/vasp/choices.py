"""What the rules choose for a crystal, and why: the same rules as for Quantum ESPRESSO.

Occupations are always smeared: Methfessel-Paxton of first order with the width that cold smearing
has there for metals (DOI 10.1103/PhysRevB.40.3616; VASP has no cold smearing), a narrow Gaussian
for insulators.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Final

from nanoos.core.errors import InvalidInputError
from nanoos.core.units import RYDBERG_EV
from nanoos.engines.espresso.choices import (
    INSULATOR_DEGAUSS_RY,
    METAL_DEGAUSS_RY,
    choose_mesh,
)
from nanoos.engines.espresso.closed_shells import metal_or_insulator
from nanoos.engines.espresso.spins import starting_moments
from nanoos.engines.vasp.parameters import VaspParameters
from nanoos.engines.vasp.potcars import Potcar, titles_of
from nanoos.structures import Structure

LEAST_ENCUT_EV: Final = 520.0
"""That of the Materials Project: 1.3 times the suggestion for oxygen."""
_ENCUT_OVER_ENMAX: Final = 1.3
_FROZEN_F: Final = ("_2", "_3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Everything that the input of a crystal needs, and why.

    Attributes:
        encut_ev: Cutoff of the wavefunctions, eV.
        mesh: k-points along the reciprocal vectors, through Gamma.
        kdist: Spacing that the mesh was made from, Å^-1; None where the mesh was given.
        metal: Whether it is treated as one.
        smearing: Name.
        sigma_ev: Width of the smearing, eV.
        polarised: Whether spins are treated apart.
        moments: Starting moment of each site, Bohr magnetons.
        titles: Element to the title of its POTCAR.
        reasons: Name of a choice to the reason.
    """

    encut_ev: float
    mesh: tuple[int, int, int]
    kdist: float | None
    metal: bool
    smearing: str
    sigma_ev: float
    polarised: bool
    moments: tuple[float, ...]
    titles: Mapping[str, str]
    reasons: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "Choices":
        """The inverse of :meth:`as_dict`.

        Raises:
            TypeError, KeyError: it is none.
        """
        mesh, moments = document["mesh"], document["moments"]
        return cls(**{**document, "mesh": tuple(mesh), "moments": tuple(moments)})


def choose(
    structure: Structure, parameters: VaspParameters, potcars: Mapping[str, Potcar] | None
) -> Choices:
    """Apply the rules.

    Args:
        structure: What is computed.
        parameters: What was asked for.
        potcars: Element to POTCAR; None where they are not at hand.

    Raises:
        InvalidInputError: no POTCAR is recommended for an element, a cutoff below that of a POTCAR.
    """
    reasons: dict[str, str] = {}
    given = parameters.potcar_titles
    titles = titles_of(structure.species, parameters.potcars, given)
    reasons["potcars"] = "those of the Materials Project" + (", but as given" if given else "")
    metal, reasons["metal"] = metal_or_insulator(structure.composition, parameters.expected_gap_ev)
    polarised, moments = starting_moments(structure, parameters, reasons)
    if structure.spins is None and parameters.magnetic_moments is None:
        polarised, moments = _without_frozen(structure, titles, polarised, moments, reasons)
    mesh, kdist = choose_mesh(structure, parameters, reasons, metal=metal)
    smearing, sigma = _smearing(parameters, reasons, metal=metal)
    choices = Choices(
        encut_ev=_encut(parameters, potcars, reasons),
        mesh=mesh,
        kdist=kdist,
        metal=metal,
        smearing=smearing,
        sigma_ev=sigma,
        polarised=polarised,
        moments=tuple(moments),
        titles=titles,
        reasons=reasons,
    )
    if potcars is not None:
        check_cutoff(choices, potcars)
    return choices


def check_cutoff(choices: Choices, potcars: Mapping[str, Potcar]) -> None:
    """Raise InvalidInputError for a cutoff below what a POTCAR suggests."""
    highest = max(potcars.values(), key=lambda potcar: potcar.enmax_ev)
    if choices.encut_ev < highest.enmax_ev:
        raise InvalidInputError(
            f"A cutoff of {choices.encut_ev:g} eV is below the {highest.enmax_ev:g} eV of the "
            f"POTCAR {highest.title}.",
            hint="Leave encut_ev out, or raise it.",
            code="invalid_parameter",
        )


def _encut(
    parameters: VaspParameters, potcars: Mapping[str, Potcar] | None, reasons: dict[str, str]
) -> float:
    if parameters.encut_ev is not None:
        reasons["encut_ev"] = "given"
        return parameters.encut_ev
    if potcars is None:
        reasons["encut_ev"] = (
            f"{LEAST_ENCUT_EV:g} eV as the Materials Project; the POTCARs were not at hand: compare "
            f"with {_ENCUT_OVER_ENMAX:g} times their ENMAX"
        )
        return LEAST_ENCUT_EV
    wanted = float(ceil(_ENCUT_OVER_ENMAX * max(p.enmax_ev for p in potcars.values())))
    reasons["encut_ev"] = (
        f"{_ENCUT_OVER_ENMAX:g} times the largest ENMAX, at least {LEAST_ENCUT_EV:g} eV"
    )
    return max(LEAST_ENCUT_EV, wanted)


def _smearing(
    parameters: VaspParameters, reasons: dict[str, str], *, metal: bool
) -> tuple[str, float]:
    smearing = parameters.smearing or ("methfessel-paxton" if metal else "gaussian")
    width = RYDBERG_EV * (METAL_DEGAUSS_RY if metal else INSULATOR_DEGAUSS_RY)
    given = parameters.smearing or parameters.sigma_ev
    rule = "as for a metal" if metal else "narrow, as for an insulator"
    reasons["smearing"] = "given" if given else rule
    return smearing, parameters.sigma_ev or round(width, 4)


def _without_frozen(
    structure: Structure,
    titles: Mapping[str, str],
    polarised: bool,  # noqa: FBT001
    moments: list[float],
    reasons: dict[str, str],
) -> tuple[bool, list[float]]:
    """No moments of f electrons that the POTCAR keeps in its core."""
    frozen = {element for element, title in titles.items() if title.endswith(_FROZEN_F)}
    if not frozen or not polarised:
        return polarised, moments
    left = [
        0.0 if symbol in frozen else moment
        for symbol, moment in zip(structure.species, moments, strict=True)
    ]
    if any(left):
        return True, left
    reasons["spin"] = (
        f"the f electrons of {', '.join(sorted(frozen))} are in the core of the POTCAR"
    )
    return False, left
