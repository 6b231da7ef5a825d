"""What an engine is: files in, a program or a potential, files out, a result."""

import hashlib
import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nanoos.core.errors import EngineError, InvalidInputError, UnavailableError
from nanoos.core.records import EngineResult, Provenance, triples
from nanoos.engines.resources import Meter, Parallelism
from nanoos.engines.time_left import with_time_left
from nanoos.structures import Structure

Progress = Callable[[float, str], None]
"""Told of (fraction 0..1, message); may raise to stop the run."""

RESULT_FILE: Final = "result.json"
PARAMETERS_FILE: Final = "parameters.json"
STRUCTURE_FILE: Final = "structure.json"
_STRESS_GPA: Final = "stress_gpa"
INPUT_DIR: Final = "input"
OUTPUT_DIR: Final = "output"


class EngineParameters(BaseModel):
    """What every engine's parameters have: finite numbers, and no typo is a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    workflow: str
    """What to do; the engine says which workflows it has."""


_Repeat = Annotated[int, Field(ge=1, le=10_000)]
Repeats = tuple[_Repeat, _Repeat, _Repeat]
"""How often a cell is repeated along its vectors."""
MaxAtoms = Annotated[int, Field(ge=2, le=20_000)]
"""The largest cell that a universal potential may be asked about again and again."""
MAX_ATOMS: Final = 2000

DampingFs = Annotated[float, Field(gt=0, le=1e6)]
"""Time constant of a thermostat or barostat, fs: at most a nanosecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecuteOutcome:
    """How a run ended.

    Attributes:
        success: The program finished and wrote a result.
        wall_time_s: Seconds.
        message: Why it failed, empty on success.
        error: The error that a caller of :meth:`Engine.run` gets, None on success.
    """

    success: bool
    wall_time_s: float
    message: str = ""
    error: EngineError | None = None

    @classmethod
    def failed(cls, error: EngineError, started: float) -> Self:
        """That of a run which began at ``started`` (``time.monotonic()``) and ends now."""
        seconds = time.monotonic() - started
        return cls(success=False, wall_time_s=seconds, message=error.message, error=error)


P = TypeVar("P", bound=EngineParameters)


