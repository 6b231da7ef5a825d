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

import psutil
import structlog

from nanoos.config import Settings
from nanoos.core.errors import NanoosError, TransientError
from nanoos.core.processes import host_identity, kill_group, start_time
from nanoos.services.container import Services
from nanoos.services.job_kinds import JobClaim
from nanoos.services.jobs import Executor, LeaseLostError

CANCEL_POLL_S = 0.5
STARTUP_TIMEOUT_S = 120.0
LEASE_MARGIN = 0.9
"""Part of the lease after which a child that hears nothing ends itself."""

log = structlog.get_logger(__name__)


class ChildGoneError(Exception):
    """The child process ended by itself or was killed."""


class ChildProcess:
    """A warm child: started once, given job after job over a pipe.

    Must be made and used in a thread that outlives it: the kernel ends the child with that
    thread. :meth:`kill` may be called from any thread.

    Args:
        settings: What the child works with.

    Raises:
        ChildGoneError: no process can be started.
    """

    def __init__(self, settings: Settings) -> None:
        command_read, command_write = os.pipe()
        reply_read, reply_write = os.pipe()
        self._commands = command_write
        self._replies = reply_read
        self._buffer = b""
        arguments = [str(os.getpid()), str(command_read), str(reply_write)]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "nanoos.worker.child", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(command_read, reply_write),
                start_new_session=True,
                env=_environment(settings),
            )
        except OSError as error:
            self._close_pipes()
            raise ChildGoneError(f"it cannot be started: {error}") from error
        finally:
            os.close(command_read)
            os.close(reply_write)
        self.pid = self._process.pid
        self.started = start_time(self.pid) or 0.0

    def wait_ready(self, settings: Settings, stopping: threading.Event) -> None:
        """Hand the settings over and wait until it can take a job.

        Raises:
            ChildGoneError: it ended, took too long, or the worker is stopping.
        """
        secret = {"secret_key": settings.secret_key.get_secret_value()}
        self._send(settings.model_dump(mode="json") | secret)
        deadline = time.monotonic() + STARTUP_TIMEOUT_S
        while self.poll_reply(0.2) is None:
            if stopping.is_set():
                raise ChildGoneError("the worker is stopping")
            if time.monotonic() > deadline:
                raise ChildGoneError("it did not start in time")

    def _send(self, document: Mapping[str, object]) -> None:
        data = json.dumps(document).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._commands, data) :]
        except OSError as error:
            raise ChildGoneError(self._epitaph()) from error

    def give(self, claim: JobClaim, *, deadline: float) -> None:
        """Hand a claimed job over; its lease holds until ``deadline`` (monotonic clock, s)."""
        self._send(
            {
                "job_id": str(claim.job_id),
                "attempt": claim.attempt,
                "kind": claim.kind,
                "owner_id": str(claim.owner_id),
                "payload": claim.payload,
                "deadline": deadline,
            }
        )

    def extend(self, *, deadline: float) -> None:
        """Say that the lease was renewed."""
        self._send({"deadline": deadline})

    def poll_reply(self, timeout_s: float) -> Mapping[str, object] | None:
        """The next reply, or None after ``timeout_s``. Raises ChildGoneError at its end."""
        if b"\n" not in self._buffer:
            poller = select.poll()
            poller.register(self._replies, select.POLLIN)
            if not poller.poll(timeout_s * 1000):
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
        """End it and all it started: TERM to its group, then KILL after ``grace_s``."""
        descendants: list[psutil.Process] = []
        with suppress(psutil.Error):  # those that left the group, as MPI launchers do
            descendants = psutil.Process(self.pid).children(recursive=True)
        if grace_s > 0 and self.is_alive:
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(self.pid, signal.SIGTERM)
                self._process.wait(timeout=grace_s)
        kill_group(self.pid, self.started)
        for process in descendants:
            with suppress(psutil.Error):
                process.kill()  # compares start times itself
        self._process.wait()
        self._close_pipes()

    def _close_pipes(self) -> None:
        for descriptor in (self._commands, self._replies):
            if descriptor >= 0:
                os.close(descriptor)
        self._commands = self._replies = -1


def _environment(settings: Settings) -> dict[str, str]:
    threads = str(settings.threads_per_job)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return dict(os.environ) | dict.fromkeys(names, threads)


