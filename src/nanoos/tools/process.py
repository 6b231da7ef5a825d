"""A tool at work: its own Python in a long-lived process, asked over a pipe.

Starting one takes seconds (torch and its like are imported), a request a fraction of a
millisecond beyond the work itself.
"""

import os
import queue
import signal
import subprocess
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

import numpy.typing as npt

from nanoos.core.errors import EngineError, UnavailableError
from nanoos.core.processes import start_bound
from nanoos.tools.environments import tool_environments
from nanoos.tools.pipe import Pipe, PipeClosedError, PipeTimeoutError
from nanoos.tools.programs import serve
from nanoos.tools.registry import TOOLS

Array = npt.NDArray[Any]
Progress = Callable[[float, str], None]

START_TIMEOUT_S: Final = 300.0
REQUEST_TIMEOUT_S: Final = 3600.0
_LINES_KEPT: Final = 40
_LINES_SHOWN: Final = 6
_LOG_LIMIT_BYTES: Final = 4 << 20
_END_S: Final = 5.0
_LEAVING_S: Final = 1.0
"""A process that closed its pipe is given so long to end by itself: its exit code tells why."""


class ToolError(EngineError):
    """A tool's process answered with an error, ended, or did not answer in time."""

    code = "tool_failed"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What a request gave.

    Attributes:
        fields: JSON types.
        arrays: Name to array.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)


class ToolProcess:
    """A process that serves requests, started by the first one and again after it ended.

    It dies with this process, leads a process group of its own, and writes what it says to a
    log. Threads may share one: requests wait for each other. It keeps no state that a request
    relies on, so a new process can answer the next one.

    Args:
        name: As errors call it.
        python: The Python to run; or a function that gives it when a process is started.
        program: File with ``REQUESTS``; see :mod:`nanoos.tools.programs.serve`.
        log: File that its standard error is appended to.
        start_timeout_s: How long its imports may take.
    """

    def __init__(
        self,
        name: str,
        python: Path | Callable[[], Path],
        program: Path,
        log: Path,
        *,
        start_timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        self.name = name
        self._python = python
        self._program = program
        self._log = log
        self._start_timeout_s = start_timeout_s
        self._lock = threading.Lock()
        self._running: _Running | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the running process, None where there is none."""
        running = self._running
        return running.process.pid if running is not None and running.alive else None

    def request(
        self,
        request: str,
        fields: Mapping[str, Any] | None = None,
        arrays: Mapping[str, Array] | None = None,
        *,
        timeout_s: float = REQUEST_TIMEOUT_S,
        progress: Progress | None = None,
    ) -> Answer:
        """Ask, and wait for the answer.

        Args:
            request: Name in the program's ``REQUESTS``.
            fields: JSON types.
            arrays: Numbers, sent as they are (64 or 32 bits, bytes, booleans).
            timeout_s: How long the work may take, the start of a process apart.
            progress: Told (fraction, message); what it raises ends the process and comes out.

        Raises:
            UnavailableError: the tool is not installed, or its process does not start.
            ToolError: the program refused (code ``tool_failed``; the process goes on), the
                process ended (``tool_crashed``) or did not answer in time (``timeout``); after
                either the next request starts a new one.
        """
        header = {"request": request, "fields": dict(fields or {})}
        message = list(serve.pack(header, arrays or {}))
        with self._lock:
            running = self._started()
            try:
                return self._asked(running, message, timeout_s, progress)
            except _RefusedError as refusal:
                raise refusal.error from None
            except BaseException as error:
                self._running = None
                running.end(after_s=_LEAVING_S if isinstance(error, PipeClosedError) else 0.0)
                if isinstance(error, PipeTimeoutError):
                    raise ToolError(
                        f"{self.name} did not answer within {timeout_s:g} s and was ended.",
                        hint="Ask for less at once, or allow more time.",
                        code="timeout",
                    ) from error
                if isinstance(error, (PipeClosedError, serve.ProtocolError)):
                    raise running.crash(self.name, "while it worked", error) from error
                raise

    def close(self) -> None:
        """End the process; a later request starts one again."""
        with self._lock:
            running, self._running = self._running, None
            if running is not None:
                running.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _started(self) -> "_Running":
        if self._running is not None and self._running.alive:
            return self._running
        if self._running is not None:
            self._running.end()
        python = self._python if isinstance(self._python, Path) else self._python()
        command = [str(python), "-I", "-X", "utf8", serve.__file__, str(self._program)]
        self._running = None
        running = _Running(command, self._log)
        try:
            header, _ = running.pipe.receive(time.monotonic() + self._start_timeout_s)
        except (PipeClosedError, serve.ProtocolError) as error:
            running.end(after_s=_LEAVING_S)
            crash = running.crash(self.name, "while it started", error)
            raise UnavailableError(
                crash.message, hint=crash.hint, details=crash.details, code="tool_broken"
            ) from error
        except PipeTimeoutError as error:
            running.end()
            raise UnavailableError(
                f"{self.name} did not start within {self._start_timeout_s:g} s.",
                hint=f"What it said stands in {self._log}.",
                code="tool_broken",
            ) from error
        except BaseException:
            running.end()
            raise
        if header.get("reply") != "ready" or header.get("protocol") != serve.PROTOCOL:
            running.end()
            raise UnavailableError(
                f"{self.name} speaks another protocol.", hint="Start this program again."
            )
        self._running = running
        return running

    def _asked(
        self,
        running: "_Running",
        message: Sequence[bytes],
        timeout_s: float,
        progress: Progress | None,
    ) -> Answer:
        deadline = time.monotonic() + timeout_s
        running.pipe.send(message, deadline)
        while True:
            header, arrays = running.pipe.receive(deadline)
            match header.get("reply"):
                case "progress":
                    if progress is not None:
                        progress(header["fraction"], header["message"])
                case "result":
                    return Answer(fields=header["fields"], arrays=arrays)
                case "error":
                    details = {"kind": header["kind"], "trace": header["trace"]}
                    raise _RefusedError(
                        ToolError(f"{self.name}: {header['message']}", details=details)
                    )
                case other:
                    raise serve.ProtocolError(f"there is no reply {other!r}")


class _RefusedError(Exception):
    """The program answered with an error: its process is sound."""

    def __init__(self, error: ToolError) -> None:
        super().__init__()
        self.error = error


class _Running:
    """One process, with the thread that made it and reads what it says.

    The kernel ends a bound process with the thread that made it, so that thread lives as long
    as the process; a thread of a server's pool might not.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._command = command
        self._log = log
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)
        made: queue.SimpleQueue[subprocess.Popen[bytes] | OSError] = queue.SimpleQueue()
        self._keeper = threading.Thread(
            target=_keep, args=(command, log, self._lines, made), name="tool", daemon=True
        )
        self._keeper.start()
        process = made.get()
        if isinstance(process, OSError):
            raise process
        self.process = process
        assert process.stdin is not None  # noqa: S101  (asked for below)
        assert process.stdout is not None  # noqa: S101
        self.pipe = Pipe(process.stdout, process.stdin)
        self._finalizer = weakref.finalize(self, _kill, process)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def end(self, *, after_s: float = 0.0) -> None:
        """End the process with all that it started, if it does not end within ``after_s``."""
        self._finalizer.detach()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=after_s)
        _kill(self.process)
        self._keeper.join(timeout=_END_S)
        self.pipe.close()

    def crash(self, name: str, when: str, error: Exception) -> ToolError:
        """What to say of a process that is gone or talks nonsense."""
        code = self.process.returncode
        if isinstance(error, serve.ProtocolError):
            how = f"sent what is no message ({error})"
        elif code is not None and code < 0:
            how = f"was ended by {_signal_name(-code)}"
        else:
            how = f"ended with exit code {code}"
        lines = list(self._lines)[-_LINES_SHOWN:]
        said = "\n".join(lines)
        memory = " Often memory ran out." if code == -signal.SIGKILL else ""
        return ToolError(
            f"The process of {name} {how} {when}.{memory}" + (f" It said:\n{said}" if said else ""),
            hint=f"The rest stands in {self._log}.",
            details={"exit_code": code, "output": lines},
            code="tool_crashed",
        )