class Engine(ABC, Generic[P]):
    """Runs simulations of one kind.

    An engine holds no state between calls: everything is in the two folders, so a run can be
    repeated by hand from the input folder, and parsed again from the output folder.
    """

    name: ClassVar[str]
    workflows: ClassVar[tuple[str, ...]]
    default_workflow: ClassVar[str]
    queue: ClassVar[str] = "md"
    """Which queue its jobs wait in: ``ml``, ``md``, ``dft``."""
    reference_member: ClassVar[bool] = False
    """True for an engine that is there for tests and never a default."""
    cost_note: ClassVar[str] = ""
    """What to know before trusting :meth:`estimate_seconds`, a sentence."""

    @property
    @abstractmethod
    def version(self) -> str:
        """Version of the engine."""

    @abstractmethod
    def parameters_type(self, workflow: str) -> type[P]:
        """The closed parameter model of a workflow."""

    def validate_parameters(self, parameters: Mapping[str, Any]) -> P:
        """Parameters with every default filled in.

        Raises:
            InvalidInputError: an unknown workflow or parameter, or a value out of range; the
                hint names what there is.
        """
        given = dict(parameters)
        workflow = str(given.setdefault("workflow", self.default_workflow))
        if workflow not in self.workflows:
            raise InvalidInputError(
                f"{self.name} has no workflow {workflow!r}.",
                hint=f"It has: {', '.join(self.workflows)}.",
                code="unknown_workflow",
            )
        model = self.parameters_type(workflow)
        try:
            return model.model_validate(given)
        except ValidationError as error:
            raise _refusal(self.name, model, error) from error

    @abstractmethod
    def validate(self, structure: Structure, parameters: Mapping[str, Any]) -> P:
        """Refuse, before anything is spent, what cannot work for this structure.

        Raises:
            InvalidInputError: parameters, an element that is not covered, an impossible cell.
        """

    def fingerprint(self, structure: Structure, parameters: P) -> Mapping[str, str]:
        """What a result rests on besides its parameters and may become another under its name.

        The files of a potential, weights, pseudopotentials; never the version of a program. Files
        are read for it, nothing is loaded.

        Returns:
            Name to SHA-256 or other mark; empty where there is nothing of the kind.

        Raises:
            NanoosError: as :meth:`validate`, where it is not to be known.
        """
        del structure, parameters
        return {}

    def values_given(self, parameters: P) -> frozenset[str] | None:
        """Values that a result of this work tells of its crystal, as far as it promises them.

        What only repeats the input (the volume of a cell that is not moved) is not among them.

        Returns:
            Names as in :attr:`EngineResult.values`; None where the engine promises nothing.
        """
        del parameters
        return None

    def lacking(self, parameters: P) -> Sequence[UnavailableError]:
        """What this machine lacks for this work whatever the structure, each with its remedy.

        Raises:
            NotFoundError: the parameters name something that nobody knows.
        """
        del parameters
        return ()

    @abstractmethod
    def estimate_seconds(self, structure: Structure, parameters: Mapping[str, Any]) -> float:
        """Rough cost on one thread, s; within a factor of about three."""

    def parallelism(self, parameters: P) -> Parallelism:
        """Processes and threads that a run here is started with."""
        del parameters
        return Parallelism()

    @abstractmethod
    def prepare_input(
        self, structure: Structure, parameters: Mapping[str, Any], work_dir: Path
    ) -> Path:
        """Write the input files to ``work_dir/input`` and give that folder.

        They may be run elsewhere: the program need not be here, nor memory and time for it.

        Raises:
            InvalidInputError: as :meth:`validate` for what cannot work anywhere.
        """

    @abstractmethod
    def execute(
        self,
        input_dir: Path,
        output_dir: Path,
        timeout: float = 3600,
        progress: Progress | None = None,
    ) -> ExecuteOutcome:
        """Run what the input folder says, write the output folder.

        Args:
            input_dir: From :meth:`prepare_input`.
            output_dir: Made if it is not there.
            timeout: Seconds after which the run is given up.
            progress: Told how far it is; what it raises ends the run and is passed on.
        """

    def parse_output(self, output_dir: Path) -> EngineResult:
        """Read the result of a finished run.

        Raises:
            EngineError: there is no complete result in the folder.
        """
        path = output_dir / RESULT_FILE
        try:
            return result_from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EngineError(
                f"There is no complete result in {output_dir.name}: {error}.",
                hint="The run did not finish; see log.txt there.",
                code="no_result",
            ) from error

    def run(
        self,
        structure: Structure,
        parameters: Mapping[str, Any],
        work_dir: Path,
        *,
        timeout: float = 3600,
        progress: Progress | None = None,
    ) -> EngineResult:
        """Prepare, execute and parse.

        Returns:
            The result; its ``files`` are relative to ``work_dir``, its ``resources`` are of this
            execution.

        Raises:
            InvalidInputError: refused before anything ran.
            EngineError: it ran and did not give a result that may be used.
        """
        given = self.parallelism(self.validate(structure, parameters))
        requested = {
            "processes": given.processes,
            "threads": given.threads,
            "estimated_cpu_s": self.estimate_seconds(structure, parameters),
        }
        input_dir = self.prepare_input(structure, parameters, work_dir)
        output_dir = work_dir / OUTPUT_DIR
        with Meter() as meter:
            outcome = self.execute(
                input_dir, output_dir, timeout=timeout, progress=with_time_left(progress)
            )
        if not outcome.success:
            raise outcome.error or EngineError(outcome.message)
        result = replace(
            self.parse_output(output_dir),
            resources={"requested": requested, "used": meter.used()},
        )
        write_result(result, output_dir)
        return result


