"""The engine that runs LAMMPS in a process of its own."""

import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from nanoos import __version__
from nanoos.core.errors import EngineError, TransientError
from nanoos.core.records import EngineResult
from nanoos.engines.base import (
    Engine,
    ExecuteOutcome,
    Progress,
    read_input,
    write_input,
    write_text_atomically,
)
from nanoos.engines.child_process import crashed
from nanoos.engines.commands import processes_of
from nanoos.engines.lammps import output
from nanoos.engines.lammps.case import Case, case_of, require_program
from nanoos.engines.lammps.catalogue import sha256
from nanoos.engines.lammps.cell import repeats_for
from nanoos.engines.lammps.cost import asks_universal, estimate_seconds
from nanoos.engines.lammps.following import TrajectoryFollower
from nanoos.engines.lammps.interactions import Interactions, interactions
from nanoos.engines.lammps.logs import ThermoReader, read_log
from nanoos.engines.lammps.origin import labels_of, provenance_of
from nanoos.engines.lammps.parameters import (
    WORKFLOW_PARAMETERS,
    DynamicsParameters,
    LammpsParameters,
)
from nanoos.engines.lammps.program import (
    LammpsProgram,
    find_program,
    mpi_library_dir,
)
from nanoos.engines.lammps.run_folder import (
    INPUT_LINK,
    begin,
    distrust,
    forget_part,
    next_part,
    remove_scratch,
)
from nanoos.engines.lammps.script import (
    DATA_FILE,
    SCRIPT_FILE,
    data_file,
    input_script,
    needs_tilt,
)
from nanoos.engines.lammps.supervision import Attempt, supervise
from nanoos.engines.resources import Parallelism, threads_in
from nanoos.engines.run_files import LOG_FILE, RunLog
from nanoos.potentials import added_weights
from nanoos.structures import Structure


