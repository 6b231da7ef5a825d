"""Molecular dynamics with ASE's integrators, continued from a checkpoint after a kill.

The total momentum is zero, so temperatures count 3N - 3 degrees of freedom, and the targets of
the thermostats are set accordingly. A checkpoint holds the atoms, the samples and frames so far,
and the state of the random numbers: NVE and NVT go on as if nothing had happened; the Nosé-Hoover
chains of NPT begin anew.
"""

import json
import math
import os
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from nanoos.core.errors import BadCheckpointError, EngineError, InvalidInputError
from nanoos.core.units import BOLTZMANN_EV_K, GPA_PER_EV_A3
from nanoos.engines.analysis import Trajectory, check_pairs
from nanoos.engines.lammps.cell import check_size, repeats_for, supercell
from nanoos.engines.mlip.parameters import DynamicsParameters
from nanoos.potentials import Potential
from nanoos.potentials.base import FloatArray
from nanoos.potentials.relaxation import from_atoms
from nanoos.structures import Structure

Tick = Callable[[float, str], None]

CHECKPOINT_FILE: Final = "checkpoint.npz"
EV_A3_PER_BAR: Final = 1e-4 / GPA_PER_EV_A3
MAX_STORED: Final = 50_000_000
"""Frames times atoms that a run may keep: 4.8 GB of positions and velocities."""
_HOPELESS_K: Final = 1e6
_TELL_EVERY_S: Final = 1.0
SAMPLE_COLUMNS: Final = (
    "step",
    "temperature_k",
    "potential_energy_ev",
    "kinetic_energy_ev",
    "pressure_gpa",
    "volume_a3",
)


@dataclass(slots=True, kw_only=True, eq=False)
class DynamicsRun:
    """Samples and frames of a run.

    Attributes:
        structure: The simulation cell at the start.
        final: The simulation cell at the end.
        samples: :data:`SAMPLE_COLUMNS` of each sample.
        frames: Step, cell (3, 3), positions and velocities (n_atoms, 3) in Å and Å/fs.
        speeds: Step and velocities (n_atoms, 3), Å/fs, often enough for vibrations.
        continued: How often it was taken up from a checkpoint.
    """

    structure: Structure
    final: Structure
    samples: list[tuple[float, ...]] = field(default_factory=list)
    frames: list[tuple[int, FloatArray, FloatArray, FloatArray]] = field(default_factory=list)
    speeds: list[tuple[int, FloatArray]] = field(default_factory=list)
    continued: int = 0

    def column(self, name: str) -> FloatArray:
        """(n_samples,), one of :data:`SAMPLE_COLUMNS`."""
        return np.array([sample[SAMPLE_COLUMNS.index(name)] for sample in self.samples])

    def trajectory(self, timestep_fs: float) -> Trajectory:
        """The frames as arrays; atoms go on outside the cell."""
        return Trajectory(
            species=self.structure.species,
            times_fs=timestep_fs * np.array([step for step, _, _, _ in self.frames]),
            cells=np.array([cell for _, cell, _, _ in self.frames]),
            positions=np.array([positions for _, _, positions, _ in self.frames]),
            velocities=np.array([velocities for _, _, _, velocities in self.frames]),
        )

    def velocity_trajectory(self, timestep_fs: float) -> Trajectory | None:
        """The velocities for vibrations, without positions; None where there are none."""
        if not self.speeds:
            return None
        velocities = np.array([velocities for _, velocities in self.speeds])
        return Trajectory(
            species=self.structure.species,
            times_fs=timestep_fs * np.array([step for step, _ in self.speeds]),
            cells=np.zeros((len(self.speeds), 3, 3)),
            positions=np.broadcast_to(0.0, velocities.shape),
            velocities=velocities,
        )


def simulation_cell(structure: Structure, parameters: DynamicsParameters) -> Structure:
    """The structure repeated as the parameters say.

    Raises:
        InvalidInputError: codes ``one_atom``, ``too_many_atoms``, ``too_many_frames``,
            ``too_many_pairs``.
    """
    repeats = parameters.repeats or repeats_for(structure, parameters.min_length)
    n_atoms = structure.n_sites * math.prod(repeats)
    if n_atoms < 2:  # noqa: PLR2004
        raise InvalidInputError(
            "One atom alone has no temperature.", hint="Set repeats or min_length.", code="one_atom"
        )
    check_size(n_atoms, parameters.max_atoms)
    frames = parameters.num_steps // parameters.dump_every + parameters.velocity_frames
    if n_atoms * frames > MAX_STORED:
        raise InvalidInputError(
            "The trajectory would not fit into memory.",
            hint="Raise dump_interval, or shorten vdos_duration.",
            code="too_many_frames",
        )
    cell = supercell(structure, repeats)
    if "rdf" in parameters.analysis:
        check_pairs(cell, parameters.rdf_cutoff)
    return cell


