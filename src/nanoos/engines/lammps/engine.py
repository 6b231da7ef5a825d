"""The engine that runs LAMMPS in a process of its own."""

import json
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from nanoos import __version__
from nanoos.core.errors import EngineError, InvalidInputError, UnavailableError
from nanoos.core.records import EngineResult, Provenance
from nanoos.engines.base import (
    RESULT_FILE,
    Engine,
    ExecuteOutcome,
    Progress,
    hashes,
    read_input,
    write_input,
    write_text_atomically,
)
from nanoos.engines.lammps import output
from nanoos.engines.lammps.catalogue import sha256
from nanoos.engines.lammps.cell import LammpsCell, lammps_cell, repeats_for, supercell
from nanoos.engines.lammps.cost import estimate_seconds
from nanoos.engines.lammps.following import TrajectoryFollower
from nanoos.engines.lammps.interactions import Interactions, interactions
from nanoos.engines.lammps.logs import ThermoReader, read_log
from nanoos.engines.lammps.parameters import (
    WORKFLOW_PARAMETERS,
    DynamicsParameters,
    LammpsParameters,
    MinimizeParameters,
)
from nanoos.engines.lammps.program import (
    INSTALL_HINT,
    LammpsProgram,
    find_program,
    mpi_library_dir,
    package_dir,
)
from nanoos.engines.lammps.script import (
    DATA_FILE,
    SCRIPT_FILE,
    data_file,
    input_script,
    needs_tilt,
    resume_script,
)
from nanoos.engines.lammps.supervision import Attempt, restart_files, supervise
from nanoos.structures import Structure

STARTED_FILE: Final = "started.json"
"""Hashes of the input that an output folder was begun with."""

_INPUT_LINK: Final = "input"
_MAX_FRAME_VALUES: Final = 1_000_000_000
_MIN_MOVING: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """What a run is about, worked out from the input."""

    structure: Structure
    cell: LammpsCell
    potential: Interactions
    parameters: LammpsParameters


