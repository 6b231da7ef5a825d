"""The output folder of a run: tables, trajectory, plots, and the result last."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from nanoos.core.errors import EngineError
from nanoos.core.records import EngineResult, Provenance, triples
from nanoos.engines.analysis import Trajectory, analyze
from nanoos.engines.analysis.plots import time_series
from nanoos.engines.analysis.report import write_columns
from nanoos.engines.base import OUTPUT_DIR, RESULT_FILE, write_result, write_text_atomically
from nanoos.engines.lammps.averages import averages
from nanoos.engines.lammps.cell import LammpsCell
from nanoos.engines.lammps.conventions import UnitSystem
from nanoos.engines.lammps.dumps import Frame, read_last, read_parts
from nanoos.engines.lammps.following import TRAJECTORY_FILE, TrajectoryFollower
from nanoos.engines.lammps.logs import ThermoReader, ThermoTable, joined
from nanoos.engines.lammps.parameters import (
    DynamicsParameters,
    LammpsParameters,
    MinimizeParameters,
)
from nanoos.engines.lammps.script import FINAL_DUMP
from nanoos.structures import Structure

THERMO_FILE: Final = "thermo.csv"
MAX_SERIES: Final = 2000
"""Samples of a series kept in the result; all are in ``thermo.csv``."""
_QUIET_WARNINGS: Final = (
    "Triclinic box skew is large",
    "Using 'neigh_modify delay 0",
    "No fixes with time integration",
    "extra global DOFs will be included",
)
_PRESSURE_TOLERANCE_GPA: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What LAMMPS wrote, still in its units.

    Attributes:
        folder: Output folder.
        structure: The simulation cell that it started from.
        cell: Its cell, with the way back to the structure's own frame.
        units: Unit system of the script.
        parameters: Of the workflow.
        parts: What each log said, in order.
        follower: Holds the frames.
    """

    folder: Path
    structure: Structure
    cell: LammpsCell
    units: UnitSystem
    parameters: LammpsParameters
    parts: tuple[ThermoReader, ...]
    follower: TrajectoryFollower


