"""Energies, forces and stresses from interatomic potentials, behind one interface."""

from nanoos.potentials.base import Potential, PotentialResult, check_coverage
from nanoos.potentials.registry import (
    DEFAULT_POTENTIAL,
    POTENTIALS,
    get_potential,
    potentials_covering,
)
from nanoos.potentials.threads import set_threads

__all__ = [
    "DEFAULT_POTENTIAL",
    "POTENTIALS",
    "Potential",
    "PotentialResult",
    "check_coverage",
    "get_potential",
    "potentials_covering",
    "set_threads",
]
