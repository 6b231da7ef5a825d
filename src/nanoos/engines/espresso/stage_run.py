"""A stage of a workflow: what it shares with others, how far it is, what it gave."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from nanoos.engines.espresso.input_file import PwTask
from nanoos.engines.espresso.program import EspressoProgram
from nanoos.engines.espresso.remedies import Remedy
from nanoos.engines.espresso.stdout import IonicStep, PwOutput, ScfCycle
from nanoos.engines.espresso.supervision import Tell
from nanoos.engines.espresso.xml_output import PwXml
from nanoos.structures import Structure

RELAXING: Final = ("relax", "vc-relax")
"""Calculations that move atoms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """What a finished stage gave.

    Attributes:
        name: Of the stage.
        xml: Numbers of record, of the last geometry.
        structure: Last geometry.
        steps: Every geometry that was computed, over all starts.
        cycles: Every SCF, over all starts.
        cpu_s: Seconds of processor, over all starts; of one that was killed, what pw.x said with
            its last iteration.
        attempts: Remedies that were tried, in order; the last one worked.
        physics_changed: Whether a remedy changed what is computed.
        warnings: What pw.x complained of.
        files: Names of the files it left.
    """

    name: str
    xml: PwXml
    structure: Structure
    steps: tuple[IonicStep, ...]
    cycles: tuple[ScfCycle, ...]
    cpu_s: float
    attempts: tuple[str, ...]
    physics_changed: bool
    warnings: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class StageRun:
    """How far a stage is."""

    task: PwTask
    digest: str
    tried: list[str] = field(default_factory=list)
    rungs: Iterator[Remedy] | None = None
    """Remedies that are left; None until the first failure says which."""
    physics: bool = False
    steps: list[IonicStep] = field(default_factory=list)
    cycles: list[ScfCycle] = field(default_factory=list)
    cpu_s: float = 0.0
    stems: list[str] = field(default_factory=list)
    continuations: int = 0
    slice_s: float = 0.0
    begun_at: float = 0.0
    """Share of the stage that was told when the SCF was begun anew."""
    told: float = 0.0

    def add(self, reader: PwOutput) -> None:
        """Take in what a start gave."""
        self.steps += reader.steps
        self.cycles += reader.cycles
        self.cpu_s += reader.cpu_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every stage of an execution shares.

    Attributes:
        folder: The output folder, where pw.x runs.
        program: Which pw.x.
        pools: Pools of k-points.
        deadline: ``time.monotonic()`` at which the execution is given up.
        timeout_s: For the message.
        remedies: Which are allowed.
        checkpoint_s: How often pw.x is stopped cleanly.
        tell: Told (share of the stage, message).
        say: Told lines for the log.
    """

    folder: Path
    program: EspressoProgram
    pools: int
    deadline: float
    timeout_s: float
    remedies: str
    checkpoint_s: float
    tell: Tell
    say: Any


def result_of(name: str, run: StageRun, xml: PwXml, reader: PwOutput) -> StageResult:
    """What a stage gave.

    Args:
        name: Of the stage.
        run: With all its starts.
        xml: Of the last one.
        reader: Of the output of the last one.
    """
    structure = run.task.structure
    if run.task.calculation in RELAXING:
        structure = reader.last_geometry(structure)
    files = [f"{stem}{suffix}" for stem in run.stems for suffix in (".in", ".out")]
    return StageResult(
        name=name,
        xml=xml,
        structure=structure,
        steps=tuple(run.steps),
        cycles=tuple(run.cycles),
        cpu_s=run.cpu_s - reader.cpu_s + xml.cpu_s,
        attempts=tuple(run.tried),
        physics_changed=run.physics,
        warnings=tuple(reader.warnings),
        files=(*files, f"{run.stems[-1]}.xml"),
    )
