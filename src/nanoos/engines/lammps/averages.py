"""Averages over the equilibrated part of a run, with their errors."""

import numpy as np

from nanoos.core.units import BOLTZMANN_EV_K
from nanoos.engines.analysis import block_average
from nanoos.engines.analysis.trajectory import FloatArray
from nanoos.engines.lammps.conventions import UnitSystem
from nanoos.engines.lammps.logs import ThermoTable
from nanoos.engines.lammps.parameters import DynamicsParameters, NVEParameters
from nanoos.structures import Structure
from nanoos.structures.elements import ATOMIC_MASSES

_DENSITY: float = 1.66053906660
"""u/Å^3 in g/cm^3."""


def averages(
    table: ThermoTable, units: UnitSystem, parameters: DynamicsParameters, structure: Structure
) -> dict[str, float]:
    """``avg_NAME_unit`` and ``avg_NAME_error_unit``; an error that cannot be told is left out.

    Samples of the stated equilibration are not in them. Of a run at constant energy, the drift
    of the total energy comes with them.
    """
    n_atoms = structure.n_sites
    mass = sum(ATOMIC_MASSES[element] for element in structure.species)
    kept = table["step"] >= parameters.equilibration
    quantities: dict[tuple[str, str], FloatArray] = {
        ("temperature", "k"): table["temp"],
        ("pressure", "gpa"): table["press"] * units.pressure_gpa,
        ("potential_energy", "ev_per_atom"): table["pe"] * units.energy_ev / n_atoms,
        ("kinetic_energy", "ev_per_atom"): table["ke"] * units.energy_ev / n_atoms,
        ("total_energy", "ev_per_atom"): table["etotal"] * units.energy_ev / n_atoms,
        ("volume", "a3_per_atom"): table["vol"] / n_atoms,
        ("density", "g_cm3"): _DENSITY * mass / table["vol"],
    }
    found: dict[str, float] = {}
    for (name, unit), column in quantities.items():
        average = block_average(column[kept])
        found[f"avg_{name}_{unit}"] = average.mean
        if average.error is not None:
            found[f"avg_{name}_error_{unit}"] = average.error
    found["n_samples"] = float(kept.sum())
    if isinstance(parameters, NVEParameters) and kept.sum() > 2:  # noqa: PLR2004
        found |= _drift(table, units, parameters, kept, n_atoms)
    return found


def _drift(
    table: ThermoTable,
    units: UnitSystem,
    parameters: DynamicsParameters,
    kept: np.ndarray[tuple[int], np.dtype[np.bool_]],
    n_atoms: int,
) -> dict[str, float]:
    """Slope and scatter of the total energy, and the temperature that the drift is worth."""
    time_ps = table["step"][kept] * parameters.timestep / 1000
    total = table["etotal"][kept] * units.energy_ev / n_atoms
    slope, offset = np.polyfit(time_ps - time_ps[0], total, 1)
    scatter = total - (slope * (time_ps - time_ps[0]) + offset)
    return {
        "energy_drift_ev_per_atom_ps": float(slope),
        "energy_drift_k_per_ns": float(slope * 1000 / (1.5 * BOLTZMANN_EV_K)),
        "energy_fluctuation_ev_per_atom": float(scatter.std()),
    }