def molecular_dynamics(
    structure: Structure,
    potential: Potential,
    parameters: DynamicsParameters,
    tick: Tick,
    folder: Path,
) -> DynamicsRun:
    """Run to the last step, from the checkpoint in ``folder`` where there is one.

    The checkpoint of the last step is left there for whoever writes the results down.

    Raises:
        EngineError: code ``exploded``; the atoms flew apart.
        BadCheckpointError: there is one that cannot be read.
    """
    start = simulation_cell(structure, parameters)
    rng = np.random.default_rng(parameters.seed)
    atoms = start.to_ase()
    atoms.calc = potential.ase_calculator()
    run = DynamicsRun(structure=start, final=start)
    path = folder / CHECKPOINT_FILE
    done = _resume(path, run, atoms, rng, parameters)
    if done == 0:
        _set_velocities(atoms, parameters.temperature, rng)
    integrator = _integrator(atoms, parameters, rng)
    try:
        _integrate(
            run, atoms, integrator, rng, parameters=parameters, tick=tick, path=path, done=done
        )
    except InvalidInputError as error:
        raise _exploded(error.message.rstrip(".")) from error
    run.final = from_atoms(atoms, start)
    return run


def _integrate(
    run: DynamicsRun,
    atoms: Any,
    integrator: Any,
    rng: np.random.Generator,
    *,
    parameters: DynamicsParameters,
    tick: Tick,
    path: Path,
    done: int,
) -> None:
    told = time.monotonic()
    if done == 0:
        _sample(run, atoms, 0)
        _frame(run, atoms, 0)
    fast = parameters.velocities_every if parameters.velocity_frames else None
    for step in range(done + 1, parameters.num_steps + 1):
        integrator.step()
        if step % parameters.thermo_every == 0:
            _sample(run, atoms, step)
        if step % parameters.dump_every == 0:
            _frame(run, atoms, step)
        if fast is not None and step % fast == 0 and step >= parameters.velocities_begin:
            run.speeds.append((step, _velocities(atoms)))
        now = time.monotonic()
        saving = step % parameters.checkpoint_every == 0 or step == parameters.num_steps
        telling = now - told > _TELL_EVERY_S or step in {done + 1, parameters.num_steps}
        if not (saving or telling):
            continue
        temperature = _temperature(atoms)
        if not np.isfinite(temperature) or temperature > _HOPELESS_K:
            raise _exploded(f"{temperature:g} K at step {step}")
        if saving:
            _save(path, run, atoms, rng, parameters=parameters, step=step)
        if telling:
            told = now
            tick(
                0.95 * step / parameters.num_steps,
                f"step {step} of {parameters.num_steps}: {temperature:.0f} K",
            )


def _set_velocities(atoms: Any, temperature_k: float, rng: np.random.Generator) -> None:
    """Maxwell-Boltzmann, no total momentum, exactly the temperature asked for."""
    masses = atoms.get_masses()[:, None]
    momenta = rng.standard_normal((len(atoms), 3)) * np.sqrt(
        masses * BOLTZMANN_EV_K * temperature_k
    )
    atoms.set_momenta(momenta - masses * momenta.sum(axis=0) / masses.sum())
    atoms.set_momenta(atoms.get_momenta() * np.sqrt(temperature_k / _temperature(atoms)))


def _temperature(atoms: Any) -> float:
    """K, of 3N - 3 degrees of freedom."""
    return float(2 * atoms.get_kinetic_energy() / ((3 * len(atoms) - 3) * BOLTZMANN_EV_K))


