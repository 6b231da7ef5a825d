"""The engine that runs potentials in this process: MLIP, and LJ for tests."""

import shlex
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final

from nanoos import __version__
from nanoos.core.errors import EngineError, InvalidInputError, UnavailableError
from nanoos.engines.base import (
    Engine,
    ExecuteOutcome,
    Progress,
    hashes,
    read_input,
    write_input,
)
from nanoos.engines.child_process import Clock
from nanoos.engines.mlip import output
from nanoos.engines.mlip.batch import provenance_of
from nanoos.engines.mlip.checkpoints import clear_checkpoints
from nanoos.engines.mlip.dynamics import CHECKPOINT_FILE, simulation_cell
from nanoos.engines.mlip.freedom import symmetry_freedom
from nanoos.engines.mlip.parameters import (
    DynamicsParameters,
    ElasticParameters,
    EquationOfStateParameters,
    MLIPParameters,
    PhononParameters,
    RelaxParameters,
    SinglePointParameters,
)
from nanoos.engines.mlip.phonons import check_phonons, n_supercell_atoms
from nanoos.engines.mlip.workflows import WORKFLOWS
from nanoos.engines.resources import Parallelism
from nanoos.engines.run_files import LOG_FILE, RunLog
from nanoos.potentials import (
    REFERENCE_POTENTIAL,
    added_weights,
    check_elements,
    get_potential,
    load_references,
)
from nanoos.potentials.runtime import threads
from nanoos.structures import Structure

_PARAMETERS: Final[dict[str, type[MLIPParameters]]] = {
    "single_point": SinglePointParameters,
    "relax": RelaxParameters,
    "equation_of_state": EquationOfStateParameters,
    "elastic": ElasticParameters,
    "phonons": PhononParameters,
    "md": DynamicsParameters,
}

_LESS: Final = "Raise the timeout, or use a smaller cell."
_COST_S: Final = {"CHGNet": (0.03, 0.010), "SevenNet": (0.04, 0.025), "LJ": (0.001, 0.0005)}
"""Seconds of one evaluation with forces on one core: per call, per atom."""

_EVALUATIONS: Final = {
    "single_point": 1,
    "relax": 12,
    "equation_of_state": 35,
    "elastic": 12 + 24 * 4,
    "phonons": 12,
}