def _refusal(
    engine: str, model: type[EngineParameters], error: ValidationError
) -> InvalidInputError:
    """The first complaint of pydantic in words, with the nearest name for a typo."""
    import difflib

    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "parameters"
    if first["type"] == "extra_forbidden":
        names = list(model.model_fields)
        near = difflib.get_close_matches(where, names, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        return InvalidInputError(
            f"{engine} has no parameter {where!r}.",
            hint=f"{hint}There are: {', '.join(names)}.",
            details={"parameter": where},
            code="unknown_parameter",
        )
    return InvalidInputError(
        f"{engine}: parameter {where!r}: {first['msg']}.",
        hint=f"See the parameters of the workflow in the documentation of {engine}.",
        details={"parameter": where},
        code="invalid_parameter",
    )


def result_from_dict(data: Mapping[str, Any]) -> EngineResult:
    """The inverse of :meth:`EngineResult.as_dict`.

    Raises:
        KeyError, TypeError: not a result.
    """
    fields = dict(data)
    fields.pop(_STRESS_GPA, None)
    structure = fields.pop("structure")
    magmoms = fields.pop("magmoms")
    forces, stress = fields.pop("forces"), fields.pop("stress")
    return EngineResult(
        structure=Structure.from_dict(structure) if structure else None,
        provenance=Provenance(**fields.pop("provenance")),
        forces=triples(forces) if forces is not None else None,
        stress=triples(stress) if stress is not None else None,
        magmoms=tuple(magmoms) if magmoms is not None else None,
        series={name: tuple(numbers) for name, numbers in fields.pop("series").items()},
        labels=dict(fields.pop("labels")),
        warnings=tuple(fields.pop("warnings")),
        files=tuple(fields.pop("files")),
        **fields,
    )


def write_result(result: EngineResult, output_dir: Path) -> None:
    """Write ``result.json``, each value and each list on a line; :meth:`Engine.parse_output` reads it.

    It tells the stress in GPa, too.
    """
    rows = []
    for key, value in {**result.as_dict(), _STRESS_GPA: result.stress_gpa}.items():
        if isinstance(value, Mapping):
            inner = [f"\n  {json.dumps(name)}: {json.dumps(one)}" for name, one in value.items()]
            rows.append(f"\n {json.dumps(key)}: {{{','.join(inner)}}}")
        else:
            rows.append(f"\n {json.dumps(key)}: {json.dumps(value)}")
    write_text_atomically(output_dir / RESULT_FILE, f"{{{','.join(rows)}\n}}\n")


def write_text_atomically(path: Path, text: str) -> None:
    """The whole file or none: written beside it, flushed to disk, renamed."""
    scratch = path.with_name(f".{path.name}.part")
    with scratch.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    scratch.replace(path)


def write_input(structure: Structure, parameters: EngineParameters, work_dir: Path) -> Path:
    """Write structure and parameters as JSON to ``work_dir/input``."""
    input_dir = work_dir / INPUT_DIR
    input_dir.mkdir(parents=True, exist_ok=True)
    write_text_atomically(
        input_dir / STRUCTURE_FILE, json.dumps(structure.as_dict(), indent=1) + "\n"
    )
    write_text_atomically(
        input_dir / PARAMETERS_FILE, json.dumps(parameters.model_dump(mode="json"), indent=1) + "\n"
    )
    return input_dir


def read_input(input_dir: Path) -> tuple[Structure, dict[str, Any]]:
    """The inverse of :func:`write_input`.

    Raises:
        InvalidInputError: a file is missing or is not what it should be.
    """
    try:
        structure = json.loads((input_dir / STRUCTURE_FILE).read_text(encoding="utf-8"))
        parameters = json.loads((input_dir / PARAMETERS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"{input_dir} is not an input folder: {error}.",
            hint=f"It holds {STRUCTURE_FILE} and {PARAMETERS_FILE}.",
        ) from error
    return Structure.from_dict(structure), parameters


def hashes(input_dir: Path) -> dict[str, str]:
    """File name to SHA-256 of every file in the folder."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(input_dir.iterdir())
        if path.is_file() and not path.name.startswith(".")
    }
