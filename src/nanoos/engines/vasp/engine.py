"""The engine that runs VASP, for those who have a licence; untested with the program itself."""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final

from nanoos import __version__
from nanoos.core.errors import EngineError, NanoosError, UnavailableError
from nanoos.core.records import EngineResult
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
from nanoos.engines.espresso.estimate import refuse_what_is_too_large
from nanoos.engines.resources import Parallelism, threads_in
from nanoos.engines.run_files import LOG_FILE, RunLog
from nanoos.engines.vacuum import refuse_vacuum
from nanoos.engines.vasp import input_files, output
from nanoos.engines.vasp.choices import Choices, check_cutoff, choose
from nanoos.engines.vasp.cost import estimate_scf
from nanoos.engines.vasp.parameters import (
    RelaxParameters,
    ScfParameters,
    VaspParameters,
    VcRelaxParameters,
)
from nanoos.engines.vasp.potcars import Potcar, find_potcars, potcar_folder, titles_of
from nanoos.engines.vasp.program import find_program
from nanoos.engines.vasp.provenance import provenance_of, provenance_of_folder, workflow_of
from nanoos.engines.vasp.reading import VASPRUN_FILE, read_run
from nanoos.engines.vasp.starts import KEPT, SCRATCH, Workshop, potcar_bytes, run_workflow
from nanoos.structures import Structure

SPEC_FILE: Final = "POTCAR.spec"
CHOICES_FILE: Final = "choices.json"

_PARAMETERS: Final[dict[str, type[VaspParameters]]] = {
    "scf": ScfParameters,
    "relax": RelaxParameters,
    "vc_relax": VcRelaxParameters,
}
_ITERATIONS: Final = {"scf": 15.0, "relax": 120.0, "vc_relax": 150.0}
"""SCF iterations that a workflow takes."""


