"""One slot of a worker: a child process, and the watch over the job that runs in it."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import structlog

from nanoos.config import Settings
from nanoos.core.errors import NanoosError, TransientError
from nanoos.core.processes import host_identity, kill_group, start_time
from nanoos.services.job_kinds import JobClaim
from nanoos.services.jobs import Executor, JobService, LeaseLostError

CANCEL_POLL_S = 0.5
STARTUP_TIMEOUT_S = 120.0

log = structlog.get_logger(__name__)


class ChildGoneError(Exception):
    """The child process ended by itself or was killed."""


class ChildProcess:
    """A warm child: started once, given job after job over a pipe.

    Must be used from the thread that made it: the kernel ends the child with that thread.
    """

    def __init__(self, settings: Settings) -> None:
        read_fd, write_fd = os.pipe()
        os.set_inheritable(write_fd, True)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "nanoos.worker.child", str(os.getpid()), str(write_fd)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=(write_fd,),
                start_new_session=True,
                env=_environment(settings),
            )
        finally:
            os.close(write_fd)
        self._replies = read_fd
        self._buffer = b""
        self.pid = self._process.pid
        self.started = start_time(self.pid) or time.time()
        document = settings.model_dump(mode="json") | {
            "secret_key": settings.secret_key.get_secret_value()
        }
        self._send(document)
        deadline = time.monotonic() + STARTUP_TIMEOUT_S
        while self.poll_reply(0.5) is None:
            if time.monotonic() > deadline:
                self.kill()
                raise ChildGoneError("it did not start in time")

    def _send(self, document: Mapping[str, object]) -> None:
        assert self._process.stdin is not None  # noqa: S101 - opened as a pipe above
        try:
            self._process.stdin.write(json.dumps(document).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise ChildGoneError(self._epitaph()) from error

    def give(self, claim: JobClaim) -> None:
        """Hand a claimed job over."""
        self._send({"job_id": str(claim.job_id), "attempt": claim.attempt})

    def poll_reply(self, timeout_s: float) -> Mapping[str, object] | None:
        """The next reply, or None after ``timeout_s``. Raises ChildGoneError at its end."""
        if b"\n" not in self._buffer:
            readable, _, _ = select.select([self._replies], [], [], timeout_s)
            if not readable:
                return None
            data = os.read(self._replies, 65536)
            if not data:
                raise ChildGoneError(self._epitaph())
            self._buffer += data
        line, separator, rest = self._buffer.partition(b"\n")
        if not separator:
            return None
        self._buffer = rest
        reply: Mapping[str, object] = json.loads(line)
        return reply

    def _epitaph(self) -> str:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "it closed its pipe"
        return f"killed by signal {-code}" if code < 0 else f"exit status {code}"

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def kill(self, *, grace_s: float = 0.0) -> None:
        """End the whole process group: TERM, then KILL after ``grace_s``."""
        if grace_s > 0 and self.is_alive:
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(self.pid, signal.SIGTERM)
                self._process.wait(timeout=grace_s)
        kill_group(self.pid, self.started)
        self._process.wait()
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        if self._replies >= 0:
            os.close(self._replies)
            self._replies = -1


def _environment(settings: Settings) -> dict[str, str]:
    threads = str(settings.threads_per_job)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return dict(os.environ) | dict.fromkeys(names, threads)


class Slot:
    """Runs one job at a time in its child and keeps the lease meanwhile.

    Args:
        jobs: The job service.
        settings: Handed to the child.
        stopping: Set when the worker should end; the running job is then given back.
    """

    def __init__(self, jobs: JobService, settings: Settings, stopping: threading.Event) -> None:
        self._jobs = jobs
        self._settings = settings
        self._stopping = stopping
        self._child: ChildProcess | None = None

    def run_next(self, queues: Sequence[str]) -> bool:
        """Claim and run the most urgent job of ``queues``; False if there was none."""
        child = self._ready_child()
        executor = Executor(
            host=host_identity(),
            pid=os.getpid(),
            start_time=start_time(os.getpid()) or 0.0,
            process_group=child.pid,
            process_start_time=child.started,
        )
        claim = self._jobs.claim(queues, executor)
        if claim is None:
            return False
        try:
            self._watch(child, claim)
        except LeaseLostError:
            log.warning("lease lost", job=str(claim.job_id), attempt=claim.attempt)
            self._drop_child()
        except ChildGoneError as error:
            self._drop_child()
            self._record_death(claim, str(error))
        return True

    def _ready_child(self) -> ChildProcess:
        if self._child is not None and not self._child.is_alive:
            self._drop_child()
        if self._child is None:
            self._child = ChildProcess(self._settings)
        return self._child

    def _watch(self, child: ChildProcess, claim: JobClaim) -> None:
        child.give(claim)
        renew_every_s = self._jobs.lease_s / 3
        renewed = heard = polled = time.monotonic()
        while True:
            reply = child.poll_reply(0.1)
            if reply is not None:
                if reply.get("replace"):
                    self._drop_child()
                return
            if self._stopping.is_set():
                self._drop_child(grace_s=1.0)
                self._jobs.release(claim, "the worker was stopped")
                return
            now = time.monotonic()
            if now - polled < CANCEL_POLL_S:
                continue
            polled = now
            try:
                if now - renewed >= renew_every_s:
                    cancel = self._jobs.renew(claim)
                    renewed = now
                else:
                    cancel = self._jobs.cancel_requested(claim)
                heard = now
            except LeaseLostError:
                # the child may just have ended the job itself: its reply comes first then
                if child.poll_reply(1.0) is not None:
                    return
                raise
            except NanoosError as error:
                log.warning("database not reached", error=str(error))
                if now - heard > self._jobs.lease_s:
                    self._drop_child()
                    return
                continue
            if cancel:
                self._drop_child(grace_s=0.5)
                self._jobs.end_cancelled(claim)
                return

    def _record_death(self, claim: JobClaim, how: str) -> None:
        error = TransientError(
            f"The process that ran the job ended: {how}.",
            hint="See the job's log; too little memory is the usual cause.",
            code="process_died",
        )
        try:
            self._jobs.fail(claim, error, retryable=True)
        except LeaseLostError:
            return  # it had finished the job before it died

    def _drop_child(self, *, grace_s: float = 0.0) -> None:
        if self._child is not None:
            self._child.kill(grace_s=grace_s)
            self._child = None

    def close(self) -> None:
        """End the child."""
        self._drop_child()
