"""The workflows: a structure and a potential in, a finding out."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from nanoos.core.units import GPA_PER_EV_A3
from nanoos.engines.mlip.birch_murnaghan import fit_picture
from nanoos.engines.mlip.checkpoints import checkpoint
from nanoos.engines.mlip.equation_of_state import equation_of_state
from nanoos.engines.mlip.finding import Finding, Tick, common_values, relaxation_series
from nanoos.engines.mlip.parameters import EquationOfStateParameters, RelaxParameters
from nanoos.engines.mlip.property_workflows import run_dynamics, run_elastic, run_phonons
from nanoos.potentials import Potential, Relaxation, relax
from nanoos.potentials.relaxation import space_group_label
from nanoos.structures import Structure

GOOD_RMSE_EV: Final = 2e-3
GOOD_R2: Final = 0.99
PLAUSIBLE_DERIVATIVE: Final = (1.5, 9.0)
_LOUD_PRESSURE_SHARE: Final = 0.01


def run_single_point(
    structure: Structure, potential: Potential, parameters: Any, tick: Tick, folder: Path
) -> Finding:
    """Energy, forces and stress as given."""
    del parameters, folder
    (result,) = potential.compute([structure])
    tick(0.9, f"{result.energy_ev:.5f} eV")
    return Finding(
        workflow="single_point",
        structure=structure,
        result=result,
        values=common_values(structure, result, potential),
        labels={"space_group": space_group_label(structure)},
    )


def run_relax(
    structure: Structure,
    potential: Potential,
    parameters: RelaxParameters,
    tick: Tick,
    folder: Path,
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
        checkpoint=checkpoint(folder, "relax", potential, parameters, [structure]),
    )
    return relax_finding(found, potential, parameters)


def relax_finding(found: Relaxation, potential: Potential, parameters: RelaxParameters) -> Finding:
    """What a converged relaxation says."""
    final = found.structure
    volume = final.volume / final.n_sites
    values = common_values(final, found.result, potential)
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
        series=relaxation_series(found.steps),
        labels={
            "space_group_before": found.space_group_before,
            "space_group_after": found.space_group_after,
        },
        warnings=tuple(warnings),
        steps=found.steps,
    )


def run_equation_of_state(
    structure: Structure,
    potential: Potential,
    parameters: EquationOfStateParameters,
    tick: Tick,
    folder: Path,
) -> Finding:
    """Energy against volume, fitted."""
    found = equation_of_state(structure, potential, parameters, tick, folder)
    fit = found.fit
    values = common_values(found.structure, found.result, potential)
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
            **relaxation_series(found.steps),
        },
        labels={
            "space_group_before": found.space_group_before,
            "space_group_after": found.space_group_after,
        },
        warnings=_fit_warnings(values, extended=found.extended),
        steps=found.steps,
        texts={
            "eos.svg": fit_picture(fit, np.array(found.volumes_a3), np.array(found.energies_ev))
        },
    )


Workflow = Callable[[Structure, Potential, Any, Tick, Path], Finding]

WORKFLOWS: Final[dict[str, Workflow]] = {
    "single_point": run_single_point,
    "relax": run_relax,
    "equation_of_state": run_equation_of_state,
    "elastic": run_elastic,
    "phonons": run_phonons,
    "md": run_dynamics,
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
