"""A program in a process of its own: followed while it runs, ended with whatever ends that."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import psutil

from nanoos.core.errors import EngineError, NanoosError, TransientError
from nanoos.core.processes import start_bound
from nanoos.engines.telling import tell_written

POLL_S: Final = 0.1
_DISK_FULL_BYTES: Final = 1 << 20
_FAULTS: Final = (
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT),
    *(signal.SIGFPE, signal.SIGILL),
)
_SHELL_BASE: Final = 128
_DISK_WORDS: Final = ("No space left on device", "Disk quota exceeded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """When a run is given up.

    Attributes:
        deadline: ``time.monotonic()`` at which it is.
        timeout_s: For the message.
        hint: How the work gets less.
    """

    deadline: float
    timeout_s: float
    hint: str

    def check(self) -> None:
        """Raise EngineError, code ``timeout``, when it is too late."""
        if time.monotonic() > self.deadline:
            raise EngineError(
                f"Not finished within {self.timeout_s:g} s.", hint=self.hint, code="timeout"
            )


def follow(
    command: Sequence[str],
    look: Callable[[], bool | None],
    clock: Clock,
    *,
    folder: Path,
    environment: dict[str, str],
    streams: tuple[IO[bytes], IO[bytes]],
    first_poll_s: float = POLL_S,
    most_poll_s: float = POLL_S,
) -> int:
    """Run a program to its end, and tell what it wrote.

    Whatever ends this function early (the clock, what ``look`` raises) ends the program and all
    that it started first.

    Args:
        command: Program and arguments.
        look: Called while the program runs, without a wait where it returned True: it has more to
            do.
        clock: Ends it.
        folder: Its working folder.
        environment: Of its process.
        streams: Files that what it says and what it complains of go to.
        first_poll_s: How long the first wait is, for short runs; each is twice that before.
        most_poll_s: How long a wait becomes.

    Returns:
        Its exit code; negative: the signal that ended it.

    Raises:
        EngineError: code ``timeout``.
    """
    clock.check()
    output, errors = streams
    begins = {Path(stream.name): stream.tell() for stream in streams}
    process = start_bound(command, cwd=folder, env=environment, stdout=output, stderr=errors)
    wait_s = first_poll_s
    try:
        while process.poll() is None:
            clock.check()
            if look():
                continue
            with suppress(subprocess.TimeoutExpired):  # psutil's wait would take the exit code
                process.wait(wait_s)
            wait_s = min(most_poll_s, 2 * wait_s)
    finally:
        end_family(process.pid)
        code = process.wait()
        for path, begin in begins.items():
            tell_written(path, begin=begin)
    return code


def end_family(pid: int) -> None:
    """Kill a process and what it started (the ranks of an mpirun)."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in [*parent.children(recursive=True), parent]:
            with suppress(psutil.NoSuchProcess):
                process.kill()


class Tail:
    """What was added to a text file since it was last asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def more(self) -> str:
        """The new text; empty where there is none."""
        with suppress(FileNotFoundError), self._path.open("rb") as stream:
            stream.seek(self._offset)
            data = stream.read()
            self._offset += len(data)
            return data.decode("utf-8", errors="replace")
        return ""


def last_lines(path: Path, lines: int = 6) -> str:
    """The end of a text file, on one line; empty where there is none."""
    with suppress(OSError):
        found = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return " ".join(line.strip() for line in found[-lines:] if line.strip())
    return ""


def disk_is_full(folder: Path, said: str) -> bool:
    """Whether there is no room in a folder, or a program says so."""
    full = shutil.disk_usage(folder).free < _DISK_FULL_BYTES
    return full or any(words in said for words in _DISK_WORDS)


def disk_full(program: str, *, goes_on: str = "") -> TransientError:
    """The error of a program that could not write; ``goes_on`` says from what a retry goes on."""
    return TransientError(
        f"{program} could not write: the disk is full.",
        hint=f"Make room in the data folder{goes_on}.",
        code="disk_full",
    )


def signal_of(code: int) -> int | None:
    """The signal that ended a program, also one that ``mpirun`` or a shell started; None: it ended.

    A launcher whose process was killed by signal n ends with 128 + n, that of MPICH with n; no
    program that is run here has exit codes 9 or 15 of its own.
    """
    if code < 0:
        return -code
    if _SHELL_BASE < code <= _SHELL_BASE + signal.NSIG:
        return code - _SHELL_BASE
    return code if code in {signal.SIGKILL, signal.SIGTERM} else None


def killed(program: str, number: int, *, where: str = "", resumable: bool) -> TransientError:
    """The error of a program that a signal of that number ended."""
    again = "; the run can be taken up again" if resumable else ""
    return TransientError(
        f"{program} was ended from outside (signal {number}){where}.",
        hint=f"Signal 9 often means that memory ran out{again}.",
        details={"signal": number},
        code="killed",
    )


def crashed(error: NanoosError) -> bool:
    """Whether a program ended by a fault of its own, as it may over a file that it cannot read."""
    return error.details.get("signal") in _FAULTS
