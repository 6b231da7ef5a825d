"""The engine that runs Quantum ESPRESSO's pw.x."""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from nanoos import __version__
from nanoos.core.errors import EngineError, TransientError, UnavailableError
from nanoos.core.records import Provenance
from nanoos.engines.base import (
    INPUT_DIR,
    OUTPUT_DIR,
    RESULT_FILE,
    Engine,
    ExecuteOutcome,
    Progress,
    hashes,
    read_input,
    write_input,
    write_text_atomically,
)
from nanoos.engines.child_process import crashed
from nanoos.engines.commands import shown_command
from nanoos.engines.espresso import output
from nanoos.engines.espresso.choices import choose
from nanoos.engines.espresso.convergence import refuse_molecules
from nanoos.engines.espresso.cost import refuse_costly_workflow, workflow_seconds
from nanoos.engines.espresso.input_file import pw_input
from nanoos.engines.espresso.orientation import check_plane
from nanoos.engines.espresso.parameters import (
    BandsParameters,
    DosParameters,
    EquationOfStateParameters,
    EspressoParameters,
    KpointConvergenceParameters,
    NscfParameters,
    RelaxParameters,
    ScfParameters,
    VcRelaxParameters,
)
from nanoos.engines.espresso.paths import path_points
from nanoos.engines.espresso.plan import Finding
from nanoos.engines.espresso.program import EspressoProgram, find_program
from nanoos.engines.espresso.pseudo_files import family_record, pseudo_file
from nanoos.engines.espresso.runner import Means, run_workflow
from nanoos.engines.espresso.saved_stages import CHECKPOINT, SCRATCH
from nanoos.engines.espresso.setting import Setting, setting_of, task_of
from nanoos.engines.resources import Parallelism
from nanoos.engines.run_files import LOG_FILE, RunLog
from nanoos.engines.vacuum import refuse_vacuum
from nanoos.pseudopotentials import get_family
from nanoos.structures import Structure

INPUT_FILE: Final = "pw.in"
CHOICES_FILE: Final = "choices.json"
_JOURNAL: Final = "journal.json"

_PARAMETERS: Final[dict[str, type[EspressoParameters]]] = {
    "scf": ScfParameters,
    "relax": RelaxParameters,
    "vc_relax": VcRelaxParameters,
    "nscf": NscfParameters,
    "bands": BandsParameters,
    "dos": DosParameters,
    "equation_of_state": EquationOfStateParameters,
    "kpoint_convergence": KpointConvergenceParameters,
}


