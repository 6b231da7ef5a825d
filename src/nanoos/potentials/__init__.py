"""Energies, forces and stresses from interatomic potentials, behind one interface."""

from nanoos.potentials.base import Potential, PotentialResult
from nanoos.potentials.batched_relaxation import relax_many
from nanoos.potentials.coverage import check_elements, covered_elements, potentials_covering
from nanoos.potentials.references import (
    ElementReference,
    ReferenceTable,
    build_references,
    formation_energy_ev_per_atom,
    load_references,
    write_references,
)
from nanoos.potentials.registry import (
    DEFAULT_POTENTIAL,
    POTENTIALS,
    REFERENCE_POTENTIAL,
    added_weights,
    check_potential,
    get_potential,
)
from nanoos.potentials.relaxation import Relaxation, relax
from nanoos.potentials.runtime import set_device, set_threads

__all__ = [
    "DEFAULT_POTENTIAL",
    "POTENTIALS",
    "REFERENCE_POTENTIAL",
    "ElementReference",
    "Potential",
    "PotentialResult",
    "ReferenceTable",
    "Relaxation",
    "added_weights",
    "build_references",
    "check_elements",
    "check_potential",
    "covered_elements",
    "formation_energy_ev_per_atom",
    "get_potential",
    "load_references",
    "potentials_covering",
    "relax",
    "relax_many",
    "set_device",
    "set_threads",
    "write_references",
]