def _keep(
    command: Sequence[str],
    log: Path,
    lines: deque[str],
    made: "queue.SimpleQueue[subprocess.Popen[bytes] | OSError]",
) -> None:
    """Make the process, and pass on what it says until it is gone."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".old.log"))
        with log.open("ab") as stream:
            process = start_bound(
                command,
                env={"OMP_NUM_THREADS": "1", **os.environ},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                own_group=True,
            )
            made.put(process)
            assert process.stderr is not None  # noqa: S101  (asked for above)
            with process.stderr as said:
                for line in said:
                    stream.write(line)
                    stream.flush()
                    lines.append(line.decode("utf-8", "replace").rstrip())
    except OSError as error:
        made.put(error)
        return
    process.wait()  # a process that closed its standard error may run on


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError, PermissionError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_END_S)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@cache
def _shared_process(name: str, root: Path) -> ToolProcess:
    spec = TOOLS.get(name)
    environments = tool_environments()
    if spec.program is None:
        raise UnavailableError(f"{spec.name} has no program that serves requests.")
    return ToolProcess(
        spec.name,
        lambda: environments.python(spec.name),
        spec.program,
        root / "logs" / f"{spec.name}-process.log",
    )


def tool_process(name: str) -> ToolProcess:
    """The process of the tool ``name``, one in this process for each data folder.

    Raises:
        NotFoundError: no such tool.
        UnavailableError: it is only run as a command.
    """
    return _shared_process(TOOLS.canonical_name(name), tool_environments().root)
