"""Attempts at jobs: what workers and the reconciler do to the jobs table.

Every transition is one short transaction that changes the row, writes the event and calls the
kind's hook. Writes of an attempt are fenced by its number, leases use the database's clock.
"""

import contextlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, bindparam, insert, or_, select, update
from sqlalchemy import Table as SqlTable
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from nanoos.core.errors import NanoosError, NotFoundError, TransientError
from nanoos.db import Database, JobEventTable, JobTable, db_now, name_artifacts
from nanoos.db.jobs import (
    CANCELLED,
    COMPLETED,
    FAILED,
    QUEUED,
    RUNNING,
)
from nanoos.services.job_kinds import JOB_KINDS, JobClaim, JobKind, JobOutcome

MAX_LOSSES = 20
"""Attempts that may be lost with their worker before the job itself is suspected."""

BACKOFF_S = 2.0
"""Wait before the second attempt; doubled for each further one."""

_JOBS = cast("SqlTable", JobTable.__table__)
_EVENTS = cast("SqlTable", JobEventTable.__table__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """The worker process and child process group that run an attempt."""

    host: str
    pid: int
    start_time: float
    process_group: int | None = None
    process_start_time: float | None = None


class LeaseLostError(TransientError):
    """The job is no longer this attempt's: somebody else has it, or it has ended."""

    code = "lease_lost"


class JobAttempts:
    """The worker's half of the job service.

    Thread-safe: holds no state but the database.

    Args:
        database: Where the jobs are.
        lease_s: Seconds a claim holds without renewal.
    """

    def __init__(self, database: Database, *, lease_s: float = 30.0) -> None:
        self._db = database
        self.lease_s = lease_s

    def has_work(self, queues: Sequence[str]) -> bool:
        """True if a job is ready in one of ``queues``: a cheap read before a claim."""
        with self._db.read() as session:
            found = session.scalar(
                _claimable().limit(1), {"queues": list(queues), "kinds": JOB_KINDS.names()}
            )
            return found is not None

    def claim(self, queues: Sequence[str], executor: Executor) -> JobClaim | None:
        """Take the most urgent ready job of ``queues`` of a kind known here, or None."""
        with self._db.write() as session:
            row = session.execute(
                _claim_statement(self.lease_s),
                {
                    "queues": list(queues),
                    "kinds": JOB_KINDS.names(),
                    "host": executor.host,
                    "pid": executor.pid,
                    "started": executor.start_time,
                    "group": executor.process_group,
                    "group_started": executor.process_start_time,
                },
            ).one_or_none()
            if row is None:
                return None
            event = {"attempt": row.attempt, "worker": f"{executor.host}:{executor.pid}"}
            session.execute(
                insert(_EVENTS),
                {"job_id": row.id, "number": row.event_count, "kind": "started", "data": event},
            )
            return JobClaim(
                job_id=row.id,
                attempt=row.attempt,
                kind=row.kind,
                owner_id=row.owner_id,
                payload=row.payload,
            )

    def renew(self, claim: JobClaim) -> bool:
        """Extend the lease; returns whether a user asked to cancel.

        Raises:
            LeaseLostError: the job is no longer this attempt's.
        """
        with self._db.write() as session:
            cancel = session.scalar(
                update(JobTable)
                .where(*_fence(claim))
                .values(lease_until=db_now(self.lease_s))
                .returning(JobTable.cancel_requested)
                .execution_options(synchronize_session=False)
            )
        if cancel is None:
            raise LeaseLostError("The job is no longer this worker's.")
        return bool(cancel)

    def cancel_requested(self, claim: JobClaim) -> bool:
        """Whether a user asked to cancel; a read. Raises LeaseLostError as :meth:`renew`."""
        with self._db.read() as session:
            cancel = session.scalar(select(JobTable.cancel_requested).where(*_fence(claim)))
        if cancel is None:
            raise LeaseLostError("The job is no longer this worker's.")
        return bool(cancel)

    def report_progress(self, claim: JobClaim, fraction: float, message: str) -> None:
        """Write progress (0..1) and an event. Raises LeaseLostError as :meth:`renew`."""
        with self._fenced(claim) as (session, row):
            row.progress = min(1.0, max(0.0, fraction))
            row.message = message
            add_event(session, row, "progress", {"progress": row.progress, "message": message})

    def complete(
        self, claim: JobClaim, outcome: JobOutcome, files: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """End the job with its result; the handler's rows are written in the same transaction.

        Raises:
            LeaseLostError: the job is no longer this attempt's; nothing was written.
        """
        with self._fenced(claim) as (session, row):
            if outcome.finalize is not None:
                outcome.finalize(session)
            row.result = dict(outcome.result)
            row.progress = 1.0
            _name_files(session, row, files)
            end_job(session, row, COMPLETED)

    def fail(self, claim: JobClaim, error: NanoosError, *, retryable: bool) -> str:
        """Record a failed attempt; returns the job's new state.

        ``queued`` (after a wait that doubles each time) while ``retryable`` failures are below
        the job's limit, else ``failed``, or ``cancelled`` where a user had asked for that.

        Raises:
            LeaseLostError: the job is no longer this attempt's.
        """
        with self._fenced(claim) as (session, row):
            row.failures += 1
            if row.cancel_requested:
                end_job(session, row, CANCELLED)
            elif retryable and row.failures < row.max_failures:
                delay_s = BACKOFF_S * 2 ** (row.failures - 1)
                row.error = error.as_dict()
                queue_again(row, delay_s=delay_s)
                add_event(session, row, "retrying", {"error": error.as_dict(), "delay_s": delay_s})
            else:
                end_job(session, row, FAILED, error=error.as_dict())
            return row.state

    def record_files(
        self, job_id: uuid.UUID, attempt: int, files: Sequence[Mapping[str, Any]]
    ) -> bool:
        """Name the sealed files of a job that did not complete; False if that was done before.

        They are sealed after the job's end: that must not wait for them, nor must a retry. Those
        of an earlier attempt are named until then.
        """
        with self._db.write() as session:
            row = session.scalar(
                select(JobTable)
                .where(
                    JobTable.id == job_id,
                    JobTable.attempt == attempt,
                    JobTable.state != RUNNING,
                )
                .with_for_update()
            )
            if row is None or are_of_attempt(row.files, attempt):
                return False
            _name_files(session, row, files)
            return True

    def end_cancelled(self, claim: JobClaim) -> None:
        """Record that the attempt was ended because a user asked.

        Raises:
            LeaseLostError: the job is no longer this attempt's.
        """
        with self._fenced(claim) as (session, row):
            end_job(session, row, CANCELLED)

    def release(self, claim: JobClaim, reason: str) -> None:
        """Give the job back unharmed: the worker is stopping.

        Raises:
            LeaseLostError: the job is no longer this attempt's.
        """
        with self._fenced(claim) as (session, row):
            if row.cancel_requested:
                end_job(session, row, CANCELLED)
            else:
                queue_again(row, delay_s=0)
                add_event(session, row, QUEUED, {"reason": reason})

    def running_on(self, host: str) -> list[tuple[JobClaim, Executor]]:
        """Running jobs whose worker is on ``host``, with the processes that run them."""
        return self._running(JobTable.worker_host == host)

    def expired(self) -> list[tuple[JobClaim, Executor]]:
        """Claims whose lease has run out by the database's clock, and who held them."""
        return self._running(_expired())

    def _running(self, condition: ColumnElement[bool]) -> list[tuple[JobClaim, Executor]]:
        with self._db.read() as session:
            rows = session.scalars(select(JobTable).where(JobTable.state == RUNNING, condition))
            return [(_claim_of(row), _executor_of(row)) for row in rows]

    def requeue_lost(self, claim: JobClaim, reason: str, *, only_expired: bool = False) -> bool:
        """Queue a job whose worker is gone; False if it is no longer that attempt's.

        Args:
            claim: The lost attempt.
            reason: For the event.
            only_expired: Leave the job alone if its lease has been renewed meanwhile.
        """
        extra = (_expired(),) if only_expired else ()
        try:
            with self._fenced(claim, *extra) as (session, row):
                row.losses += 1
                if row.cancel_requested:
                    end_job(session, row, CANCELLED)
                elif row.losses >= MAX_LOSSES:
                    error = {
                        "code": "worker_lost",
                        "message": f"{row.losses} workers were lost while they ran this job.",
                        "hint": "Look at its log for what ends them (memory, time limit).",
                        "details": {},
                    }
                    end_job(session, row, FAILED, error=error)
                else:
                    queue_again(row, delay_s=0)
                    add_event(session, row, QUEUED, {"reason": reason})
        except LeaseLostError:
            return False
        return True

    @contextlib.contextmanager
    def _fenced(
        self, claim: JobClaim, *conditions: ColumnElement[bool]
    ) -> Iterator[tuple[Session, JobTable]]:
        with self._db.write() as session:
            row = session.scalar(
                select(JobTable).where(*_fence(claim), *conditions).with_for_update()
            )
            if row is None:
                raise LeaseLostError("The job is no longer this worker's.")
            yield session, row


def end_job(
    session: Session, row: JobTable, state: str, *, error: Mapping[str, Any] | None = None
) -> None:
    """Bring a locked job to a terminal state, with its event and its kind's hook."""
    row.state = state
    row.error = dict(error) if error is not None else None
    row.lease_until = None
    row.finished_at = cast("datetime", db_now())
    add_event(session, row, state, error or {})
    session.flush()
    kind = known_kind(row.kind)
    if kind is not None and kind.on_terminal is not None:
        kind.on_terminal(session, row)


def queue_again(row: JobTable, *, delay_s: float) -> None:
    """Bring a locked job back to its queue, ready after ``delay_s``."""
    row.state = QUEUED
    row.lease_until = None
    row.published_at = None
    row.not_before = cast("datetime", db_now(delay_s)) if delay_s else None


def add_event(session: Session, row: JobTable, kind: str, data: Mapping[str, Any]) -> None:
    """Write the next event of a locked job."""
    row.event_count += 1
    session.add(JobEventTable(job_id=row.id, number=row.event_count, kind=kind, data=dict(data)))


def known_kind(name: str) -> JobKind | None:
    """The kind of a job; None where its plug-in is gone: that must not keep it from ending."""
    try:
        return JOB_KINDS.get(name)
    except NotFoundError:
        return None


def are_of_attempt(files: Sequence[Mapping[str, Any]] | None, attempt: int) -> bool:
    """Whether the files that a job's row names are those of an attempt, not of one before."""
    return files is not None and len(files) > 0 and files[0].get("attempt") == attempt


def _name_files(session: Session, row: JobTable, files: Sequence[Mapping[str, Any]]) -> None:
    row.files = [{**entry, "attempt": row.attempt} for entry in files]
    name_artifacts(session, files)


def _expired() -> ColumnElement[bool]:
    return JobTable.lease_until < db_now()


def _fence(claim: JobClaim) -> tuple[Any, ...]:
    return (
        JobTable.id == claim.job_id,
        JobTable.attempt == claim.attempt,
        JobTable.state == RUNNING,
    )


def ready() -> Select[uuid.UUID]:
    """Ids of the jobs that may start now."""
    return select(JobTable.id).where(
        JobTable.state == QUEUED,
        or_(JobTable.not_before.is_(None), JobTable.not_before <= db_now()),
    )


@cache
def _claimable() -> Select[uuid.UUID]:
    return ready().where(
        JobTable.queue.in_(bindparam("queues", expanding=True)),
        JobTable.kind.in_(bindparam("kinds", expanding=True)),
    )


@cache
def _claim_statement(lease_s: float) -> ReturningUpdate[Any]:
    """The claim as plain SQL, built once: it is on the path of every job."""
    chosen = (
        _claimable()
        .order_by(JobTable.priority.desc(), JobTable.created_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    jobs = _JOBS.c
    return (
        update(_JOBS)
        .where(jobs.id == chosen, jobs.state == QUEUED)
        .values(
            state=RUNNING,
            attempt=jobs.attempt + 1,
            lease_until=db_now(lease_s),
            started_at=db_now(),
            event_count=jobs.event_count + 1,
            progress=0.0,
            message=None,
            worker_host=bindparam("host"),
            worker_pid=bindparam("pid"),
            worker_start_time=bindparam("started"),
            process_group=bindparam("group"),
            process_start_time=bindparam("group_started"),
        )
        .returning(jobs.id, jobs.attempt, jobs.kind, jobs.owner_id, jobs.payload, jobs.event_count)
    )


def _claim_of(row: JobTable) -> JobClaim:
    return JobClaim(
        job_id=row.id,
        attempt=row.attempt,
        kind=row.kind,
        owner_id=row.owner_id,
        payload=row.payload,
    )


def _executor_of(row: JobTable) -> Executor:
    return Executor(
        host=row.worker_host or "",
        pid=row.worker_pid or 0,
        start_time=row.worker_start_time or 0.0,
        process_group=row.process_group,
        process_start_time=row.process_start_time,
    )