class EspressoEngine(Engine[EspressoParameters]):
    """Density functional theory with plane waves and pseudopotentials.

    ``input/`` holds ``pw.in``, the pseudopotentials and what the rules chose: ``pw.x -in pw.in``
    there repeats the first stage by hand, ``python -m nanoos.engines.espresso input output`` the
    whole run. What one execution leaves in the output folder is taken up by the next one.
    """

    name: ClassVar[str] = "QE"
    workflows: ClassVar[tuple[str, ...]] = tuple(_PARAMETERS)
    default_workflow: ClassVar[str] = "scf"
    queue: ClassVar[str] = "dft"
    cost_note: ClassVar[str] = (
        "The time is counted from plane waves, bands and k-points of a few candidates, on one core: "
        "it can be wrong by a factor of three, and an SCF that converges only with remedies takes "
        "longer."
    )

    @property
    def version(self) -> str:
        """The version of this package; that of pw.x stands in the result."""
        return __version__

    def parameters_type(self, workflow: str) -> type[EspressoParameters]:
        """The closed parameter model of a workflow."""
        return _PARAMETERS[workflow]

    def validate(self, structure: Structure, parameters: Mapping[str, Any]) -> EspressoParameters:
        """Check parameters, cell, pseudopotentials, program and size."""
        checked = self._checked(structure, parameters)
        choices = choose(structure, checked, get_family(checked.family))
        program = find_program()
        program.check_pools(checked.nk)
        refuse_costly_workflow(structure, checked, choices, program.processes)
        return checked

    def _checked(self, structure: Structure, parameters: Mapping[str, Any]) -> EspressoParameters:
        """Refuse what cannot be written."""
        checked = self.validate_parameters(parameters)
        structure.validated()
        get_family(checked.family).check(structure.species)
        if isinstance(checked, BandsParameters):
            path_points(structure, checked.path, checked.band_points)
        if isinstance(checked, KpointConvergenceParameters):
            refuse_molecules(structure)
        if checked.in_plane:
            check_plane(structure)
        elif isinstance(checked, VcRelaxParameters):
            layer = "A layer across z: cell_freedom=2Dxy."
            refuse_vacuum(structure, "A relaxed cell", instead=layer)
        elif isinstance(checked, EquationOfStateParameters):
            refuse_vacuum(structure, "An equation of state")
        return checked

    def fingerprint(
        self, structure: Structure, parameters: EspressoParameters
    ) -> Mapping[str, str]:
        """See :class:`Engine`: the pseudopotentials of the elements and the cutoffs they suggest."""
        family = get_family(parameters.family)
        found = {symbol: one.sha256 for symbol, one in family.of(structure.species).items()}
        cutoffs = family.cutoffs(structure.species, parameters.accuracy)
        if cutoffs is not None:
            found["cutoffs_ry"] = f"{cutoffs.wfc_ry:g} {cutoffs.rho_ry:g}"
        return found

    def values_given(self, parameters: EspressoParameters) -> frozenset[str]:
        """See :class:`Engine`. There are no formation energies: elements are not computed."""
        given = {"energy_ev_per_atom"}
        if not isinstance(parameters, KpointConvergenceParameters):
            given.add("band_gap_ev")
        if isinstance(parameters, VcRelaxParameters) and parameters.cell_freedom != "shape":
            given.add("volume_a3_per_atom")
        if isinstance(parameters, EquationOfStateParameters):
            given |= {"bulk_modulus_gpa", "equilibrium_volume_a3_per_atom"}
        return frozenset(given)

    def lacking(self, parameters: EspressoParameters) -> Sequence[UnavailableError]:
        """The pseudopotential family, pw.x."""
        found: list[UnavailableError] = []
        for look in (lambda: get_family(parameters.family), find_program):
            try:
                look()
            except UnavailableError as error:
                found.append(error)
        return found

    def estimate_seconds(self, structure: Structure, parameters: Mapping[str, Any]) -> float:
        """Rough cost on one core, s."""
        checked = self.validate_parameters(parameters)
        choices = choose(structure, checked, get_family(checked.family))
        return workflow_seconds(structure, checked, choices)

    def parallelism(self, parameters: EspressoParameters) -> Parallelism:
        """The processes of the command, of one thread each."""
        del parameters
        return Parallelism(processes=find_program().processes)

    def prepare_input(
        self, structure: Structure, parameters: Mapping[str, Any], work_dir: Path
    ) -> Path:
        """Write the input of pw.x, the pseudopotentials and what was chosen; pw.x may be elsewhere."""
        checked = self._checked(structure, parameters)
        setting = setting_of(structure, checked, work_dir / INPUT_DIR, work_dir / OUTPUT_DIR)
        family = setting.family
        contents = {s: pseudo_file(family, s, checked) for s in dict.fromkeys(structure.species)}
        input_dir = write_input(structure, checked, work_dir)
        for symbol, data in contents.items():
            _write_bytes(input_dir / family.pseudos[symbol].file, data)
        task = task_of(setting, pseudo_dir="./", outdir="./tmp")
        write_text_atomically(input_dir / INPUT_FILE, pw_input(task))
        document = {
            "choices": setting.choices.as_dict(),
            "pseudopotentials": family_record(family, structure, checked),
        }
        write_text_atomically(input_dir / CHOICES_FILE, json.dumps(document, indent=1) + "\n")
        return input_dir

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
        setting = setting_of(structure, checked, input_dir, output_dir)
        inputs = hashes(input_dir)
        output_dir.mkdir(parents=True, exist_ok=True)
        _begin(output_dir, inputs)
        log = RunLog(output_dir / LOG_FILE)
        log.line(f"{self.name} {self.version}: {checked.workflow} of {structure!r}")
        means = Means(program=find_program(), deadline=started + timeout, timeout_s=timeout)
        try:
            setting, finding = run_workflow(setting, means, progress, log)
        except EngineError as error:
            log.line(f"failed: {error}")
            if error.error_code != "timeout":  # a retry goes on from what there was no time for
                _clear_scratch(output_dir)
            return ExecuteOutcome.failed(error, started)
        except TransientError as error:
            log.line(f"failed: {error}")
            if crashed(error):
                _clear_scratch(output_dir)  # it may be what pw.x could not read
            raise
        finding = setting.orientation.back(finding)
        seconds = time.monotonic() - started
        log.line(f"done in {seconds:.2f} s")
        provenance = _provenance(setting, means.program, finding, inputs)
        output.write(output_dir, finding, setting.choices, provenance, seconds)
        _clear_scratch(output_dir)
        return ExecuteOutcome(success=True, wall_time_s=time.monotonic() - started)


