"""What a workflow found, before it is written down."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from nanoos.core.errors import UnavailableError
from nanoos.core.units import GPA_PER_EV_A3
from nanoos.potentials import (
    Potential,
    PotentialResult,
    formation_energy_ev_per_atom,
    load_references,
)
from nanoos.potentials.relaxation import RelaxationStep
from nanoos.structures import Structure

Tick = Callable[[float, str], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Finding:
    """What a workflow found, before it is written down.

    Attributes:
        workflow: Its name.
        structure: Final structure.
        result: The potential's answer there.
        values: Name with unit to number.
        series: Name with unit to numbers.
        labels: Name to text.
        warnings: Sentences about the quality of the run.
        steps: Geometries of a relaxation.
        texts: Further files, name to content.
        written: Names of files that the workflow has left in the output folder.
    """

    workflow: str
    structure: Structure
    result: PotentialResult
    values: Mapping[str, float]
    series: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    steps: tuple[RelaxationStep, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    written: tuple[str, ...] = ()


def common_values(
    structure: Structure, result: PotentialResult, potential: Potential
) -> dict[str, float]:
    """What every finding says of its final structure."""
    values = {
        "energy_ev_per_atom": result.energy_ev_per_atom,
        "volume_a3_per_atom": structure.volume / structure.n_sites,
        "max_force_ev_a": float(np.linalg.norm(result.forces, axis=1).max()),
    }
    if result.stress is not None:
        values["pressure_gpa"] = -float(np.trace(result.stress)) / 3 * GPA_PER_EV_A3
    if result.magmoms is not None:
        values["mean_magmom_bohr"] = float(np.mean(result.magmoms))
    try:
        references = load_references(potential.name)
    except UnavailableError:
        return values
    values["formation_energy_ev_per_atom"] = formation_energy_ev_per_atom(
        result.energy_ev_per_atom, structure.composition, references, potential=potential
    )
    return values


def relaxation_series(steps: tuple[RelaxationStep, ...]) -> dict[str, tuple[float, ...]]:
    """Energy, force and volume of each geometry; nothing where there was no relaxation."""
    if not steps:
        return {}
    return {
        "step_energy_ev": tuple(step.energy_ev for step in steps),
        "step_max_force_ev_a": tuple(step.max_force_ev_a for step in steps),
        "step_volume_a3": tuple(step.structure.volume for step in steps),
    }
