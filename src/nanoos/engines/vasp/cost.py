"""What a calculation will take, roughly: counted as for Quantum ESPRESSO."""

from collections.abc import Mapping
from typing import Final

from nanoos.core.units import RYDBERG_EV
from nanoos.engines.espresso import choices as espresso
from nanoos.engines.espresso.estimate import Estimate, estimate
from nanoos.engines.vasp.choices import Choices
from nanoos.engines.vasp.parameters import VaspParameters
from nanoos.engines.vasp.potcars import Potcar
from nanoos.structures import Structure
from nanoos.structures.elements import ATOMIC_NUMBERS

_USUAL_VALENCE: Final = 12.0
"""Electrons of a POTCAR that is not at hand, where the atom has as many."""


def estimate_scf(
    structure: Structure,
    parameters: VaspParameters,
    choices: Choices,
    potcars: Mapping[str, Potcar] | None,
) -> Estimate:
    """Plane waves, bands and k-points of one SCF, as pw.x would take them."""
    cutoff = choices.encut_ev / RYDBERG_EV
    elements = list(dict.fromkeys(structure.species))
    return estimate(
        structure,
        espresso.Choices(
            ecutwfc_ry=cutoff,
            ecutrho_ry=4 * cutoff,
            mesh=choices.mesh,
            shift=(0, 0, 0),
            kdist=choices.kdist,
            metal=choices.metal,
            smearing=choices.smearing,
            degauss_ry=choices.sigma_ev / RYDBERG_EV,
            polarised=choices.polarised,
            species=(),
            site_species=tuple(elements.index(symbol) for symbol in structure.species),
            n_electrons=sum(_valence(symbol, potcars) for symbol in structure.species),
            nbnd=parameters.nbands,
            mixing_beta=1.0,
            reasons={},
        ),
    )


def _valence(symbol: str, potcars: Mapping[str, Potcar] | None) -> float:
    if potcars is not None:
        return potcars[symbol].z_valence
    return min(_USUAL_VALENCE, float(ATOMIC_NUMBERS[symbol]))