@dataclass(slots=True)
class Findings:
    """What goes into the result.

    Attributes:
        values: Name with unit to number.
        series: Name with unit to numbers.
        labels: Name to text.
        warnings: Sentences.
        files: Names of files in the output folder.
    """

    values: dict[str, float] = field(default_factory=dict)
    series: dict[str, tuple[float, ...]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


def collect(
    written: Written,
    provenance: Provenance,
    *,
    labels: Mapping[str, str],
    kept_files: Sequence[str],
    wall_time_s: float,
) -> EngineResult:
    """Read what LAMMPS wrote, write ours beside it; ``result.json`` comes last.

    Raises:
        EngineError: the run is not whole, or a minimisation did not converge.
    """
    parameters = written.parameters
    every = parameters.thermo_every if isinstance(parameters, DynamicsParameters) else 1
    table = joined(written.parts, every=every)
    if len(table) == 0:
        raise EngineError("The run left no samples.", hint="See its log.", code="no_result")
    final = read_last(written.folder / FINAL_DUMP)
    if final.step != int(table.last["step"]):
        raise EngineError(
            f"The run ended at step {int(table.last['step'])}, its last frame is of {final.step}.",
            hint="See its log.",
            code="no_result",
        )
    structure = _structure(written, final)
    forces = written.cell.back(final.vectors("fx", "fy", "fz")) * written.units.energy_ev
    stress = _stress(written, table.last)
    findings = Findings(labels=dict(labels))
    _final_values(findings, written, table, structure, forces)
    _series(findings, written, table)
    for part in written.parts:
        findings.warnings += [
            f"LAMMPS: {text}"
            for text in part.warnings
            if not any(quiet in text for quiet in _QUIET_WARNINGS)
            and f"LAMMPS: {text}" not in findings.warnings
        ]
    if isinstance(written.parameters, DynamicsParameters):
        _dynamics(findings, written, table, written.parameters)
    else:
        _statics(findings, written, forces, stress)
    _write_final(written.folder, structure, forces, findings)
    files = [*findings.files, *kept_files, RESULT_FILE]
    result = EngineResult(
        success=True,
        workflow=written.parameters.workflow,
        energy_ev=table.last["pe"] * written.units.energy_ev,
        values=findings.values,
        structure=structure,
        provenance=provenance,
        forces=triples(forces.tolist()),
        stress=triples(stress.tolist()),
        series=findings.series,
        labels=findings.labels,
        warnings=tuple(findings.warnings),
        files=tuple(f"{OUTPUT_DIR}/{name}" for name in files),
        wall_time_s=wall_time_s,
    )
    write_result(result, written.folder)
    return result


def _structure(written: Written, frame: Frame) -> Structure:
    lattice = written.cell.back(frame.lattice)
    return Structure(
        lattice=lattice,
        species=written.structure.species,
        frac_coords=frame.positions @ np.linalg.inv(frame.lattice),
        charges=written.structure.charges,
        spins=written.structure.spins,
        label=written.structure.label,
    )


def _stress(written: Written, last: Mapping[str, float]) -> Any:
    """(3, 3), eV/Å^3, tension positive, in the structure's own frame; moving atoms press too."""
    xx, yy, zz, xy, xz, yz = (last[f"p{axes}"] for axes in ("xx", "yy", "zz", "xy", "xz", "yz"))
    pressure = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return written.cell.tensor_back(-pressure * written.units.pressure_ev_a3)


def _final_values(
    findings: Findings, written: Written, table: ThermoTable, structure: Structure, forces: Any
) -> None:
    last, n_atoms = table.last, structure.n_sites
    findings.values |= {
        "energy_ev_per_atom": last["pe"] * written.units.energy_ev / n_atoms,
        "volume_a3_per_atom": last["vol"] / n_atoms,
        "pressure_gpa": last["press"] * written.units.pressure_gpa,
        "max_force_ev_a": float(np.linalg.norm(forces, axis=1).max()),
        "n_atoms": float(n_atoms),
    }


def _series(findings: Findings, written: Written, table: ThermoTable) -> None:
    units = written.units
    columns = {
        "step": table["step"],
        "temperature_k": table["temp"],
        "potential_energy_ev": table["pe"] * units.energy_ev,
        "kinetic_energy_ev": table["ke"] * units.energy_ev,
        "total_energy_ev": table["etotal"] * units.energy_ev,
        "pressure_gpa": table["press"] * units.pressure_gpa,
        "volume_a3": table["vol"],
    }
    lengths = {name: table[name] for name in ("lx", "ly", "lz", "xy", "xz", "yz")}
    pressures = {
        f"{name}_gpa": table[name] * units.pressure_gpa
        for name in ("pxx", "pyy", "pzz", "pxy", "pxz", "pyz")
    }
    if isinstance(written.parameters, DynamicsParameters):
        time_ps = table["step"] * written.parameters.timestep / 1000
        columns = {"step": columns.pop("step"), "time_ps": time_ps, **columns}
    full = {**columns, **pressures, **{f"{name}_a": v for name, v in lengths.items()}}
    write_columns(written.folder / THERMO_FILE, full)
    findings.files.append(THERMO_FILE)
    every = -(-len(table) // MAX_SERIES)
    findings.series = {
        name: tuple(float(v) for v in values[::every]) for name, values in columns.items()
    }


def _statics(findings: Findings, written: Written, forces: Any, stress: Any) -> None:
    """A minimisation that did not reach what was asked is a failure, never a result."""
    parameters = written.parameters
    if not isinstance(parameters, MinimizeParameters):
        return
    steps = sum(1 for part in written.parts for _ in part.stopping_criteria)
    findings.values["n_steps"] = float(written.parts[-1].step)
    findings.values["n_cycles"] = float(steps)
    findings.values["volume_change"] = (
        findings.values["volume_a3_per_atom"] * written.structure.n_sites
    ) / written.structure.volume - 1
    largest = float(np.linalg.norm(forces, axis=1).max())
    residual = 0.0
    if parameters.relax_cell != "none":
        residual = _residual_gpa(parameters, written, stress)
        findings.values["residual_stress_gpa"] = residual
    if largest > parameters.fmax or residual > _PRESSURE_TOLERANCE_GPA:
        reason = written.parts[-1].stopping_criteria[-1:] or ["unknown"]
        raise EngineError(
            f"Not converged: force {largest:.2g} eV/Å left (asked: {parameters.fmax:g}), "
            f"stress {residual:.2g} GPa; LAMMPS stopped for: {reason[0]}.",
            hint="Raise max_steps or fmax, or start nearer to the minimum.",
            details={"max_force_ev_a": largest, "residual_stress_gpa": residual},
            code="not_converged",
        )
    findings.files.append(TRAJECTORY_FILE)


def _residual_gpa(parameters: MinimizeParameters, written: Written, stress: Any) -> float:
    """What is left of the stress in the freedoms of the cell, GPa."""
    from nanoos.core.units import GPA_PER_EV_A3

    turned = written.cell.rotation.T @ stress @ written.cell.rotation * GPA_PER_EV_A3
    excess = turned + np.eye(3) * parameters.pressure / 1e4
    if parameters.relax_cell == "isotropic":
        return abs(float(np.trace(excess))) / 3
    if parameters.relax_cell == "anisotropic":
        return float(np.abs(np.diag(excess)).max())
    return float(np.abs(excess).max())


def _dynamics(
    findings: Findings, written: Written, table: ThermoTable, parameters: DynamicsParameters
) -> None:
    findings.values |= averages(table, written.units, parameters, written.structure)
    findings.values["simulated_time_ps"] = table.last["step"] * parameters.timestep / 1000
    for name in ("temperature", "pressure"):
        unit = {"temperature": "k", "pressure": "gpa"}[name]
        if f"avg_{name}_error_{unit}" not in findings.values:
            findings.warnings.append(f"Too few samples for an error of the average {name}.")
    start_fs = parameters.equilibration * parameters.timestep
    kept = written.follower.trajectory().after(start_fs)
    findings.files.append(TRAJECTORY_FILE)
    picture = time_series(
        table["step"] * parameters.timestep / 1000,
        {
            "temperature, K": table["temp"],
            "potential energy, eV/atom": table["pe"]
            * written.units.energy_ev
            / written.structure.n_sites,
            "pressure, GPa": table["press"] * written.units.pressure_gpa,
        },
        x="time, ps",
        excluded_until=start_fs / 1000,
    )
    (written.folder / "thermo.svg").write_text(picture, encoding="utf-8")
    findings.files.append("thermo.svg")
    if not parameters.analysis:
        return
    velocities = _velocities(written, parameters) if "vdos" in parameters.analysis else None
    counts = written.follower.counts
    report = analyze(
        kept,
        written.folder,
        which=parameters.analysis,
        velocities=velocities,
        distribution=counts.distribution() if counts is not None and counts.n_frames else None,
        r_max_a=parameters.rdf_cutoff,
    )
    findings.values |= report.values
    findings.warnings += report.warnings
    findings.files += report.files


def _paths(folder: Path, stem: str) -> list[Path]:
    """``STEM.0.lammpstrj``, ``STEM.1.lammpstrj``, ... in the order of their parts."""
    found = folder.glob(f"{stem}.*.lammpstrj")
    return sorted(found, key=lambda path: int(path.name.split(".")[1]))


def _velocities(written: Written, parameters: DynamicsParameters) -> Trajectory | None:
    frames = read_parts(_paths(written.folder, "velocities"))
    if not frames:
        return None
    speeds = np.array([frame.vectors("vx", "vy", "vz") for frame in frames])
    return Trajectory(
        species=written.structure.species,
        times_fs=np.array([frame.step for frame in frames]) * parameters.timestep,
        cells=np.array([frame.lattice for frame in frames]),
        positions=np.broadcast_to(0.0, speeds.shape),
        velocities=speeds * written.units.velocity_a_fs,
    )


def _write_final(folder: Path, structure: Structure, forces: Any, findings: Findings) -> None:
    from ase.io.cif import write_cif

    cif = io.BytesIO()
    write_cif(cif, [structure.to_ase()])
    write_text_atomically(folder / "final.cif", cif.getvalue().decode())
    energy = findings.values["energy_ev_per_atom"] * structure.n_sites
    vectors = " ".join(f"{value:.12g}" for value in structure.lattice.ravel())
    lines = [
        str(structure.n_sites),
        (
            f'Lattice="{vectors}" Properties=species:S:1:pos:R:3:forces:R:3 pbc="T T T" '
            f"energy={energy:.12g}"
        ),
    ]
    for element, row in zip(
        structure.species, np.hstack([structure.cart_coords, forces]), strict=True
    ):
        lines.append(f"{element} {' '.join(f'{value:.10g}' for value in row)}")
    write_text_atomically(folder / "final.extxyz", "\n".join(lines) + "\n")
    findings.files += ["final.cif", "final.extxyz"]
