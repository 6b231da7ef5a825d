"""The process in which jobs run: ``python -m nanoos.worker.child PARENT_PID COMMAND_FD REPLY_FD``.

It stays alive from job to job, so that a model is loaded once, and is the leader of its own
process group, so that it and every program it starts can be ended together. Commands come as
JSON lines on one pipe, replies go as JSON lines on another; what happened to a job is in the
database, never only in a reply.
"""

import json
import os
import queue
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil

from nanoos.core.errors import BadCheckpointError, CancelledError, NanoosError, TransientError
from nanoos.core.processes import die_with_parent, kill_group
from nanoos.services.container import Services
from nanoos.services.job_files import LOG_NAME
from nanoos.services.job_kinds import JOB_KINDS, JobClaim, JobOutcome
from nanoos.services.jobs import LeaseLostError
from nanoos.worker.run_lines import runs_told_to

T = TypeVar("T")

PROGRESS_INTERVAL_S = 0.5
RSS_LIMIT_BYTES = 8 << 30
"""A child larger than this after a job is replaced by a fresh one."""

_LASTING_OS_ERRORS = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
"""Errors of the operating system that a second attempt would meet again."""


class Commands:
    """What the worker says: jobs to run, and that the lease of the running one holds.

    A worker that is stopped (a suspended process, a debugger) renews nothing, so its job is
    given to another. Its child must not go on beside that one: it ends itself when the lease
    it last heard of is over.

    Args:
        descriptor: Where the commands come from.
    """

    def __init__(self, descriptor: int) -> None:
        self._stream = os.fdopen(descriptor, "r", encoding="utf-8")
        self._jobs: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        self._deadline: float | None = None

    def read_settings(self) -> Any:
        """The first line: the worker's settings."""
        return json.loads(self._stream.readline())

    def listen(self) -> None:
        """Begin to read commands and to watch the lease."""
        threading.Thread(target=self._read, name="commands", daemon=True).start()
        threading.Thread(target=self._watch, name="lease", daemon=True).start()

    def next_job(self) -> Mapping[str, Any] | None:
        """Wait for the next job; None when the worker closed the pipe."""
        return self._jobs.get()

    def job_ended(self) -> None:
        """No lease has to be watched until the next job."""
        self._deadline = None

    def _read(self) -> None:
        with suppress(OSError, ValueError):
            for line in self._stream:
                message = json.loads(line)
                if "job_id" in message:
                    self._deadline = message["deadline"]
                    self._jobs.put(message)
                elif self._deadline is not None:
                    self._deadline = message["deadline"]
        self._jobs.put(None)

    def _watch(self) -> None:
        while True:
            time.sleep(0.1)
            if self._is_over():
                time.sleep(0.5)  # work that blocked this thread has blocked the reader, too
                if self._is_over():
                    kill_group(os.getpgrp(), None)

    def _is_over(self) -> bool:
        deadline = self._deadline
        return deadline is not None and time.monotonic() > deadline


class RunningJob:
    """The context that a handler works in."""

    def __init__(self, services: Services, claim: JobClaim) -> None:
        self._services = services
        self._claim = claim
        self._reported_at = 0.0
        self._run_dir = services.job_files.take_up(claim)

    @property
    def run_dir(self) -> Path:
        """The job's own folder."""
        return self._run_dir

    def progress(self, fraction: float, message: str) -> None:
        """Report progress, at most every half second.

        A database that does not answer now is no reason to end the work.

        Raises:
            LeaseLostError: the job is no longer this attempt's.
        """
        now = time.monotonic()
        if now - self._reported_at < PROGRESS_INTERVAL_S:
            return
        self._reported_at = now
        try:
            self._services.jobs.report_progress(self._claim, fraction, message)
        except LeaseLostError:
            raise
        except TransientError as error:
            _say(f"progress not recorded: {error}")


def main(argv: Sequence[str]) -> int:
    """Serve jobs until the command pipe closes."""
    parent, command_fd, reply_fd = (int(argument) for argument in argv)
    die_with_parent(parent)
    for descriptor in (command_fd, reply_fd):  # never for a program that a job starts
        os.set_inheritable(descriptor, False)
    for stream in (sys.stdout, sys.stderr):  # a log can be followed while it is written
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    from nanoos.bootstrap import build_services
    from nanoos.config import Settings

    commands = Commands(command_fd)
    with os.fdopen(reply_fd, "w", buffering=1) as replies:
        services = build_services(Settings.model_validate(commands.read_settings()))
        commands.listen()
        _reply(replies, ready=True)
        while (command := commands.next_job()) is not None:
            run_job(services, _claim_of(command))
            commands.job_ended()
            large = psutil.Process().memory_info().rss > RSS_LIMIT_BYTES
            _reply(replies, done=command["job_id"], replace=large)
        services.close()
    return 0


