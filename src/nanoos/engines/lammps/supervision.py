"""The program while it runs: progress, cancellation, the clock, and why it failed."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from nanoos.core.errors import EngineError, NanoosError, UnavailableError
from nanoos.engines.base import Progress
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
from nanoos.engines.lammps.logs import ThermoReader
from nanoos.engines.telling import tell_written

OUTPUT_FILE: Final = "screen.txt"
KEPT_RESTARTS: Final = 2
_FIRST_POLL_S: Final = 0.005
_MOST_POLL_S: Final = 0.03
"""Frames are taken up as soon as the log, which comes in blocks, has their energies."""
_LESS: Final = "Raise the timeout, take fewer steps or a smaller cell."
_TAIL_LINES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One start of the program.

    Attributes:
        command: Program and arguments.
        environment: Of the process.
        folder: Working folder, where it writes.
        log: Its log, in that folder.
        total_steps: Steps of the whole run.
        may_end_early: Whether fewer steps may do, so that nobody knows the share that is done.
        first_step: Step it begins at.
        deadline: ``time.monotonic()`` at which it is given up.
        timeout_s: For the message.
        label: What progress messages begin with.
    """

    command: Sequence[str]
    environment: dict[str, str]
    folder: Path
    log: Path
    total_steps: int
    may_end_early: bool
    first_step: int
    deadline: float
    timeout_s: float
    label: str
    idle: Callable[[ThermoReader, bool], bool]
    """Work that can be done while the program runs; told what the log says so far, and, with True,
    when it has ended. Does a part of it and returns whether there is more."""


def supervise(attempt: Attempt, progress: Progress | None) -> ThermoReader:
    """Run the program to its end.

    Whatever ends this function early (a timeout, what ``progress`` raises) ends the program and
    all that it started first.

    Returns:
        What its log said.

    Raises:
        EngineError: timeout, an error of LAMMPS, numbers that are not finite.
        UnavailableError: a style that is not compiled in.
        TransientError: it was killed from outside, or the disk is full.
    """
    reader = ThermoReader()
    tail = Tail(attempt.log)

    def look() -> bool:
        reader.feed(tail.more())
        _check_finite(reader)
        _report(attempt, reader, progress)
        _drop_old_restarts(attempt.folder)
        return attempt.idle(reader, False)

    clock = Clock(deadline=attempt.deadline, timeout_s=attempt.timeout_s, hint=_LESS)
    try:
        with (attempt.folder / OUTPUT_FILE).open("ab") as screen:
            code = follow(
                attempt.command,
                look,
                clock,
                folder=attempt.folder,
                environment=attempt.environment,
                streams=(screen, screen),
                first_poll_s=_FIRST_POLL_S,
                most_poll_s=_MOST_POLL_S,
            )
    finally:
        tell_written(attempt.log)  # it writes there what others print
    reader.feed(tail.more())
    _check_finite(reader)
    if code != 0:
        raise _failure(attempt, reader, code)
    while attempt.idle(reader, True):
        clock.check()
        if progress is not None:
            progress(0.98, "reading the trajectory")
    return reader


def _check_finite(reader: ThermoReader) -> None:
    if reader.rows and not np.all(np.isfinite(reader.rows[-1])):
        raise _not_finite(reader.step)


def _not_finite(step: int) -> EngineError:
    return EngineError(
        f"The atoms flew apart: energy or pressure is no number at step {step}.",
        hint="Take a shorter timestep, relax the structure first, or another potential.",
        code="not_finite",
    )


def _report(attempt: Attempt, reader: ThermoReader, progress: Progress | None) -> None:
    if progress is None:
        return
    step = max(reader.step, attempt.first_step)
    fraction = min(0.98, 0.98 * step / max(1, attempt.total_steps))
    up_to = "at most " if attempt.may_end_early else ""
    parts = [f"{attempt.label} {step:,} of {up_to}{attempt.total_steps:,}"]
    if reader.rows and reader.rows[-1][1] > 0:
        parts.append(f"{reader.rows[-1][1]:.0f} K")
    progress(0.0 if attempt.may_end_early else fraction, ", ".join(parts))


def restart_files(folder: Path) -> list[tuple[int, Path]]:
    """Restart files with their steps, the newest first."""
    found = []
    for path in folder.glob("restart.*.lammps"):
        with suppress(ValueError):
            found.append((int(path.name.split(".")[1]), path))
    return sorted(found, reverse=True)


def _drop_old_restarts(folder: Path) -> None:
    """Two are kept: the newest may be half written when the run is killed."""
    for _, path in restart_files(folder)[KEPT_RESTARTS:]:
        path.unlink(missing_ok=True)


_REASONS: Final = (
    ("Lost atoms", "lost_atoms", "Atoms were lost: they moved too far in one step."),
    ("Non-numeric", "not_finite", "The atoms flew apart: coordinates or pressure are no numbers."),
    ("Out of range atoms", "lost_atoms", "Atoms were lost: they moved too far in one step."),
    ("Bond atoms missing", "lost_atoms", "Bonded atoms were lost."),
)
_SHORTER: Final = "Take a shorter timestep, relax the structure first, or another potential."


def _failure(attempt: Attempt, reader: ThermoReader, code: int) -> NanoosError:
    """The reason in the log, or what the exit says."""
    folder = attempt.folder
    saved = bool(restart_files(folder))
    said = " ".join(reader.errors) or last_lines(folder / OUTPUT_FILE, _TAIL_LINES)
    if disk_is_full(folder, said):
        goes_on = "; the run goes on from its last restart file" if saved else ""
        return disk_full("LAMMPS", goes_on=goes_on)
    for words, error_code, message in _REASONS:
        if words in said:
            return EngineError(
                f"{message} (step {reader.step})",
                hint=_SHORTER,
                details={"log": said},
                code=error_code,
            )
    if "Unrecognized" in said or "Unknown" in said:
        return UnavailableError(
            f"This LAMMPS lacks something the run needs: {said}",
            hint="Set NANO_OS_LAMMPS_COMMAND to a LAMMPS that was built with it.",
            code="missing_style",
        )
    if (number := signal_of(code)) is not None:
        return killed("LAMMPS", number, where=f" at step {reader.step}", resumable=saved)
    return EngineError(
        f"LAMMPS stopped at step {reader.step}: {said or f'exit code {code}'}",
        hint=f"See {attempt.log.name} and {OUTPUT_FILE} of the run.",
        code="lammps_failed",
    )
