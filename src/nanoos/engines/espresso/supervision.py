"""One start of pw.x: watched while it runs, ended with whatever ends the watcher."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nanoos.engines.child_process import Clock, Tail, follow
from nanoos.engines.espresso.stdout import PwOutput

Tell = Callable[[float, str], None]

_REPORT_S: Final = 0.5
_IONIC_STEPS_EXPECTED: Final = 8.0
_ACCURACY_AT_FIRST_EV: Final = 10.0
_LESS: Final = "Raise the timeout, use more processes, a smaller cell or lower cutoffs."


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What is to be started.

    Attributes:
        command: Program and arguments.
        environment: Of the process.
        folder: Working folder.
        output: What it says goes there.
        errors: What it says on its error stream goes there.
        deadline: ``time.monotonic()`` at which it is given up.
        timeout_s: For the message.
        conv_thr_ev: Accuracy at which an SCF ends, eV.
        relaxing: Whether geometries change.
        steps_before: Geometries of earlier starts.
        label: What progress messages begin with.
    """

    command: Sequence[str]
    environment: dict[str, str]
    folder: Path
    output: Path
    errors: Path
    deadline: float
    timeout_s: float
    conv_thr_ev: float
    relaxing: bool
    steps_before: int
    label: str


def supervise(start: Start, reader: PwOutput, tell: Tell) -> int:
    """Run pw.x to its end; returns its exit code (negative: the signal that ended it).

    Raises:
        EngineError: code ``timeout``.
    """
    tail = Tail(start.output)
    reported = 0.0

    def look() -> None:
        nonlocal reported
        reader.feed(tail.more())
        if time.monotonic() - reported >= _REPORT_S:
            reported = time.monotonic()
            tell(*where_it_is(start, reader))

    with start.output.open("wb") as output, start.errors.open("wb") as errors:
        code = follow(
            start.command,
            look,
            Clock(deadline=start.deadline, timeout_s=start.timeout_s, hint=_LESS),
            folder=start.folder,
            environment=start.environment,
            streams=(output, errors),
        )
    reader.feed(tail.more() + "\n")
    tell(*where_it_is(start, reader))
    return code


def where_it_is(start: Start, reader: PwOutput) -> tuple[float, str]:
    """The share that is done, as far as it can be told, and a sentence."""
    words = [start.label]
    done = 0.0
    if start.relaxing:
        words.append(f"ionic step {start.steps_before + max(1, len(reader.cycles))}")
        steps = start.steps_before + len(reader.steps)
        done = 1.0 - math.exp(-steps / _IONIC_STEPS_EXPECTED)
    if reader.cycles:
        cycle = reader.cycles[-1]
        iteration = len(cycle.energies_ev) + (cycle.converged is None)
        words.append(f"SCF iteration {iteration}")
        if cycle.accuracies_ev:
            accuracy = max(cycle.accuracies_ev[-1], 1e-30)
            words.append(f"accuracy {accuracy:.1e} eV of {start.conv_thr_ev:.0e}")
            whole = math.log(_ACCURACY_AT_FIRST_EV / start.conv_thr_ev)
            share = math.log(_ACCURACY_AT_FIRST_EV / accuracy) / whole
            share = min(1.0, max(0.0, share))
            done = share if not start.relaxing else done + 0.1 * share * (1.0 - done)
    if start.relaxing and reader.steps:
        forces = reader.steps[-1].forces
        if forces is not None:
            words.append(f"largest force {abs(forces).max():.3f} eV/Å")
    return min(1.0, done), ", ".join(words)