def _claim_of(command: Mapping[str, Any]) -> JobClaim:
    return JobClaim(
        job_id=uuid.UUID(command["job_id"]),
        attempt=command["attempt"],
        kind=command["kind"],
        owner_id=uuid.UUID(command["owner_id"]),
        payload=command["payload"],
    )


def _reply(replies: Any, **message: Any) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def _say(text: str) -> None:
    print(f"-- {text}", flush=True)  # noqa: T201 - into the job's log


def run_job(services: Services, claim: JobClaim) -> None:
    """Run one claimed job to its end and record it; never raises for what the job did."""
    log = services.runs_dir / str(claim.job_id) / LOG_NAME
    try:
        context = RunningJob(services, claim)
        with _LogRedirection(log):
            try:
                _attempt(services, claim, context)
            except LeaseLostError as error:
                _say(f"given up: {error}")
    except LeaseLostError:
        return
    except (OSError, TransientError) as error:  # no run folder, no log
        known = error if isinstance(error, TransientError) else _system_error(error)
        with suppress(LeaseLostError):
            _fail(services, claim, known, retryable=True)


def _attempt(services: Services, claim: JobClaim, context: RunningJob) -> None:
    if claim.attempt > 1:
        _say(f"attempt {claim.attempt}")
    try:
        with runs_told_to(context.run_dir / LOG_NAME):
            outcome = JOB_KINDS.get(claim.kind).handler(services, claim, context)
        _complete(services, claim, outcome)
    except LeaseLostError:
        raise
    except CancelledError:
        _insist(lambda: services.jobs.end_cancelled(claim))
        _keep_files(services, claim)
    except BadCheckpointError as error:
        _say(f"failed: {error} The next attempt begins anew.")
        services.job_files.forget_saved(claim.job_id)
        _fail(services, claim, error, retryable=True)
    except NanoosError as error:
        _say(f"failed: {error}")
        _fail(services, claim, error, retryable=isinstance(error, TransientError))
    except (OSError, MemoryError) as error:
        traceback.print_exc()
        lasting = isinstance(error, _LASTING_OS_ERRORS)
        _fail(services, claim, _system_error(error), retryable=not lasting)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the last edge: a defect of ours
        traceback.print_exc()
        defect = NanoosError(
            f"Internal error: {type(error).__name__}: {error}",
            hint="See the job's log; please report it.",
        )
        _fail(services, claim, defect, retryable=False)


def _system_error(error: OSError | MemoryError) -> TransientError:
    return TransientError(
        f"{type(error).__name__}: {error}", hint="See the job's log.", code="system_error"
    )


def _complete(services: Services, claim: JobClaim, outcome: JobOutcome) -> None:
    sys.stdout.flush()
    sealed = services.job_files.seal(claim.job_id, outcome.files)
    _insist(lambda: services.jobs.complete(claim, outcome, sealed))
    services.job_files.discard(claim.job_id)


def _fail(services: Services, claim: JobClaim, error: NanoosError, *, retryable: bool) -> None:
    sys.stdout.flush()
    state = _insist(lambda: services.jobs.fail(claim, error, retryable=retryable))
    if state != "queued":
        _keep_files(services, claim)


def _keep_files(services: Services, claim: JobClaim) -> None:
    try:
        services.job_files.keep(services.jobs, claim)
    except (NanoosError, OSError) as error:  # collected as garbage later, sealed then
        _say(f"files not sealed: {error}")


def _insist(record: Callable[[], T]) -> T:
    """Record the end of finished work, however long the database is away.

    Hours of work must not be lost to a database that restarts. The worker ends this process
    when the lease is over.
    """
    wait_s = 0.1
    while True:
        try:
            return record()
        except TransientError as error:
            if error.error_code != "database_unavailable":
                raise
            _say(f"{error} Trying again.")
        time.sleep(wait_s)
        wait_s = min(2.0, 2 * wait_s)


class _LogRedirection:
    """Sends descriptors 1 and 2 (ours and those of programs we start) to the job's log."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        target = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        sys.stdout.flush()
        sys.stderr.flush()
        self._saved = (os.dup(1), os.dup(2))
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.close(target)

    def __exit__(self, *_exc: object) -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # a full disk must not hide what happened to the job
                stream.flush()
        for saved, standard in zip(self._saved, (1, 2), strict=True):
            os.dup2(saved, standard)
            os.close(saved)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