class VaspEngine(Engine[VaspParameters]):
    """Density functional theory by VASP (licensed; untested here with the program itself).

    ``input/`` holds INCAR, KPOINTS, POSCAR and POTCAR.spec, which names the POTCARs: those are
    licensed, put together only where VASP runs, and never kept with a job.
    """

    name: ClassVar[str] = "VASP"
    workflows: ClassVar[tuple[str, ...]] = tuple(_PARAMETERS)
    default_workflow: ClassVar[str] = "scf"
    queue: ClassVar[str] = "dft"
    cost_note: ClassVar[str] = (
        "The time is counted as for Quantum ESPRESSO on one core; it was never measured with VASP."
    )

    @property
    def version(self) -> str:
        """The version of this package; that of VASP stands in the result."""
        return __version__

    def parameters_type(self, workflow: str) -> type[VaspParameters]:
        """The closed parameter model of a workflow."""
        return _PARAMETERS[workflow]

    def validate(self, structure: Structure, parameters: Mapping[str, Any]) -> VaspParameters:
        """Check parameters, cell, program, POTCARs and size.

        Raises:
            InvalidInputError: as :meth:`Engine.validate`.
            UnavailableError: ``no_vasp``, ``no_potcars``; inputs can be written all the same.
        """
        checked = self.validate_parameters(parameters)
        structure.validated()
        if isinstance(checked, VcRelaxParameters):
            refuse_vacuum(structure, "A relaxed cell")
        choices = choose(structure, checked, None)
        program = find_program()
        potcars = find_potcars(choices.titles, checked.potcars)
        choices = choose(structure, checked, potcars)
        if not checked.allow_large:
            found = estimate_scf(structure, checked, choices, potcars)
            iterations = _ITERATIONS[checked.workflow]
            refuse_what_is_too_large(structure, found, iterations, program.processes)
        return checked

    def fingerprint(self, structure: Structure, parameters: VaspParameters) -> Mapping[str, str]:
        """See :class:`Engine`: the POTCARs of the elements."""
        titles = titles_of(structure.species, parameters.potcars, parameters.potcar_titles)
        potcars = find_potcars(titles, parameters.potcars)
        return {symbol: potcar.sha256 for symbol, potcar in potcars.items()}

    def values_given(self, parameters: VaspParameters) -> frozenset[str]:
        """See :class:`Engine`. There are no formation energies: elements are not computed."""
        given = {"energy_ev_per_atom", "band_gap_ev"}
        if isinstance(parameters, VcRelaxParameters):
            given.add("volume_a3_per_atom")
        return frozenset(given)

    def lacking(self, parameters: VaspParameters) -> Sequence[UnavailableError]:
        """VASP itself, the folder of POTCARs."""
        del parameters
        found: list[UnavailableError] = []
        for look in (find_program, potcar_folder):
            try:
                look()
            except UnavailableError as error:
                found.append(error)
        return found

    def estimate_seconds(self, structure: Structure, parameters: Mapping[str, Any]) -> float:
        """Rough cost on one core, s, whether or not there is a VASP here."""
        checked = self.validate_parameters(parameters)
        potcars = _at_hand(structure, checked)
        choices = choose(structure, checked, potcars)
        found = estimate_scf(structure, checked, choices, potcars)
        return found.seconds(_ITERATIONS[checked.workflow])

    def parallelism(self, parameters: VaspParameters) -> Parallelism:
        """The processes of the command; one thread each unless the user said more."""
        del parameters
        program = find_program()
        return Parallelism(processes=program.processes, threads=threads_in(program.environment()))

    def prepare_input(
        self, structure: Structure, parameters: Mapping[str, Any], work_dir: Path
    ) -> Path:
        """Write the input of VASP; neither the program nor POTCARs need to be here."""
        checked = self.validate_parameters(parameters)
        structure.validated()
        choices = choose(structure, checked, _at_hand(structure, checked))
        input_dir = write_input(structure, checked, work_dir)
        texts = {
            "INCAR": input_files.incar(structure, checked, choices),
            "KPOINTS": input_files.kpoints(choices),
            "POSCAR": input_files.poscar(structure),
            SPEC_FILE: input_files.potcar_spec(structure, choices),
            CHOICES_FILE: json.dumps(choices.as_dict(), indent=1) + "\n",
        }
        for name, text in texts.items():
            write_text_atomically(input_dir / name, text)
        return input_dir

    def write_potcar(self, input_dir: Path) -> Path:
        """Put the POTCAR of an input folder together there, for a run by hand.

        Raises:
            InvalidInputError: it is no input folder.
            UnavailableError: ``no_potcars``.
        """
        structure, given = read_input(input_dir)
        checked = self.validate_parameters(given)
        choices = _chosen(input_dir, structure, checked)
        potcars = find_potcars(choices.titles, checked.potcars)
        check_cutoff(choices, potcars)
        path = input_dir / "POTCAR"
        path.write_bytes(potcar_bytes(structure, potcars))
        return path

    def execute(
        self,
        input_dir: Path,
        output_dir: Path,
        timeout: float = 3600,
        progress: Progress | None = None,
    ) -> ExecuteOutcome:
        """Run the workflow; see :class:`Engine`. ``log.txt`` tells what happened."""
        started = time.monotonic()
        structure, given = read_input(input_dir)
        checked = self.validate(structure, given)
        choices = _chosen(input_dir, structure, checked)
        potcars = find_potcars(choices.titles, checked.potcars)
        check_cutoff(choices, potcars)
        _begin(output_dir)
        log = RunLog(output_dir / LOG_FILE)
        log.line(f"{self.name} {self.version}: {checked.workflow} of {structure!r}")
        shop = Workshop(
            parameters=checked,
            choices=choices,
            potcars=potcars,
            program=find_program(),
            folder=output_dir,
            deadline=started + timeout,
            timeout_s=timeout,
            progress=progress,
            say=log.line,
        )
        try:
            run_workflow(shop, structure)
        except EngineError as error:
            log.line(f"failed: {error}")
            return ExecuteOutcome.failed(error, started)
        finally:
            shutil.rmtree(output_dir / SCRATCH, ignore_errors=True)
        seconds = time.monotonic() - started
        log.line(f"done in {seconds:.2f} s")
        finished = output.Finished(
            workflow=checked.workflow,
            runs=shop.runs,
            files=shop.files,
            provenance=provenance_of(
                checked,
                choices,
                potcars,
                list(shop.runs.values())[-1],
                program=shop.program,
                folders=(input_dir, output_dir),
                inputs=hashes(input_dir),
            ),
            wall_time_s=seconds,
            choices=choices,
        )
        output.write(output_dir, finished)
        return ExecuteOutcome(success=True, wall_time_s=time.monotonic() - started)

    def parse_output(self, output_dir: Path) -> EngineResult:
        """Read the result of a finished run, or ``vasprun.xml`` and OUTCAR of a run by hand.

        Raises:
            EngineError: ``no_result``; ``scf_not_converged`` or ``relax_not_converged`` by hand.
        """
        if (output_dir / RESULT_FILE).exists() or not (output_dir / VASPRUN_FILE).exists():
            return super().parse_output(output_dir)
        run = read_run(output_dir, _order_of(output_dir))
        if not run.scf_converged or run.relaxed is False:
            what = "relaxation" if run.scf_converged else "SCF"
            raise EngineError(
                f"The {what} in {output_dir.name} did not converge.",
                hint="Go on from CONTCAR, or give it more steps.",
                code="relax_not_converged" if run.scf_converged else "scf_not_converged",
            )
        finished = output.Finished(
            workflow=workflow_of(run),
            runs={"vasp": run},
            files=(),
            provenance=provenance_of_folder(output_dir, run),
            wall_time_s=run.wall_s,
        )
        names = [name for name in KEPT if (output_dir / name).is_file()]
        return output.result_of(finished, tuple(names))


def _at_hand(structure: Structure, checked: VaspParameters) -> dict[str, Potcar] | None:
    """The POTCARs of a structure; None where they are not here."""
    with suppress(UnavailableError):
        return find_potcars(choose(structure, checked, None).titles, checked.potcars)
    return None


def _chosen(input_dir: Path, structure: Structure, checked: VaspParameters) -> Choices:
    """What was chosen when the input was written, perhaps on another machine."""
    try:
        text = (input_dir / CHOICES_FILE).read_text(encoding="utf-8")
        return Choices.from_dict(json.loads(text))
    except (OSError, ValueError, KeyError, TypeError):
        return choose(structure, checked, _at_hand(structure, checked))


def _order_of(folder: Path) -> list[int] | None:
    """The order of the sites where the folder holds the structure it was made from."""
    with suppress(NanoosError):
        return input_files.site_order(read_input(folder)[0])
    return None


def _begin(output_dir: Path) -> None:
    """Clear away what an earlier execution left; VASP starts anew."""
    output_dir.mkdir(parents=True, exist_ok=True)
    (output_dir / RESULT_FILE).unlink(missing_ok=True)
    for kept in KEPT:
        for stem in ("scf", "relax*", "final*"):
            for path in output_dir.glob(f"{stem}.{kept}"):
                path.unlink()
