"""The process in which jobs run: ``python -m nanoos.worker.child PARENT_PID REPLY_FD``.

It stays alive from job to job, so that a model is loaded once, and is the leader of its own
process group, so that it and every program it starts can be ended together. Commands come as
JSON lines on standard input, replies go as JSON lines to the reply descriptor; what happened to
a job is in the database, never only in a reply.
"""

import json
import os
import sys
import time
import traceback
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from nanoos.core.errors import CancelledError, NanoosError, TransientError
from nanoos.core.processes import die_with_parent
from nanoos.services.container import Services
from nanoos.services.job_files import LOG_NAME
from nanoos.services.job_kinds import JOB_KINDS, JobClaim, JobOutcome
from nanoos.services.jobs import LeaseLostError

PROGRESS_INTERVAL_S = 0.5
RSS_LIMIT_BYTES = 8 << 30
"""A child larger than this after a job is replaced by a fresh one."""


class RunningJob:
    """The context that a handler works in."""

    def __init__(self, services: Services, claim: JobClaim) -> None:
        self._services = services
        self._claim = claim
        self._reported_at = 0.0
        self._run_dir = services.job_files.run_dir(claim.job_id)

    @property
    def run_dir(self) -> Path:
        """The job's own folder."""
        return self._run_dir

    def progress(self, fraction: float, message: str) -> None:
        """Report progress, at most every half second.

        Raises:
            LeaseLostError: the job is no longer this attempt's.
        """
        now = time.monotonic()
        if now - self._reported_at >= PROGRESS_INTERVAL_S:
            self._reported_at = now
            self._services.jobs.report_progress(self._claim, fraction, message)


def main(argv: Sequence[str]) -> int:
    """Serve jobs until standard input closes."""
    parent, reply_fd = int(argv[0]), int(argv[1])
    die_with_parent(parent)
    from nanoos.bootstrap import build_services
    from nanoos.config import Settings

    commands = sys.stdin
    with os.fdopen(reply_fd, "w", buffering=1) as replies:
        settings = Settings.model_validate(json.loads(commands.readline()))
        services = build_services(settings)
        _reply(replies, ready=True)
        for line in commands:
            command = json.loads(line)
            run_job(services, uuid.UUID(command["job_id"]), int(command["attempt"]))
            large = psutil.Process().memory_info().rss > RSS_LIMIT_BYTES
            _reply(replies, done=command["job_id"], replace=large)
            if large:
                break
        services.close()
    return 0


def _reply(replies: Any, **message: Any) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def run_job(services: Services, job_id: uuid.UUID, attempt: int) -> None:
    """Run one claimed job to its end and record it; never raises for what the job did."""
    try:
        claim = services.jobs.load_claim(job_id, attempt)
    except LeaseLostError:
        return
    context = RunningJob(services, claim)
    with _LogRedirection(context.run_dir / LOG_NAME):
        print(f"-- attempt {attempt} of {claim.kind} {job_id}", flush=True)  # noqa: T201
        try:
            outcome = JOB_KINDS.get(claim.kind).handler(services, claim, context)
            _complete(services, claim, outcome)
        except LeaseLostError as error:
            print(f"-- given up: {error}", flush=True)  # noqa: T201
            return
        except CancelledError:
            services.jobs.end_cancelled(claim)
        except NanoosError as error:
            print(f"-- failed: {error}", flush=True)  # noqa: T201
            _fail(services, claim, error, retryable=isinstance(error, TransientError))
        except (OSError, MemoryError) as error:
            traceback.print_exc()
            wrapped = TransientError(
                f"{type(error).__name__}: {error}", hint="See the job's log.", code="system_error"
            )
            _fail(services, claim, wrapped, retryable=True)
        except Exception as error:  # noqa: BLE001 - the last edge: a defect of ours fails the job
            traceback.print_exc()
            wrapped_defect = NanoosError(
                f"Internal error: {type(error).__name__}: {error}",
                hint="See the job's log; please report it.",
            )
            _fail(services, claim, wrapped_defect, retryable=False)


def _complete(services: Services, claim: JobClaim, outcome: JobOutcome) -> None:
    sys.stdout.flush()
    sealed = services.job_files.seal(claim.job_id, outcome.files)
    services.jobs.complete(claim, outcome, sealed)
    services.job_files.discard(claim.job_id)


def _fail(services: Services, claim: JobClaim, error: NanoosError, *, retryable: bool) -> None:
    sys.stdout.flush()
    run_dir = services.job_files.run_dir(claim.job_id)
    files = [p for p in sorted(run_dir.rglob("*")) if p.is_file() and p.name != LOG_NAME]
    sealed = services.job_files.seal(claim.job_id, files)
    state = services.jobs.fail(claim, error, retryable=retryable, files=sealed)
    if state != "queued":
        services.job_files.discard(claim.job_id)


class _LogRedirection:
    """Sends descriptors 1 and 2 (ours and those of programs we start) to the job's log."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._saved = (os.dup(1), os.dup(2))
        target = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.close(target)

    def __exit__(self, *_exc: object) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        for saved, standard in zip(self._saved, (1, 2), strict=True):
            os.dup2(saved, standard)
            os.close(saved)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