def _asked(parameters: EspressoParameters) -> str:
    """What was asked for that makes energies unlike those of the rules."""
    words = []
    if parameters.ecutwfc_ry is not None:
        words.append(f"{parameters.ecutwfc_ry:g} Ry")
    elif parameters.accuracy != "normal":
        words.append(f"{parameters.accuracy} cutoffs")
    if parameters.ecutrho_ry is not None:
        words.append(f"{parameters.ecutrho_ry:g} Ry for the density")
    if parameters.spin == "none":
        words.append("without spins")
    if parameters.smearing or parameters.degauss_ry:
        width = f" {parameters.degauss_ry:g} Ry" if parameters.degauss_ry else ""
        words.append(f"smearing {parameters.smearing or 'by rule'}{width}")
    return "".join(f", {word}" for word in words)


def _provenance(
    setting: Setting, program: EspressoProgram, finding: Finding, inputs: Mapping[str, str]
) -> Provenance:
    version = finding.final.xml.version
    family = setting.family
    record = family_record(family, setting.structure, setting.parameters)
    tails = ", Coulomb tails" if record["coulomb_tails"] else ""
    here, there = setting.input_dir.name, setting.output_dir.name
    return Provenance(
        producer="QE/pw.x",
        version=f"{__version__}/{version}",
        weights_sha256=family.sha256,
        parameters={
            **setting.parameters.model_dump(mode="json"),
            "level_of_theory": {
                "functional": family.info.functional,
                "corrections": "none",
                "reference": f"pseudopotentials {family.name}{tails}{_asked(setting.parameters)}",
            },
            "pseudopotentials": record,
            "choices": setting.choices.as_dict(),
        },
        software={"nanoos": __version__, "quantum-espresso": version},
        command=f"python -m nanoos.engines.espresso {here} {there}; the first stage alone: "
        f"cd {here} && {shown_command(program.command)} -in {INPUT_FILE}",
        inputs_sha256=dict(inputs),
    )


def _begin(output_dir: Path, inputs: Mapping[str, str]) -> None:
    """Keep what an execution of the same input left, clear away that of another."""
    journal = output_dir / _JOURNAL
    (output_dir / RESULT_FILE).unlink(missing_ok=True)
    try:
        same = json.loads(journal.read_text(encoding="utf-8")) == dict(inputs)
    except (OSError, ValueError):
        same = False
    if not same and journal.exists():
        shutil.rmtree(output_dir)
        output_dir.mkdir()
    if not same:
        write_text_atomically(journal, json.dumps(dict(inputs), indent=1) + "\n")


def _clear_scratch(output_dir: Path) -> None:
    for name in (SCRATCH, CHECKPOINT, f"{CHECKPOINT}.part"):
        shutil.rmtree(output_dir / name, ignore_errors=True)


def _write_bytes(path: Path, data: bytes) -> None:
    scratch = path.with_name(f".{path.name}.part")
    scratch.write_bytes(data)
    scratch.replace(path)