class LammpsEngine(Engine[LammpsParameters]):
    """Molecular dynamics and minimisation by LAMMPS.

    The input folder can be run by hand: ``lmp -in in.lammps`` there. A run that was killed or
    cancelled goes on from its last restart file when it is executed again with the same input, one
    that failed by itself begins anew.
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
        case = case_of(structure, self.validate_parameters(parameters))
        require_program(case.potential)
        return case.parameters

    def fingerprint(self, structure: Structure, parameters: LammpsParameters) -> Mapping[str, str]:
        """See :class:`Engine`: the files of the potential, or weights that a user added."""
        potential = interactions(structure.species, parameters)
        if potential.universal is not None:
            return added_weights(potential.universal)
        return {file.name: sha256(file) for file in potential.files}

    def estimate_seconds(self, structure: Structure, parameters: Mapping[str, Any]) -> float:
        """Rough cost on one thread, s."""
        checked = self.validate_parameters(parameters)
        repeats = checked.repeats or repeats_for(structure, checked.min_length)
        n_atoms = structure.n_sites * repeats[0] * repeats[1] * repeats[2]
        return estimate_seconds(checked, n_atoms)

    def parallelism(self, parameters: LammpsParameters) -> Parallelism:
        """The processes of the command; with a universal potential there is one."""
        program = find_program()
        processes = 1 if asks_universal(parameters) else processes_of(program.command)
        return Parallelism(processes=processes, threads=threads_in(program.environment()))

    def prepare_input(
        self, structure: Structure, parameters: Mapping[str, Any], work_dir: Path
    ) -> Path:
        """Write ``in.lammps``, ``structure.data`` and the potential's files; LAMMPS may be elsewhere."""
        case = case_of(structure, self.validate_parameters(parameters))
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
        """Run LAMMPS in the output folder; see :class:`Engine`. ``log.txt`` tells what happened.

        Raises:
            TransientError: killed from outside, or the disk is full: worth another attempt,
                which goes on from the last restart file.
        """
        started = time.monotonic()
        structure, given = read_input(input_dir)
        case = case_of(structure, self.validate_parameters(given))
        require_program(case.potential)
        output_dir.mkdir(parents=True, exist_ok=True)
        log = RunLog(output_dir / LOG_FILE)
        log.line(f"{self.name} {self.version}: {case.parameters.workflow} of {structure!r}")
        try:
            parts, follower = self._run(
                case,
                (input_dir, output_dir),
                started=started,
                timeout=timeout,
                progress=progress,
                log=log,
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
            log.line(f"failed: {error}")
            if error.error_code != "timeout":
                distrust(output_dir)
            return ExecuteOutcome.failed(error, started)
        if progress is not None:
            progress(1.0, f"{result.values['energy_ev_per_atom']:.5f} eV/atom")
        remove_scratch(output_dir)
        log.line(f"done in {time.monotonic() - started:.2f} s")
        return ExecuteOutcome(success=True, wall_time_s=time.monotonic() - started)

    def _run(
        self,
        case: Case,
        folders: tuple[Path, Path],
        *,
        started: float,
        timeout: float,
        progress: Progress | None,
        log: RunLog,
    ) -> tuple[list[ThermoReader], TrajectoryFollower]:
        """Run to the end, from where an earlier attempt was; logs and frames of all parts."""
        program = find_program()
        input_dir, output_dir = folders
        begin(input_dir, output_dir)
        if progress is not None:
            progress(0.0, f"LAMMPS {program.version}: {case.structure.n_sites} atoms")
        while True:
            part, step, script = next_part(case, output_dir)
            log.line(f"LAMMPS {program.version} from step {step:,}: log.{part}.lammps")
            follower = _follower(case, output_dir, part, step)
            dynamics = isinstance(case.parameters, DynamicsParameters)
            attempt = Attempt(
                command=_command(program, case.potential, script, part),
                environment=_environment(program, case.potential),
                folder=output_dir,
                log=output_dir / f"log.{part}.lammps",
                total_steps=case.total_steps,
                may_end_early=not dynamics,
                first_step=step,
                deadline=started + timeout,
                timeout_s=timeout,
                label="step" if dynamics else "iteration",
                idle=_Meanwhile(follower),
            )
            try:
                supervise(attempt, progress)
            except (EngineError, TransientError) as error:
                silent = not (attempt.log.exists() and read_log(attempt.log).rows)
                broken = "restart" in error.message.lower() or (crashed(error) and silent)
                if step == 0 or not broken:
                    raise
                log.line(f"restart.{step}.lammps cannot be used: {error}")
                forget_part(output_dir, part, step)  # half written when it was killed
                continue
            return [read_log(output_dir / f"log.{i}.lammps") for i in range(part + 1)], follower

    def _collect(
        self, case: Case, input_dir: Path, written: output.Written, started: float
    ) -> EngineResult:
        program = find_program()
        n_parts = len(written.parts)
        logs = [f"log.{i}.lammps" for i in range(n_parts)]
        logs += [f"resume.{i}.lammps" for i in range(1, n_parts)]
        logs.append(LOG_FILE)
        return output.collect(
            written,
            provenance_of(case, program, input_dir),
            labels=labels_of(case, program, n_parts),
            kept_files=logs,
            wall_time_s=time.monotonic() - started,
        )


def _command(
    program: LammpsProgram, potential: Interactions, script: str, part: int
) -> tuple[str, ...]:
    if potential.universal is None:
        variables = ("-var", "input", INPUT_LINK, "-var", "part", str(part))
        return (*program.command, "-in", script, "-screen", "none", "-log", "none", *variables)
    from nanoos.potentials.installed_weights import weights_folder
    from nanoos.potentials.runtime import default_device

    return (
        *(sys.executable, "-m", "nanoos.engines.lammps.external", potential.universal, script),
        *("--var", "input", INPUT_LINK, "--var", "part", str(part)),
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
        self._energies: dict[int, float] = {}
        self._n_read = 0

    def __call__(self, reader: ThermoReader, finished: bool) -> bool:  # noqa: FBT001
        """Work on what there is, for a while; returns whether there is more."""
        if not self._loaded and not finished:
            self._loaded = True
            with suppress(ImportError):
                import pymatgen.optimization.neighbors  # noqa: F401
        self._energies |= {int(row[0]): row[2] for row in reader.rows[self._n_read :]}
        self._n_read = len(reader.rows)
        return self._follower.poll(self._energies, last_step=reader.step, finished=finished)


def _follower(case: Case, output_dir: Path, part: int, step: int) -> TrajectoryFollower:
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