class LammpsEngine(Engine[LammpsParameters]):
    """Molecular dynamics and minimisation by LAMMPS.

    The input folder can be run by hand: ``lmp -in in.lammps`` there. A run that was killed goes
    on from its last restart file when it is executed again with the same input.
    """

    name: ClassVar[str] = "LAMMPS"
    workflows: ClassVar[tuple[str, ...]] = tuple(WORKFLOW_PARAMETERS)
    default_workflow: ClassVar[str] = "MD_NVT_LAMMPS"
    queue: ClassVar[str] = "md"

    @property
    def version(self) -> str:
        """The version of this package; that of LAMMPS stands in the result."""
        return __version__

    def parameters_type(self, workflow: str) -> type[LammpsParameters]:
        """The closed parameter model of a workflow."""
        return WORKFLOW_PARAMETERS[workflow]

    def validate(self, structure: Structure, parameters: Mapping[str, Any]) -> LammpsParameters:
        """Check parameters, elements, size, potential and whether LAMMPS has its style.

        Raises:
            InvalidInputError: as :meth:`Engine.validate`.
            NotFoundError: no such potential.
            UnavailableError: no LAMMPS here, or it lacks the pair style.
        """
        return self._case(structure, parameters).parameters

    def _case(self, structure: Structure, parameters: Mapping[str, Any]) -> _Case:
        checked = self.validate_parameters(parameters)
        structure.validated()
        potential = interactions(structure.species, checked)
        program = find_program()
        for style in potential.styles:
            program.require("pair", style)
        if potential.universal and package_dir() is None:
            raise UnavailableError(
                f"{potential.name} needs LAMMPS as a library, which is not installed.",
                hint=INSTALL_HINT,
                code="no_lammps",
            )
        repeats = checked.repeats or repeats_for(structure, checked.min_length)
        cell = supercell(structure, repeats)
        if isinstance(checked, DynamicsParameters):
            _refuse_absurd(cell, potential, checked)
        return _Case(
            structure=cell,
            cell=lammps_cell(cell.lattice),
            potential=potential,
            parameters=checked,
        )

    def estimate_seconds(self, structure: Structure, parameters: Mapping[str, Any]) -> float:
        """Rough cost on one thread, s."""
        checked = self.validate_parameters(parameters)
        repeats = checked.repeats or repeats_for(structure, checked.min_length)
        n_atoms = structure.n_sites * repeats[0] * repeats[1] * repeats[2]
        return estimate_seconds(checked, n_atoms)

    def prepare_input(
        self, structure: Structure, parameters: Mapping[str, Any], work_dir: Path
    ) -> Path:
        """Write ``in.lammps``, ``structure.data``, and the potential's files beside them."""
        case = self._case(structure, parameters)
        input_dir = write_input(structure, case.parameters, work_dir)
        for file in case.potential.files:
            if not (input_dir / file.name).is_file() or sha256(input_dir / file.name) != sha256(
                file
            ):
                shutil.copyfile(file, input_dir / file.name)
        text = data_file(
            case.structure, case.cell, case.potential, tilted=needs_tilt(case.parameters)
        )
        write_text_atomically(input_dir / DATA_FILE, text)
        script = input_script(case.structure, case.potential, case.parameters)
        write_text_atomically(input_dir / SCRIPT_FILE, script)
        return input_dir

    def execute(
        self,
        input_dir: Path,
        output_dir: Path,
        timeout: float = 3600,
        progress: Progress | None = None,
    ) -> ExecuteOutcome:
        """Run LAMMPS in the output folder; see :class:`Engine`.

        Raises:
            TransientError: killed from outside, or the disk is full: worth another attempt,
                which goes on from the last restart file.
        """
        started = time.monotonic()
        structure, given = read_input(input_dir)
        case = self._case(structure, given)
        try:
            parts, follower = self._run(
                case,
                (input_dir, output_dir),
                started=started,
                timeout=timeout,
                progress=progress,
            )
            written = output.Written(
                folder=output_dir,
                structure=case.structure,
                cell=case.cell,
                units=case.potential.units,
                parameters=case.parameters,
                parts=tuple(parts),
                follower=follower,
            )
            result = self._collect(case, input_dir, written, started)
        except EngineError as error:
            return ExecuteOutcome(
                success=False,
                wall_time_s=time.monotonic() - started,
                message=error.message,
                error=error,
            )
        if progress is not None:
            progress(1.0, f"{result.values['energy_ev_per_atom']:.5f} eV/atom")
        _remove_scratch(output_dir)
        return ExecuteOutcome(success=True, wall_time_s=time.monotonic() - started)

    def _run(
        self,
        case: _Case,
        folders: tuple[Path, Path],
        *,
        started: float,
        timeout: float,
        progress: Progress | None,
    ) -> tuple[list[ThermoReader], TrajectoryFollower]:
        """Run to the end, from where an earlier attempt was; logs and frames of all parts."""
        program = find_program()
        input_dir, output_dir = folders
        _begin(input_dir, output_dir)
        if progress is not None:
            progress(0.0, f"LAMMPS {program.version}: {case.structure.n_sites} atoms")
        while True:
            part, step, script = _next_part(case, output_dir)
            follower = _follower(case, output_dir, part, step)
            attempt = Attempt(
                command=_command(program, case.potential, script, part),
                environment=_environment(program, case.potential),
                folder=output_dir,
                log=output_dir / f"log.{part}.lammps",
                total_steps=_total_steps(case.parameters),
                first_step=step,
                deadline=started + timeout,
                timeout_s=timeout,
                label="step" if isinstance(case.parameters, DynamicsParameters) else "iteration",
                idle=_Meanwhile(follower),
            )
            try:
                supervise(attempt, progress)
            except EngineError as error:
                broken = step > 0 and "restart" in error.message.lower()
                if not broken:
                    raise
                _forget_part(output_dir, part, step)  # half written when it was killed
                continue
            return [read_log(output_dir / f"log.{i}.lammps") for i in range(part + 1)], follower

    def _collect(
        self, case: _Case, input_dir: Path, written: output.Written, started: float
    ) -> EngineResult:
        program = find_program()
        n_parts = len(written.parts)
        logs = [f"log.{i}.lammps" for i in range(n_parts)]
        logs += [f"resume.{i}.lammps" for i in range(1, n_parts)]
        return output.collect(
            written,
            _provenance(self, case, program, input_dir),
            labels=_labels(case, program, n_parts),
            kept_files=logs,
            wall_time_s=time.monotonic() - started,
        )


