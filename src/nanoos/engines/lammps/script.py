"""The input files of LAMMPS: ``in.lammps`` and ``structure.data``."""

from typing import Final

import numpy as np

from nanoos import __version__
from nanoos.engines.lammps.cell import LammpsCell
from nanoos.engines.lammps.interactions import Interactions
from nanoos.engines.lammps.parameters import (
    DynamicsParameters,
    LammpsParameters,
    MinimizeParameters,
    NPTParameters,
)
from nanoos.engines.lammps.stages import Stage, stages
from nanoos.structures import Structure
from nanoos.structures.elements import ATOMIC_MASSES

SCRIPT_FILE: Final = "in.lammps"
DATA_FILE: Final = "structure.data"
FINAL_DUMP: Final = "final.dump"
EXTERNAL_FIX: Final = "potential"
"""Id of the fix that asks a universal potential."""

THERMO_COLUMNS: Final = (
    *("step", "temp", "pe", "ke", "etotal", "press", "vol"),
    *("pxx", "pyy", "pzz", "pxy", "pxz", "pyz"),
    *("lx", "ly", "lz", "xy", "xz", "yz"),
)
DUMP_COLUMNS: Final = ("id", "xu", "yu", "zu", "vx", "vy", "vz", "fx", "fy", "fz")
MIN_CYCLES: Final = 4
"""A minimisation of the cell is begun again so often, from its new reference shape, with the
iterations that are left."""
_MINIMIZE_EVERY: Final = 10
_SKIN_A: Final = 2.0


def data_file(
    structure: Structure, cell: LammpsCell, potential: Interactions, *, tilted: bool
) -> str:
    """``structure.data``: masses, types and positions, atoms wrapped into the cell.

    Args:
        structure: The simulation cell.
        cell: Its cell in LAMMPS's frame.
        potential: Gives the order of the types, and whether there are charges.
        tilted: Write tilts even where all are zero, so that they may change.
    """
    lx, ly, lz = np.diag(cell.lattice)
    lines = [
        f"# {structure.formula}, {structure.n_sites} atoms, written by NANO-OS {__version__}",
        "",
        f"{structure.n_sites} atoms",
        f"{len(potential.types)} atom types",
        "",
        f"0.0 {lx:.15g} xlo xhi",
        f"0.0 {ly:.15g} ylo yhi",
        f"0.0 {lz:.15g} zlo zhi",
    ]
    if tilted or cell.is_triclinic:
        lines.append(" ".join(f"{tilt:.15g}" for tilt in cell.tilts) + " xy xz yz")
    lines += ["", "Masses", ""]
    lines += [
        f"{i} {ATOMIC_MASSES[element]:.8g}  # {element}"
        for i, element in enumerate(potential.types, start=1)
    ]
    lines += ["", f"Atoms  # {_atom_style(potential)}", ""]
    number = {element: i for i, element in enumerate(potential.types, start=1)}
    wrapped = structure.frac_coords - np.floor(structure.frac_coords)
    charges = structure.charges or (0.0,) * structure.n_sites
    for i, (element, position, charge) in enumerate(
        zip(structure.species, wrapped @ cell.lattice, charges, strict=True), start=1
    ):
        x, y, z = position
        middle = f"{charge:.10g} " if potential.charges else ""
        lines.append(f"{i} {number[element]} {middle}{x:.15g} {y:.15g} {z:.15g}")
    return "\n".join(lines) + "\n"


def input_script(
    structure: Structure, potential: Interactions, parameters: LammpsParameters
) -> str:
    """``in.lammps``: the whole run, from the structure."""
    head = [
        (
            f"# {structure.formula}, {structure.n_sites} atoms, {parameters.workflow} "
            f"with {potential.name}, written by NANO-OS {__version__}"
        ),
        f"# Run it by hand, in this folder: {_by_hand(potential)}",
    ]
    if potential.citation:
        head.append(f"# Potential: {potential.citation}")
    setting = [
        *_variables(part=0),
        *_system(potential),
        f"read_data {_input(DATA_FILE)}",
        *_potential(potential, parameters),
    ]
    if isinstance(parameters, DynamicsParameters):
        action = _dynamics(potential, parameters, part=0, from_step=0)
    elif isinstance(parameters, MinimizeParameters):
        action = _minimization(potential, parameters)
    else:
        action = ["run 0"]
    return "\n".join([*head, "", *setting, "", *_output(parameters), *action, *_end()]) + "\n"


def resume_script(
    potential: Interactions, parameters: DynamicsParameters, *, restart: str, step: int, part: int
) -> str:
    """The rest of an interrupted run.

    Args:
        potential: As before.
        parameters: As before.
        restart: Name of the restart file.
        step: Step that it was written at.
        part: How often the run was taken up again, from 1.
    """
    head = [f"# Goes on from step {step}, written by NANO-OS {__version__}", ""]
    setting = [
        *_variables(part=part),
        *_system(potential),
        f"read_restart {restart}",
        *_potential(potential, parameters),
    ]
    action = _dynamics(potential, parameters, part=part, from_step=step)
    return "\n".join([*head, *setting, "", *_output(parameters), *action, *_end()]) + "\n"


def _input(name: str) -> str:
    return f"${{input}}/{name}"