class MLIPEngine(Engine[MLIPParameters]):
    """Single points, relaxations, equations of state, elastic tensors, phonons and dynamics.

    With any registered potential.

    Runs in the calling process, so the weights are loaded once; ``python -m
    nanoos.engines.mlip INPUT_DIR OUTPUT_DIR`` repeats a run by hand. The timeout is looked at
    between two evaluations of the potential. What a killed execution left in the output folder is
    taken up by the next one.
    """

    name: ClassVar[str] = "MLIP"
    workflows: ClassVar[tuple[str, ...]] = tuple(_PARAMETERS)
    default_workflow: ClassVar[str] = "relax"
    queue: ClassVar[str] = "md"

    @property
    def version(self) -> str:
        """The version of this package; the potential's stands in the result."""
        return __version__

    def parameters_type(self, workflow: str) -> type[MLIPParameters]:
        """The closed parameter model of a workflow."""
        return _PARAMETERS[workflow]

    def validate(self, structure: Structure, parameters: Mapping[str, Any]) -> MLIPParameters:
        """Check parameters, cell and elements, without loading the potential."""
        checked = self.validate_parameters(parameters)
        structure.validated()
        check_elements(checked.potential, structure.species)
        if isinstance(checked, RelaxParameters) and checked.pressure_gpa and not checked.relax_cell:
            raise InvalidInputError(
                "A pressure without relax_cell has no effect.", hint="Set relax_cell to true."
            )
        if isinstance(checked, DynamicsParameters):
            simulation_cell(structure, checked)
        if isinstance(checked, PhononParameters):
            check_phonons(structure, checked)
        return checked

    def fingerprint(self, structure: Structure, parameters: MLIPParameters) -> Mapping[str, str]:
        """See :class:`Engine`: weights that a user added."""
        del structure
        return added_weights(parameters.potential)

    def values_given(self, parameters: MLIPParameters) -> frozenset[str]:
        """See :class:`Engine`; formation energies need elemental references of the potential."""
        given = {"energy_ev_per_atom"}
        with suppress(UnavailableError):
            load_references(parameters.potential)
            given.add("formation_energy_ev_per_atom")
        if isinstance(parameters, RelaxParameters) and parameters.relax_cell:
            given.add("volume_a3_per_atom")
        if isinstance(parameters, EquationOfStateParameters):
            given |= {"bulk_modulus_gpa", "equilibrium_volume_a3_per_atom"}
        if isinstance(parameters, ElasticParameters):
            given.add("bulk_modulus_gpa")
        return frozenset(given)

    def estimate_seconds(self, structure: Structure, parameters: Mapping[str, Any]) -> float:
        """Rough cost on one thread, s, without loading the potential."""
        checked = self.validate_parameters(parameters)
        per_call, per_atom = _COST_S.get(checked.potential, _COST_S["SevenNet"])
        if isinstance(checked, DynamicsParameters):
            n_atoms = simulation_cell(structure, checked).n_sites
            return checked.num_steps * (per_call + per_atom * n_atoms)
        evaluations = _EVALUATIONS[checked.workflow]
        cost_s = evaluations * (per_call + per_atom * structure.n_sites)
        if isinstance(checked, PhononParameters):
            # two displacements of each atom, fewer where symmetry makes atoms equal
            n_supercell = n_supercell_atoms(structure, checked)
            return cost_s + 2 * structure.n_sites * (per_call + per_atom * n_supercell)
        if checked.workflow == "equation_of_state" and symmetry_freedom(structure).only_volume:
            evaluations = 8  # two batches of energies
        return evaluations * (per_call + per_atom * structure.n_sites)

    def parallelism(self, parameters: MLIPParameters) -> Parallelism:
        """This process, with the threads that potentials have."""
        del parameters
        return Parallelism(threads=threads())

    def prepare_input(
        self, structure: Structure, parameters: Mapping[str, Any], work_dir: Path
    ) -> Path:
        """Write ``structure.json`` and ``parameters.json``."""
        return write_input(structure, self.validate(structure, parameters), work_dir)

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
        output_dir.mkdir(parents=True, exist_ok=True)
        log = RunLog(output_dir / LOG_FILE)
        clock = Clock(deadline=started + timeout, timeout_s=timeout, hint=_LESS)

        def tick(fraction: float, message: str) -> None:
            log.line(message)
            clock.check()
            if progress is not None:
                progress(fraction, message)

        log.line(f"{self.name} {self.version}: {checked.workflow} of {structure!r}")
        try:
            potential = get_potential(checked.potential)
            finding = WORKFLOWS[checked.workflow](structure, potential, checked, tick, output_dir)
        except EngineError as error:
            log.line(f"failed: {error}")
            return ExecuteOutcome.failed(error, started)
        provenance = provenance_of(
            self.name,
            potential,
            checked,
            command=f"{shlex.quote(Path(sys.executable).name)} -m nanoos.engines.mlip "
            f"{input_dir.name} {output_dir.name}",
            inputs_sha256=hashes(input_dir),
        )
        seconds = time.monotonic() - started
        log.line(f"done in {seconds:.2f} s")
        output.write(output_dir, finding, provenance, seconds)
        clear_checkpoints(output_dir)
        (output_dir / CHECKPOINT_FILE).unlink(missing_ok=True)
        return ExecuteOutcome(success=True, wall_time_s=time.monotonic() - started)


class LennardJonesEngine(MLIPEngine):
    """The reference member: the same workflows on the Lennard-Jones potential, for tests."""

    name: ClassVar[str] = "LJ"
    reference_member: ClassVar[bool] = True

    def validate_parameters(self, parameters: Mapping[str, Any]) -> MLIPParameters:
        """As every engine, but the potential is the reference member."""
        checked = super().validate_parameters({"potential": REFERENCE_POTENTIAL, **parameters})
        if checked.potential != REFERENCE_POTENTIAL:
            raise InvalidInputError(
                f"The LJ engine does not run {checked.potential}.", hint="Use the MLIP engine."
            )
        return checked