class Slot:
    """Runs one job at a time in its child and keeps the lease meanwhile.

    Belongs to one thread, which must outlive it.

    Args:
        services: The worker's own.
        settings: Handed to the child.
        stopping: Set when the worker should end; the running job is then given back.
    """

    def __init__(self, services: Services, settings: Settings, stopping: threading.Event) -> None:
        self._jobs = services.jobs
        self._files = services.job_files
        self._settings = settings
        self._stopping = stopping
        self._child: ChildProcess | None = None
        self._busy = False

    def warm_up(self) -> ChildProcess:
        """Make sure that a child is ready.

        Raises:
            ChildGoneError: it cannot be started.
        """
        if self._child is not None and not self._child.is_alive:
            self._drop_child()
        if self._child is None:
            self._child = ChildProcess(self._settings)
            try:
                self._child.wait_ready(self._settings, self._stopping)
            except ChildGoneError:
                self._drop_child()
                raise
        return self._child

    def run_next(self, queues: Sequence[str]) -> bool:
        """Claim and run the most urgent job of ``queues``; False if there was none.

        Raises:
            ChildGoneError: no child can be started; nothing was claimed.
            NanoosError: the database cannot be reached.
        """
        if not self._busy and not self._jobs.has_work(queues):
            return False
        child = self.warm_up()
        executor = Executor(
            host=host_identity(),
            pid=os.getpid(),
            start_time=start_time(os.getpid()) or 0.0,
            process_group=child.pid,
            process_start_time=child.started,
        )
        claimed_at = time.monotonic()
        claim = self._jobs.claim(queues, executor)
        self._busy = claim is not None  # then the next one is claimed without a look before
        if claim is None:
            return False
        try:
            self._watch(child, claim, claimed_at)
        except LeaseLostError:
            if not self._stopping.is_set():
                log.warning("lease lost", job=str(claim.job_id), attempt=claim.attempt)
            self._drop_child()
        except ChildGoneError as error:
            self._drop_child()
            self._record_death(claim, str(error))
        except BaseException:
            self._drop_child()  # it must not go on unwatched
            raise
        return True

    def _deadline(self, renewed_at: float) -> float:
        return renewed_at + LEASE_MARGIN * self._jobs.lease_s

    def _watch(self, child: ChildProcess, claim: JobClaim, claimed_at: float) -> None:
        child.give(claim, deadline=self._deadline(claimed_at))
        renewed = polled = claimed_at
        while not self._has_replied(child, 0.1):
            if self._stopping.is_set():
                self._drop_child(grace_s=1.0)
                self._jobs.release(claim, "the worker was stopped")
                return
            now = time.monotonic()
            if now - polled < CANCEL_POLL_S:
                continue
            polled = now
            try:
                if now - renewed >= self._jobs.lease_s / 3:
                    cancel = self._jobs.renew(claim)
                    renewed = now
                    child.extend(deadline=self._deadline(renewed))
                else:
                    cancel = self._jobs.cancel_requested(claim)
            except LeaseLostError:
                # the child may just have ended the job itself: its reply comes then
                if self._has_replied(child, 1.0):
                    return
                raise
            except NanoosError as error:
                log.warning("database not reached", error=str(error))
                if now - renewed > self._jobs.lease_s:
                    self._drop_child()
                    return
                continue
            if cancel:
                self._drop_child(grace_s=0.5)
                self._jobs.end_cancelled(claim)
                self._keep_files(claim)
                return

    def _has_replied(self, child: ChildProcess, timeout_s: float) -> bool:
        reply = child.poll_reply(timeout_s)
        if reply is not None and reply.get("replace"):
            self._drop_child()
        return reply is not None

    def _record_death(self, claim: JobClaim, how: str) -> None:
        error = TransientError(
            f"The process that ran the job ended: {how}.",
            hint="See the job's log; too little memory is the usual cause.",
            code="process_died",
        )
        try:
            state = self._jobs.fail(claim, error, retryable=True)
        except LeaseLostError:
            return  # it had finished the job before it died
        if state != "queued":
            self._keep_files(claim)

    def _keep_files(self, claim: JobClaim) -> None:
        try:
            self._files.keep(self._jobs, claim)
        except (NanoosError, OSError) as error:  # collected as garbage later, sealed then
            log.warning("files not sealed", job=str(claim.job_id), error=str(error))

    def _drop_child(self, *, grace_s: float = 0.0) -> None:
        if self._child is not None:
            self._child.kill(grace_s=grace_s)
            self._child = None

    def close(self) -> None:
        """End the child."""
        self._drop_child()
