"""The workflows that give a property and its files: elasticity, phonons, dynamics."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from nanoos.core.units import BOLTZMANN_EV_K
from nanoos.engines.analysis import analyze, block_average, plots
from nanoos.engines.analysis.trajectory import UNWRAPPED_FLAG
from nanoos.engines.mlip.dynamics import SAMPLE_COLUMNS, DynamicsRun, molecular_dynamics
from nanoos.engines.mlip.elastic import ElasticTensor, elastic_tensor
from nanoos.engines.mlip.finding import Finding, Tick, common_values, relaxation_series
from nanoos.engines.mlip.parameters import (
    DynamicsParameters,
    ElasticParameters,
    PhononParameters,
)
from nanoos.engines.mlip.phonons import IMAGINARY_THZ, PHONOPY_FILE, Phonons, phonons
from nanoos.potentials import Potential
from nanoos.potentials.base import FloatArray
from nanoos.potentials.relaxation import space_group_label
from nanoos.structures import Structure
from nanoos.structures.elements import ATOMIC_MASSES

J_PER_EV: Final = 1.602176634e-19
AVOGADRO: Final = 6.02214076e23
G_CM3_PER_U_A3: Final = 1.66053906660
ROOM_TEMPERATURE_K: Final = 300.0
MAX_SERIES: Final = 2000
"""Samples of a series kept in the result; all are in ``thermo.csv``."""
_ROUGH_SHARE: Final = 0.05
_NOISY_FORCE_EV_A: Final = 1e-3


def run_elastic(
    structure: Structure,
    potential: Potential,
    parameters: ElasticParameters,
    tick: Tick,
    folder: Path,
) -> Finding:
    """The elastic tensor, its moduli and whether the crystal is stable."""
    found = elastic_tensor(structure, potential, parameters, tick, folder)
    tensor = found.tensor_gpa
    values = common_values(found.structure, found.result, potential)
    values |= {f"c{i + 1}{j + 1}_gpa": float(tensor[i, j]) for i in range(6) for j in range(i, 6)}
    values |= found.moduli.values()
    values |= {
        "smallest_eigenvalue_gpa": float(found.eigenvalues_gpa[0]),
        "elastically_stable": float(found.stable),
        "tensor_asymmetry_gpa": found.asymmetry_gpa,
    }
    return Finding(
        workflow="elastic",
        structure=found.structure,
        result=found.result,
        values=values,
        series=relaxation_series(found.relaxation.steps) if found.relaxation else {},
        labels={
            "space_group": space_group_label(found.structure),
            "axes": "standard orientation of the lattice (spglib)",
            "order": "xx yy zz yz xz xy",
        },
        warnings=_elastic_warnings(found, values),
        steps=found.relaxation.steps if found.relaxation else (),
        texts={
            "elastic.json": _elastic_json(found),
            "elastic.csv": _csv(
                {f"c_i{j + 1}_gpa": tensor[:, j] for j in range(6)},
            ),
        },
    )


def _elastic_warnings(found: ElasticTensor, values: Mapping[str, float]) -> tuple[str, ...]:
    warnings = []
    if not found.stable:
        warnings.append(
            "The crystal is not elastically stable: the smallest eigenvalue of the tensor is "
            f"{found.eigenvalues_gpa[0]:.1f} GPa, so Reuss's averages do not exist."
        )
    largest = float(np.abs(found.tensor_gpa).max())
    if found.asymmetry_gpa > _ROUGH_SHARE * largest:
        warnings.append(
            f"The tensor is symmetric within {found.asymmetry_gpa:.1f} GPa only: lower fmax, or "
            "raise max_strain."
        )
    if abs(values.get("pressure_gpa", 0.0)) > _ROUGH_SHARE * largest:
        warnings.append(
            f"The unstrained crystal is under {values['pressure_gpa']:.1f} GPa: relax it first."
        )
    return tuple(warnings)


def _elastic_json(found: ElasticTensor) -> str:
    document = {
        "stiffness_gpa": found.tensor_gpa.tolist(),
        "stiffness_in_given_axes_gpa": found.in_given_axes_gpa.tolist(),
        "order": ["xx", "yy", "zz", "yz", "xz", "xy"],
        "to_standard_axes": found.rotation.tolist(),
        "strains": list(found.strains),
        "eigenvalues_gpa": found.eigenvalues_gpa.tolist(),
        "moduli": found.moduli.values(),
        "elastically_stable": found.stable,
    }
    return json.dumps(document, indent=1) + "\n"


def run_phonons(
    structure: Structure,
    potential: Potential,
    parameters: PhononParameters,
    tick: Tick,
    folder: Path,
) -> Finding:
    """Bands, density of states, imaginary modes, thermal properties."""
    found = phonons(structure, potential, parameters, tick, folder)
    n_atoms = found.n_primitive
    values = common_values(found.structure, found.result, potential)
    values |= {
        "lowest_frequency_thz": found.lowest_thz,
        "highest_frequency_thz": float(found.bands.frequencies_thz.max()),
        "imaginary_share": found.imaginary_share,
        "dynamically_stable": float(found.lowest_thz > IMAGINARY_THZ),
        "zero_point_energy_ev_per_atom": found.zero_point_ev / n_atoms,
        "acoustic_gamma_thz": found.acoustic_gamma_thz,
        "force_drift_ev_a": found.drift_ev_a,
        "n_supercell_atoms": float(found.n_supercell),
        "n_displacements": float(found.n_displacements),
    }
    per_mol = J_PER_EV * AVOGADRO / n_atoms
    thermal = {
        "temperature_k": found.thermal["temperature_k"],
        "free_energy_ev_per_atom": found.thermal["free_energy_ev"] / n_atoms,
        "entropy_j_mol_k_per_atom": found.thermal["entropy_ev_k"] * per_mol,
        "heat_capacity_j_mol_k_per_atom": found.thermal["heat_capacity_ev_k"] * per_mol,
    }
    at_room = np.flatnonzero(np.isclose(thermal["temperature_k"], ROOM_TEMPERATURE_K))
    if len(at_room):
        values |= {
            "free_energy_300_k_ev_per_atom": float(thermal["free_energy_ev_per_atom"][at_room[0]]),
            "entropy_300_k_j_mol_k_per_atom": float(
                thermal["entropy_j_mol_k_per_atom"][at_room[0]]
            ),
            "heat_capacity_300_k_j_mol_k_per_atom": float(
                thermal["heat_capacity_j_mol_k_per_atom"][at_room[0]]
            ),
        }
    return Finding(
        workflow="phonons",
        structure=found.structure,
        result=found.result,
        values=values,
        series={
            **{name: tuple(column.tolist()) for name, column in thermal.items()},
            **{f"dos_{name}": tuple(column.tolist()) for name, column in found.dos.items()},
            **(relaxation_series(found.relaxation.steps) if found.relaxation else {}),
        },
        labels={
            "space_group": space_group_label(found.structure),
            "band_path": found.bands.path,
            "supercell_matrix": json.dumps(found.supercell_matrix.tolist()),
        },
        warnings=_phonon_warnings(found, potential),
        steps=found.relaxation.steps if found.relaxation else (),
        texts={
            "phonon_bands.csv": _bands_csv(found),
            "phonon_dos.csv": _csv(found.dos),
            "thermal.csv": _csv(thermal),
            **_phonon_plots(found, thermal),
        },
        written=(PHONOPY_FILE,),
    )


def _phonon_warnings(found: Phonons, potential: Potential) -> tuple[str, ...]:
    warnings = []
    if found.lowest_thz < IMAGINARY_THZ:
        warnings.append(
            f"There are imaginary modes, down to {found.lowest_thz:.2f} THz "
            f"({100 * found.imaginary_share:.1f} % of the modes of the mesh): the crystal is not a "
            "minimum for this potential, and thermal properties leave these modes out."
        )
    if len(set(found.structure.species)) > 1:
        warnings.append(
            f"{potential.name} has no Born charges: the splitting of longitudinal and transverse "
            "optical modes at Gamma is not in the bands."
        )
    if found.drift_ev_a > _NOISY_FORCE_EV_A:
        warnings.append(
            f"Net forces of {1000 * found.drift_ev_a:.1f} meV/Å per atom were taken off."
        )
    return tuple(warnings)


def _bands_csv(found: Phonons) -> str:
    bands = found.bands
    columns: dict[str, Any] = {"distance_1_a": bands.distances}
    columns |= {f"q{axis + 1}": bands.q_points[:, axis] for axis in range(3)}
    columns |= {
        f"mode_{mode + 1}_thz": bands.frequencies_thz[:, mode]
        for mode in range(bands.frequencies_thz.shape[1])
    }
    return _csv(columns)


def _phonon_plots(found: Phonons, thermal: Mapping[str, FloatArray]) -> dict[str, str]:
    bands = found.bands
    return {
        "phonon_bands.svg": plots.bands(
            bands.distances, [bands.frequencies_thz], bands.ticks, y="frequency, THz"
        ),
        "phonon_dos.svg": plots.curves(
            found.dos["frequency_thz"],
            {
                name.removesuffix("_per_thz"): column
                for name, column in found.dos.items()
                if name != "frequency_thz"
            },
            x="frequency, THz",
            y="density of states, 1/THz",
        ),
        "thermal.svg": plots.time_series(
            thermal["temperature_k"],
            {
                "free energy, eV/atom": thermal["free_energy_ev_per_atom"],
                "heat capacity, J/(mol K)": thermal["heat_capacity_j_mol_k_per_atom"],
                "entropy, J/(mol K)": thermal["entropy_j_mol_k_per_atom"],
            },
            x="temperature, K",
        ),
    }


def run_dynamics(
    structure: Structure,
    potential: Potential,
    parameters: DynamicsParameters,
    tick: Tick,
    folder: Path,
) -> Finding:
    """A trajectory, averages with their errors, and what the analyses say."""
    run = molecular_dynamics(structure, potential, parameters, tick, folder)
    (result,) = potential.compute([run.final])
    values = common_values(run.final, result, potential)
    values["n_atoms"] = float(run.final.n_sites)
    values["simulated_time_ps"] = parameters.num_steps * parameters.timestep / 1000
    averages, warnings = _averages(run, parameters)
    values |= averages
    if run.continued and parameters.ensemble == "npt":
        warnings.append(
            f"Continued from a checkpoint {run.continued} times; each time the thermostat and the "
            "barostat began at rest."
        )
    table = _thermo(run, parameters)
    trajectory = run.trajectory(parameters.timestep)
    kept = trajectory.after(parameters.equilibration * parameters.timestep)
    report = analyze(
        kept,
        folder,
        which=parameters.analysis,
        velocities=run.velocity_trajectory(parameters.timestep),
        r_max_a=parameters.rdf_cutoff,
    )
    picture = plots.time_series(
        table["time_ps"],
        {
            "temperature, K": table["temperature_k"],
            "potential energy, eV/atom": table["potential_energy_ev"] / run.final.n_sites,
            "pressure, GPa": table["pressure_gpa"],
        },
        x="time, ps",
        excluded_until=parameters.equilibration * parameters.timestep / 1000,
    )
    every = -(-len(run.samples) // MAX_SERIES)
    return Finding(
        workflow="md",
        structure=run.final,
        result=result,
        values=values | report.values,
        series={name: tuple(column[::every].tolist()) for name, column in table.items()},
        labels={"ensemble": parameters.ensemble},
        warnings=(*warnings, *report.warnings),
        texts={
            "thermo.csv": _csv(table),
            "thermo.svg": picture,
            "trajectory.extxyz": _trajectory_text(run, parameters),
        },
        written=tuple(report.files),
    )


def _thermo(run: DynamicsRun, parameters: DynamicsParameters) -> dict[str, FloatArray]:
    columns = {name: run.column(name) for name in SAMPLE_COLUMNS}
    step = columns.pop("step")
    total = columns["potential_energy_ev"] + columns["kinetic_energy_ev"]
    return {
        "step": step,
        "time_ps": step * parameters.timestep / 1000,
        **columns,
        "total_energy_ev": total,
    }


def _averages(
    run: DynamicsRun, parameters: DynamicsParameters
) -> tuple[dict[str, float], list[str]]:
    """``avg_NAME_unit`` and ``avg_NAME_error_unit`` of the equilibrated part; the drift of NVE."""
    table = _thermo(run, parameters)
    n_atoms = run.final.n_sites
    mass = sum(ATOMIC_MASSES[element] for element in run.final.species)
    kept = table["step"] >= parameters.equilibration
    quantities = {
        ("temperature", "k"): table["temperature_k"],
        ("pressure", "gpa"): table["pressure_gpa"],
        ("potential_energy", "ev_per_atom"): table["potential_energy_ev"] / n_atoms,
        ("kinetic_energy", "ev_per_atom"): table["kinetic_energy_ev"] / n_atoms,
        ("total_energy", "ev_per_atom"): table["total_energy_ev"] / n_atoms,
        ("volume", "a3_per_atom"): table["volume_a3"] / n_atoms,
        ("density", "g_cm3"): G_CM3_PER_U_A3 * mass / table["volume_a3"],
    }
    found: dict[str, float] = {"n_samples": float(kept.sum())}
    warnings: list[str] = []
    for (name, unit), column in quantities.items():
        average = block_average(column[kept])
        found[f"avg_{name}_{unit}"] = average.mean
        if average.error is not None:
            found[f"avg_{name}_error_{unit}"] = average.error
        elif name in {"temperature", "pressure"}:
            warnings.append(f"Too few samples for an error of the average {name}.")
    if parameters.ensemble == "nve" and kept.sum() > 2:  # noqa: PLR2004
        time_ps, total = table["time_ps"][kept], table["total_energy_ev"][kept] / n_atoms
        slope, offset = np.polyfit(time_ps, total, 1)
        found |= {
            "energy_drift_ev_per_atom_ps": float(slope),
            "energy_drift_k_per_ns": float(slope * 1000 / (1.5 * BOLTZMANN_EV_K)),
            "energy_fluctuation_ev_per_atom": float((total - slope * time_ps - offset).std()),
        }
    return found, warnings


def _trajectory_text(run: DynamicsRun, parameters: DynamicsParameters) -> str:
    """Extended XYZ: positions that go on outside the cell, velocities in Å/fs, times in fs."""
    lines = []
    for step, cell, positions, velocities in run.frames:
        vectors = " ".join(f"{value:.10g}" for value in cell.ravel())
        lines += [
            str(len(positions)),
            (
                f'Lattice="{vectors}" Properties=species:S:1:pos:R:3:velocities:R:3 pbc="T T T" '
                f"step={step} time_fs={step * parameters.timestep:.10g} {UNWRAPPED_FLAG}=T"
            ),
        ]
        lines += [
            f"{element} {' '.join(f'{value:.8g}' for value in row)}"
            for element, row in zip(
                run.structure.species, np.hstack([positions, velocities]), strict=True
            )
        ]
    return "\n".join(lines) + "\n"


def _csv(columns: Mapping[str, Sequence[float] | FloatArray]) -> str:
    """A table with one header line."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(
        [f"{float(value):.10g}" for value in row] for row in zip(*columns.values(), strict=True)
    )
    return stream.getvalue()