def _refuse_absurd(
    cell: Structure, potential: Interactions, parameters: DynamicsParameters
) -> None:
    """What could only fail later, after it was paid for."""
    if cell.n_sites < _MIN_MOVING:
        raise InvalidInputError(
            "One atom alone has no temperature.", hint="Set repeats or min_length.", code="one_atom"
        )
    values = 9 * cell.n_sites * (parameters.num_steps // parameters.dump_every + 1)
    if values > _MAX_FRAME_VALUES:
        raise InvalidInputError(
            f"The trajectory would hold {values:.1e} numbers.",
            hint="Raise dump_interval, or take a smaller cell.",
            code="too_many_frames",
        )
    if parameters.timestep > potential.max_timestep_fs:
        raise InvalidInputError(
            f"{potential.name} is not stable at {parameters.timestep:g} fs.",
            hint=f"Set timestep to {potential.max_timestep_fs / 2:g} or less.",
            code="invalid_parameter",
        )


def _total_steps(parameters: LammpsParameters) -> int:
    if isinstance(parameters, DynamicsParameters):
        return parameters.num_steps
    return parameters.max_steps if isinstance(parameters, MinimizeParameters) else 1


def _command(
    program: LammpsProgram, potential: Interactions, script: str, part: int
) -> tuple[str, ...]:
    if potential.universal is None:
        variables = ("-var", "input", _INPUT_LINK, "-var", "part", str(part))
        return (*program.command, "-in", script, "-screen", "none", "-log", "none", *variables)
    from nanoos.potentials.installed_weights import weights_folder
    from nanoos.potentials.runtime import default_device

    return (
        *(sys.executable, "-m", "nanoos.engines.lammps.external", potential.universal, script),
        *("--var", "input", _INPUT_LINK, "--var", "part", str(part)),
        *("--device", default_device(), "--weights", str(weights_folder().absolute())),
    )


def _environment(program: LammpsProgram, potential: Interactions) -> dict[str, str]:
    environment = program.environment()
    if potential.universal is not None:
        from nanoos.core.folders import data_dir
        from nanoos.engines.lammps.program import child_environment

        environment = child_environment(mpi_library_dir())
        environment["NANO_OS_DATA_DIR"] = str(data_dir())
    return environment


class _Meanwhile:
    """What is done while LAMMPS runs: frames are taken up, late modules are loaded."""

    def __init__(self, follower: TrajectoryFollower) -> None:
        self._follower = follower
        self._loaded = False

    def __call__(self, reader: ThermoReader, finished: bool) -> None:  # noqa: FBT001
        """Work on what there is."""
        if not self._loaded and not finished:
            self._loaded = True
            with suppress(ImportError):
                import pymatgen.optimization.neighbors  # noqa: F401
        energies = {int(row[0]): row[2] for row in reader.rows}
        self._follower.poll(energies, last_step=reader.step, finished=finished)


def _follower(case: _Case, output_dir: Path, part: int, step: int) -> TrajectoryFollower:
    follower = TrajectoryFollower(
        output_dir,
        case.structure.species,
        cell=case.cell,
        units=case.potential.units,
        parameters=case.parameters,
    )
    paths = [output_dir / f"trajectory.{i}.lammpstrj" for i in range(part + 1)]
    follower.begin(paths[:-1], paths[-1], step=step)
    return follower


# -- the output folder ---------------------------------------------------------------------------


def _begin(input_dir: Path, output_dir: Path) -> None:
    """Make the folder; what another input or a finished run left there is removed."""
    output_dir.mkdir(parents=True, exist_ok=True)
    wanted = json.dumps(hashes(input_dir), indent=1)
    mark = output_dir / STARTED_FILE
    same = False
    with suppress(FileNotFoundError):
        same = mark.read_text(encoding="utf-8") == wanted
    if not same or (output_dir / RESULT_FILE).exists():
        for pattern in ("*.lammps", "*.lammpstrj", RESULT_FILE, "final.dump", "screen.txt"):
            for path in output_dir.glob(pattern):
                path.unlink()
        write_text_atomically(mark, wanted)
    link = output_dir / _INPUT_LINK
    link.unlink(missing_ok=True)
    link.symlink_to(input_dir.resolve(), target_is_directory=True)


def _next_part(case: _Case, output_dir: Path) -> tuple[int, int, str]:
    """Number of the part to run, the step it begins at, and its script."""
    restarts = restart_files(output_dir)
    if not isinstance(case.parameters, DynamicsParameters) or not restarts:
        for path in [*output_dir.glob("*.lammps"), *output_dir.glob("*.lammpstrj")]:
            path.unlink()
        return 0, 0, f"{_INPUT_LINK}/{SCRIPT_FILE}"
    step, restart = restarts[0]
    part = 1 + max(int(path.name.split(".")[1]) for path in output_dir.glob("log.*.lammps"))
    text = resume_script(
        case.potential, case.parameters, restart=restart.name, step=step, part=part
    )
    script = f"resume.{part}.lammps"
    write_text_atomically(output_dir / script, text)
    return part, step, script


def _forget_part(output_dir: Path, part: int, step: int) -> None:
    (output_dir / f"restart.{step}.lammps").unlink()
    for name in (f"log.{part}.lammps", f"resume.{part}.lammps", f"trajectory.{part}.lammpstrj"):
        (output_dir / name).unlink(missing_ok=True)


def _remove_scratch(output_dir: Path) -> None:
    """The raw dumps are in the trajectory now, and nothing is left to take up again."""
    for pattern in ("restart.*.lammps", "*.lammpstrj", "final.dump", STARTED_FILE, "screen.txt"):
        for path in output_dir.glob(pattern):
            path.unlink()
    (output_dir / _INPUT_LINK).unlink(missing_ok=True)


# -- what the result says of its origin -----------------------------------------------------------


def _provenance(
    engine: LammpsEngine, case: _Case, program: LammpsProgram, input_dir: Path
) -> Provenance:
    software = {"nanoos": __version__, "lammps": program.version}
    version, weights = f"{engine.version}/{program.version}", None
    command = f"{shlex.join(program.command)} -in {SCRIPT_FILE}"
    inputs = hashes(input_dir)
    if case.potential.universal is not None:
        from nanoos.potentials import get_potential

        potential = get_potential(case.potential.universal)
        software |= potential.software
        version, weights = f"{engine.version}/{potential.version}", potential.weights_sha256
        command = f"python -m nanoos.engines.lammps.external {potential.name} {SCRIPT_FILE}"
    elif case.potential.files:
        weights = inputs[case.potential.files[-1].name]
    return Provenance(
        producer=f"{engine.name}/{case.potential.name}",
        version=version,
        weights_sha256=weights,
        parameters=case.parameters.model_dump(mode="json"),
        software=software,
        command=command,
        inputs_sha256=inputs,
    )


def _labels(case: _Case, program: LammpsProgram, parts: int) -> dict[str, str]:
    labels = {
        "backend": f"LAMMPS {program.version}"
        + (f", fix external, {case.potential.name}" if case.potential.universal else ""),
        "potential": case.potential.name,
        "pair_style": case.potential.pair_style,
        "simulation_cell": f"{case.structure.formula}, {case.structure.n_sites} atoms",
    }
    if case.potential.citation:
        labels["citation"] = case.potential.citation
    if parts > 1:
        labels["resumed"] = f"{parts - 1} times"
    return labels