def _integrator(atoms: Any, parameters: DynamicsParameters, rng: np.random.Generator) -> Any:
    from ase import units

    timestep = parameters.timestep * units.fs
    free = (len(atoms) - 1) / len(atoms)
    if parameters.ensemble == "nve":
        from ase.md.verlet import VelocityVerlet

        return VelocityVerlet(atoms, timestep)
    if parameters.ensemble == "nvt":
        from ase.md.bussi import Bussi

        thermostat = Bussi(
            atoms,
            timestep,
            temperature_K=parameters.temperature,
            taut=parameters.damping_fs * units.fs,
            rng=rng,
        )
        # the library counts the centre of mass, which is at rest
        thermostat.ndof = 3 * len(atoms) - 3
        thermostat.target_kinetic_energy *= free
        return thermostat
    from ase.md.nose_hoover_chain import IsotropicMTKNPT

    return IsotropicMTKNPT(
        atoms,
        timestep,
        temperature_K=parameters.temperature * free,
        pressure_au=parameters.pressure * EV_A3_PER_BAR,
        tdamp=parameters.damping_fs * units.fs,
        pdamp=parameters.barostat_fs * units.fs,
    )


def _sample(run: DynamicsRun, atoms: Any, step: int) -> None:
    stress = atoms.get_stress(voigt=False, include_ideal_gas=True)
    run.samples.append(
        (
            float(step),
            _temperature(atoms),
            float(atoms.get_potential_energy()),
            float(atoms.get_kinetic_energy()),
            -float(np.trace(stress)) / 3 * GPA_PER_EV_A3,
            float(atoms.get_volume()),
        )
    )


def _frame(run: DynamicsRun, atoms: Any, step: int) -> None:
    run.frames.append((step, np.array(atoms.cell.array), atoms.get_positions(), _velocities(atoms)))


def _velocities(atoms: Any) -> FloatArray:
    from ase import units

    return np.asarray(atoms.get_velocities() * units.fs)


def _save(
    path: Path,
    run: DynamicsRun,
    atoms: Any,
    rng: np.random.Generator,
    *,
    parameters: DynamicsParameters,
    step: int,
) -> None:
    """Write the checkpoint; the old one stays until the new one is whole."""
    scratch = path.with_name(f".{path.name}.part")
    with scratch.open("wb") as stream:
        np.savez(
            stream,
            step=step,
            continued=run.continued,
            parameters=json.dumps(parameters.model_dump(mode="json"), sort_keys=True),
            structure=run.structure.content_hash,
            random=json.dumps(rng.bit_generator.state),
            cell=atoms.cell.array,
            positions=atoms.get_positions(),
            momenta=atoms.get_momenta(),
            samples=np.array(run.samples),
            frame_steps=np.array([frame[0] for frame in run.frames]),
            frame_cells=np.array([frame[1] for frame in run.frames]),
            frame_positions=np.array([frame[2] for frame in run.frames]),
            frame_velocities=np.array([frame[3] for frame in run.frames]),
            speed_steps=np.array([step for step, _ in run.speeds]),
            speeds=np.array([speeds for _, speeds in run.speeds]),
        )
        stream.flush()
        os.fsync(stream.fileno())
    scratch.replace(path)


def _resume(
    path: Path,
    run: DynamicsRun,
    atoms: Any,
    rng: np.random.Generator,
    parameters: DynamicsParameters,
) -> int:
    """Take up the checkpoint; the step it is of, 0 where there is none that fits."""
    asked = json.dumps(parameters.model_dump(mode="json"), sort_keys=True)
    try:
        with np.load(path, allow_pickle=False) as stored:
            of_this = str(stored["structure"]) == run.structure.content_hash
            if str(stored["parameters"]) != asked or not of_this:
                return 0
            atoms.set_cell(stored["cell"])
            atoms.set_positions(stored["positions"])
            atoms.set_momenta(stored["momenta"])
            rng.bit_generator.state = json.loads(str(stored["random"]))
            run.samples = [tuple(row) for row in stored["samples"].tolist()]
            run.frames = list(
                zip(
                    stored["frame_steps"].tolist(),
                    stored["frame_cells"],
                    stored["frame_positions"],
                    stored["frame_velocities"],
                    strict=True,
                )
            )
            run.speeds = list(zip(stored["speed_steps"].tolist(), stored["speeds"], strict=True))
            done = int(stored["step"])
            run.continued = int(stored["continued"]) + (done < parameters.num_steps)
            return done
    except FileNotFoundError:
        return 0
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise BadCheckpointError(
            f"The checkpoint cannot be read: {error}.",
            hint=f"Remove {path.name} to begin anew.",
        ) from error


def _exploded(what: str) -> EngineError:
    return EngineError(
        f"The atoms flew apart: {what}.",
        hint="Use a shorter timestep, relax the structure first, or another potential.",
        code="exploded",
    )
