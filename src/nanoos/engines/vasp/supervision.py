"""One start of VASP: watched while it runs, ended with whatever ends the watcher."""

import math
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nanoos.core.errors import EngineError, NanoosError, UnavailableError
from nanoos.engines.child_process import (
    Clock,
    Tail,
    disk_full,
    disk_is_full,
    follow,
    killed,
    last_lines,
    signal_of,
)
from nanoos.engines.vasp.program import COMMAND_HINT, VaspProgram

Tell = Callable[[float, str], None]

STDOUT_FILE: Final = "vasp.out"
STDERR_FILE: Final = "vasp.err"

_REPORT_S: Final = 0.5
_IONIC_STEPS_EXPECTED: Final = 8.0
_CHANGE_AT_FIRST_EV: Final = 100.0
_LESS: Final = "Raise the timeout, use more processes, a smaller cell or a lower cutoff."
_ITERATION: Final = re.compile(r"^\s*(?:DAV|RMM|CG|DMP|SDA):\s*(\d+)\s+(\S+)\s+(\S+)")
_IONIC: Final = re.compile(r"^\s*(\d+)\s+F=\s*(\S+)")
_FATAL: Final = (
    "VERY BAD NEWS",
    "I REFUSE TO CONTINUE",
    "ZBRENT: fatal error",
    "Error EDDDAV",
    "LAPACK: Routine ZPOTRF failed",
    "inverse of rotation matrix was not found",
    "POSMAP internal error",
    "number of potentials on File POTCAR incompatible",
    "ERROR: there must be 1 or 3 items on line 2 of POSCAR",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What is to be started.

    Attributes:
        program: Which VASP.
        folder: It holds the input.
        deadline: ``time.monotonic()`` at which it is given up.
        timeout_s: For the message.
        ediff_ev: Change of the energy at which an SCF ends, eV.
        relaxing: Whether geometries change.
        label: What progress messages begin with.
    """

    program: VaspProgram
    folder: Path
    deadline: float
    timeout_s: float
    ediff_ev: float
    relaxing: bool
    label: str


@dataclass(slots=True)
class Followed:
    """How far OSZICAR says a run is; feed it text as it comes."""

    iteration: int = 0
    change_ev: float | None = None
    ionic_steps: int = 0
    _rest: str = field(default="", repr=False)

    def feed(self, text: str) -> None:
        """Take up what was added."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if found := _ITERATION.match(line):
                self.iteration = int(found.group(1))
                with suppress(ValueError):  # asterisks where a number was too long
                    self.change_ev = abs(float(found.group(3)))
            elif found := _IONIC.match(line):
                self.ionic_steps = int(found.group(1))
                self.iteration, self.change_ev = 0, None


def supervise(start: Start, tell: Tell) -> None:
    """Run VASP to its end.

    Raises:
        EngineError: ``timeout``, or ``vasp_failed`` where the exit or its words say so.
        TransientError: killed from outside, disk full.
        UnavailableError: it could not be started.
    """
    out, err = start.folder / STDOUT_FILE, start.folder / STDERR_FILE
    followed = Followed()
    tail = Tail(start.folder / "OSZICAR")
    reported = 0.0

    def look() -> None:
        nonlocal reported
        followed.feed(tail.more())
        if time.monotonic() - reported >= _REPORT_S:
            reported = time.monotonic()
            tell(*where_it_is(start, followed))

    with out.open("wb") as output, err.open("wb") as errors:
        code = follow(
            start.program.command,
            look,
            Clock(deadline=start.deadline, timeout_s=start.timeout_s, hint=_LESS),
            folder=start.folder,
            environment=start.program.environment(),
            streams=(output, errors),
        )
    followed.feed(tail.more() + "\n")
    tell(*where_it_is(start, followed))
    error = _failure(start, code)
    if error is not None:
        raise error


def where_it_is(start: Start, followed: Followed) -> tuple[float, str]:
    """The share that is done, as far as it can be told, and a sentence."""
    words = [start.label]
    done = 0.0
    if start.relaxing:
        words.append(f"ionic step {followed.ionic_steps + 1}")
        done = 1.0 - math.exp(-followed.ionic_steps / _IONIC_STEPS_EXPECTED)
    if followed.iteration:
        words.append(f"SCF iteration {followed.iteration}")
    if followed.change_ev is not None:
        change = max(followed.change_ev, 1e-30)
        words.append(f"energy changes by {change:.1e} eV of {start.ediff_ev:.0e}")
        whole = max(1.0, math.log(_CHANGE_AT_FIRST_EV / start.ediff_ev))
        share = min(1.0, max(0.0, math.log(_CHANGE_AT_FIRST_EV / change) / whole))
        done = done + 0.1 * share * (1.0 - done) if start.relaxing else share
    return min(1.0, done), ", ".join(words)


def _failure(start: Start, code: int) -> NanoosError | None:
    folder = start.folder
    out, err = folder / STDOUT_FILE, folder / STDERR_FILE
    said, tail = last_lines(err), last_lines(out)
    if code != 0 and disk_is_full(folder, said + tail):
        return disk_full("VASP")
    text = out.read_text(encoding="utf-8", errors="replace")
    fatal = next((words for words in _FATAL if words in text), None)
    if fatal is not None:
        return EngineError(
            f"VASP stopped: {fatal}.",
            hint=f"See {start.label}.{STDOUT_FILE} of the run.",
            details={"message": tail},
            code="vasp_failed",
        )
    if code == 0:
        return None
    if (number := signal_of(code)) is not None:
        return killed("VASP", number, resumable=False)
    if "No such file or directory" in said or "error while loading shared libraries" in said:
        return UnavailableError(f"VASP did not start: {said}", hint=COMMAND_HINT, code="no_vasp")
    return EngineError(
        f"VASP ended with exit code {code}: {said or tail or 'it said nothing'}",
        hint=f"See {start.label}.{STDOUT_FILE} of the run.",
        code="vasp_failed",
    )