def _by_hand(potential: Interactions) -> str:
    if potential.universal:
        return f"python -m nanoos.engines.lammps.external {potential.universal} {SCRIPT_FILE}"
    return f"lmp -in {SCRIPT_FILE}"


def _variables(*, part: int) -> list[str]:
    return ["variable input index .", f"variable part index {part}", "log log.${part}.lammps"]


def _atom_style(potential: Interactions) -> str:
    return "charge" if potential.charges else "atomic"


def _system(potential: Interactions) -> list[str]:
    return [
        f"units {potential.units.name}",
        *([] if potential.newton else ["newton off"]),
        f"atom_style {_atom_style(potential)}",
        "atom_modify map array",
        "boundary p p p",
        "box tilt large",
    ]


def _potential(potential: Interactions, parameters: LammpsParameters) -> list[str]:
    lines = [
        f"pair_style {potential.pair_style}",
        *(f"pair_coeff {words}" for words in potential.coefficients),
        f"neighbor {_SKIN_A:g} bin",
        "neigh_modify every 1 delay 0 check yes",
        *(f"fix {words}" for words in potential.fixes),
    ]
    if potential.universal:
        lines += [
            f"fix {EXTERNAL_FIX} all external pf/callback 1 1",
            f"fix_modify {EXTERNAL_FIX} energy yes virial yes",
        ]
    if isinstance(parameters, DynamicsParameters):
        lines.append(f"timestep {parameters.timestep / potential.units.time_fs:.10g}")
    return lines


def _output(parameters: LammpsParameters) -> list[str]:
    every = {"thermo": 1, "dump": 1}
    if isinstance(parameters, DynamicsParameters):
        every = {"thermo": parameters.thermo_every, "dump": parameters.dump_every}
    elif isinstance(parameters, MinimizeParameters):
        every = {"thermo": 1, "dump": _MINIMIZE_EVERY}
    columns = " ".join(DUMP_COLUMNS)
    lines = [
        f"thermo_style custom {' '.join(THERMO_COLUMNS)}",
        "thermo_modify line one format float %.12g norm no flush yes lost error",
        f"thermo {every['thermo']}",
    ]
    if parameters.workflow != "SINGLE_POINT_LAMMPS":
        lines += [
            f"dump trajectory all custom {every['dump']} trajectory.${{part}}.lammpstrj {columns}",
            "dump_modify trajectory sort id format float %.9g flush yes",
        ]
    return lines


def _dynamics(
    potential: Interactions, parameters: DynamicsParameters, *, part: int, from_step: int
) -> list[str]:
    lines = [f"restart {parameters.restart_every} restart.*.lammps"]
    if from_step == 0:
        lines.append(
            f"velocity all create {parameters.temperature:g} {parameters.seed} "
            "mom yes rot no dist gaussian"
        )
    fixed: tuple[str, ...] = ()
    writing = False
    for stage in stages(parameters, potential.units, part=part):
        if stage.end <= from_step:
            continue
        if stage.fixes != fixed:
            lines += ["", f"# {stage.name}"]
            lines += [f"unfix {words.split()[0]}" for words in fixed]
            lines += [f"fix {words}" for words in stage.fixes]
            fixed = stage.fixes
        if stage.writes_velocities and not writing:
            lines += _velocity_dump(parameters)
            writing = True
        lines.append(_run(stage))
    return lines


def _run(stage: Stage) -> str:
    """``start`` and ``stop`` keep a ramp of temperature right where it is cut or taken up again."""
    start, stop = stage.ramp or (stage.begin, stage.end)
    return f"run {stage.end} upto start {start} stop {stop}"


def _velocity_dump(parameters: DynamicsParameters) -> list[str]:
    return [
        (
            f"dump velocities all custom {parameters.velocities_every} "
            "velocities.${part}.lammpstrj id vx vy vz"
        ),
        "dump_modify velocities sort id format float %.9g",
    ]


def _minimization(potential: Interactions, parameters: MinimizeParameters) -> list[str]:
    force = 0.5 * parameters.fmax / potential.units.energy_ev
    steps = parameters.max_steps
    lines = ["min_style cg", "min_modify norm inf dmax 0.1"]
    if parameters.relax_cell == "none":
        return [*lines, f"minimize 0.0 {force:.6g} {steps} {10 * steps}"]
    left = f"({steps}-step)"
    coupling = {"isotropic": "iso", "anisotropic": "aniso", "full": "tri"}[parameters.relax_cell]
    pressure = parameters.pressure / potential.units.pressure_bar
    for _ in range(MIN_CYCLES):
        lines += [
            f"fix cell all box/relax {coupling} {pressure:.10g} vmax 0.002",
            f"minimize 0.0 {force:.6g} ${left} $(10*{left})",
            "unfix cell",
        ]
    return [*lines, "run 0"]


def _end() -> list[str]:
    return [
        "",
        (
            f"write_dump all custom {FINAL_DUMP} {' '.join(DUMP_COLUMNS)} "
            "modify sort id format float %.15g"
        ),
    ]


def needs_tilt(parameters: LammpsParameters) -> bool:
    """Whether the angles of the cell may change."""
    if isinstance(parameters, NPTParameters):
        return parameters.cell == "full"
    return isinstance(parameters, MinimizeParameters) and parameters.relax_cell == "full"
