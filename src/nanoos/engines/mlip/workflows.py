"""The workflows: a structure and a potential in, a finding out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from nanoos.core.errors import UnavailableError
from nanoos.core.units import GPA_PER_EV_A3
from nanoos.engines.mlip.equation_of_state import equation_of_state
from nanoos.engines.mlip.parameters import EquationOfStateParameters, RelaxParameters
from nanoos.potentials import (
    Potential,
    PotentialResult,
    formation_energy_ev_per_atom,
    load_references,
    relax,
)
from nanoos.potentials.relaxation import RelaxationStep, space_group_label
from nanoos.structures import Structure

Tick = Callable[[float, str], None]

GOOD_RMSE_EV: Final = 2e-3
GOOD_R2: Final = 0.99
PLAUSIBLE_DERIVATIVE: Final = (1.5, 9.0)
_LOUD_PRESSURE_SHARE: Final = 0.01


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
    """

    workflow: str
    structure: Structure
    result: PotentialResult
    values: Mapping[str, float]
    series: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    steps: tuple[RelaxationStep, ...] = ()


def run_single_point(
    structure: Structure, potential: Potential, parameters: Any, tick: Tick
) -> Finding:
    """Energy, forces and stress as given."""
    del parameters
    (result,) = potential.compute([structure])
    tick(0.9, f"{result.energy_ev:.5f} eV")
    return Finding(
        workflow="single_point",
        structure=structure,
        result=result,
        values=_common_values(structure, result, potential),
        labels={"space_group": space_group_label(structure)},
    )


def run_relax(
    structure: Structure, potential: Potential, parameters: RelaxParameters, tick: Tick
) -> Finding:
    """The nearest minimum, at a pressure if asked."""
    found = relax(
        structure,
        potential,
        fmax=parameters.fmax,
        max_steps=parameters.max_steps,
        relax_cell=parameters.relax_cell,
        keep_symmetry=parameters.keep_symmetry,
        pressure_gpa=parameters.pressure_gpa,
        progress=tick,
    )
    final = found.structure
    volume = final.volume / final.n_sites
    values = _common_values(final, found.result, potential)
    values |= {
        "n_steps": float(len(found.steps) - 1),
        "volume_change": found.volume_change,
        "max_displacement_a": found.max_displacement_a,
    }
    if parameters.pressure_gpa:
        work = parameters.pressure_gpa / GPA_PER_EV_A3 * volume
        values["enthalpy_ev_per_atom"] = found.result.energy_ev_per_atom + work
    warnings = []
    if found.space_group_after != found.space_group_before:
        warnings.append(
            f"The space group changed from {found.space_group_before} to {found.space_group_after}."
        )
    return Finding(
        workflow="relax",
        structure=final,
        result=found.result,
        values=values,
        series=_relaxation_series(found.steps),
        labels={
            "space_group_before": found.space_group_before,
            "space_group_after": found.space_group_after,
        },
        warnings=tuple(warnings),
        steps=found.steps,
    )


def run_equation_of_state(
    structure: Structure, potential: Potential, parameters: EquationOfStateParameters, tick: Tick
) -> Finding:
    """Energy against volume, fitted."""
    found = equation_of_state(structure, potential, parameters, tick)
    fit = found.fit
    values = _common_values(found.structure, found.result, potential)
    values |= {
        "bulk_modulus_gpa": fit.bulk_modulus_gpa,
        "bulk_modulus_derivative": fit.bulk_modulus_derivative,
        "equilibrium_volume_a3_per_atom": fit.volume_a3,
        "fitted_energy_ev_per_atom": fit.energy_ev,
        "fit_rmse_ev_per_atom": fit.rmse_ev,
        "fit_r2": fit.r2,
        "volume_change": found.structure.volume / structure.volume - 1,
    }
    return Finding(
        workflow="equation_of_state",
        structure=found.structure,
        result=found.result,
        values=values,
        series={
            "volume_a3_per_atom": found.volumes_a3,
            "energy_ev_per_atom": found.energies_ev,
            "fitted_energy_ev_per_atom": tuple(fit.energy_at(found.volumes_a3).tolist()),
            **_relaxation_series(found.steps),
        },
        labels={
            "space_group_before": found.space_group_before,
            "space_group_after": found.space_group_after,
        },
        warnings=_fit_warnings(values, extended=found.extended),
        steps=found.steps,
    )


WORKFLOWS: Final[dict[str, Callable[[Structure, Potential, Any, Tick], Finding]]] = {
    "single_point": run_single_point,
    "relax": run_relax,
    "equation_of_state": run_equation_of_state,
}


def _common_values(
    structure: Structure, result: PotentialResult, potential: Potential
) -> dict[str, float]:
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


def _relaxation_series(steps: tuple[RelaxationStep, ...]) -> dict[str, tuple[float, ...]]:
    if not steps:
        return {}
    return {
        "step_energy_ev": tuple(step.energy_ev for step in steps),
        "step_max_force_ev_a": tuple(step.max_force_ev_a for step in steps),
        "step_volume_a3": tuple(step.structure.volume for step in steps),
    }


def _fit_warnings(values: Mapping[str, float], *, extended: bool) -> tuple[str, ...]:
    """What a reader must know before trusting the bulk modulus."""
    found = []
    rmse, r2 = values["fit_rmse_ev_per_atom"], values["fit_r2"]
    if rmse > GOOD_RMSE_EV or r2 < GOOD_R2:
        found.append(
            f"The fit is poor: RMSE {1e3 * rmse:.2f} meV/atom, R2 {r2:.4f}; "
            "the bulk modulus is not to be trusted."
        )
    low, high = PLAUSIBLE_DERIVATIVE
    derivative = values["bulk_modulus_derivative"]
    if not low < derivative < high:
        found.append(f"The pressure derivative {derivative:.1f} is outside {low:g} to {high:g}.")
    pressure = values.get("pressure_gpa", 0.0)
    if abs(pressure) > max(0.5, _LOUD_PRESSURE_SHARE * values["bulk_modulus_gpa"]):
        found.append(
            f"The potential's own stress at the fitted volume is {pressure:.2f} GPa, not 0."
        )
    if extended:
        found.append("The range of volumes was moved once to hold the minimum.")
    return tuple(found)
