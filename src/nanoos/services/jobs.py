"""Jobs: the state machine over the jobs table.

Every transition is one short transaction that changes the row, writes the event and calls the
kind's hook. Writes of an attempt are fenced by its number, leases use the database's clock.
"""

import contextlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Select, or_, select, update
from sqlalchemy.orm import Session

from nanoos.core.errors import ConflictError, NanoosError, NotFoundError, TransientError
from nanoos.db import Database, JobEventTable, JobTable, db_now
from nanoos.db.jobs import (
    CANCELLED,
    COMPLETED,
    FAILED,
    QUEUED,
    RUNNING,
    TERMINAL_STATES,
)
from nanoos.services.access import Principal, visible
from nanoos.services.job_kinds import JOB_KINDS, JobClaim, JobOutcome
from nanoos.services.paging import Page, fetch_page

MAX_LOSSES = 20
"""Attempts that may be lost with their worker before the job itself is suspected."""

BACKOFF_S = 2.0
"""Wait before the second attempt; doubled for each further one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it stood when it was read."""

    id: uuid.UUID
    kind: str
    queue: str
    state: str
    priority: int
    attempt: int
    failures: int
    progress: float
    message: str | None
    cancel_requested: bool
    owner_id: uuid.UUID
    payload: Mapping[str, Any]
    result: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    worker_host: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """One event of one job; ``number`` counts from 1."""

    job_id: uuid.UUID
    number: int
    kind: str
    data: Mapping[str, Any]
    created_at: datetime


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


class JobService:
    """Everything that happens to jobs.

    Thread-safe: holds no state but the database. Methods that take a ``session`` join the
    caller's transaction, all others open their own.

    Args:
        database: Where the jobs are.
        lease_s: Seconds a claim holds without renewal.
    """

    def __init__(self, database: Database, *, lease_s: float = 30.0) -> None:
        self._db = database
        self.lease_s = lease_s

    # -- making and reading ---------------------------------------------------------------

    def enqueue(
        self,
        session: Session,
        kind: str,
        payload: Mapping[str, Any],
        *,
        owner_id: uuid.UUID,
        queue: str | None = None,
        priority: int = 0,
        key: str | None = None,
        max_failures: int | None = None,
    ) -> uuid.UUID:
        """Insert a job in the caller's transaction; with a ``key`` that exists, that job's id."""
        if key is not None:
            existing = session.scalar(select(JobTable.id).where(JobTable.key == key))
            if existing is not None:
                return existing
        job_kind = JOB_KINDS.get(kind)
        row = JobTable(
            kind=job_kind.name,
            queue=queue or job_kind.queue,
            priority=priority,
            key=key,
            owner_id=owner_id,
            payload=dict(payload),
            max_failures=max_failures or job_kind.max_failures,
            event_count=1,
        )
        session.add(row)
        session.flush()
        session.add(JobEventTable(job_id=row.id, number=1, kind=QUEUED, data={}))
        return row.id

    def get(self, job_id: uuid.UUID, who: Principal) -> Job:
        """One job. Raises NotFoundError where it is not there or not visible."""
        with self._db.read() as session:
            return _view(_visible_row(session, job_id, who))

    def page(
        self,
        who: Principal,
        *,
        state: str | None = None,
        kind: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Job]:
        """Jobs, newest first."""
        query: Select[Any] = select(JobTable).where(visible(JobTable, who))
        if state is not None:
            query = query.where(JobTable.state == state)
        if kind is not None:
            query = query.where(JobTable.kind == kind)
        with self._db.read() as session:
            rows, total, following = fetch_page(
                session, query, JobTable, cursor=cursor, limit=limit
            )
        return Page(items=[_view(row) for row in rows], total=total, next=following)

    def events(
        self, job_id: uuid.UUID, who: Principal, *, after: int = 0, limit: int = 500
    ) -> list[JobEvent]:
        """Events of a job with a number above ``after``, in order."""
        with self._db.read() as session:
            _visible_row(session, job_id, who)
            return self._events(session, [job_id], after=after, limit=limit)

    def events_since(self, cursors: Mapping[uuid.UUID, int]) -> list[JobEvent]:
        """New events of several jobs, each after its own number: for the shared poller."""
        if not cursors:
            return []
        conditions = [
            (JobEventTable.job_id == job_id) & (JobEventTable.number > number)
            for job_id, number in cursors.items()
        ]
        with self._db.read() as session:
            rows = session.scalars(
                select(JobEventTable).where(or_(*conditions)).order_by(JobEventTable.id)
            )
            return [_event_view(row) for row in rows]

    @staticmethod
    def _events(
        session: Session, job_ids: Sequence[uuid.UUID], *, after: int, limit: int
    ) -> list[JobEvent]:
        rows = session.scalars(
            select(JobEventTable)
            .where(JobEventTable.job_id.in_(job_ids), JobEventTable.number > after)
            .order_by(JobEventTable.number)
            .limit(limit)
        )
        return [_event_view(row) for row in rows]

    # -- what a user does -------------------------------------------------------------------

    def cancel(self, job_id: uuid.UUID, who: Principal) -> Job:
        """Cancel a queued job at once; ask the worker of a running one to end it.

        Raises:
            ConflictError: the job has ended.
        """
        with self._db.write() as session:
            row = _visible_row(session, job_id, who, lock=True)
            if row.state in TERMINAL_STATES:
                raise ConflictError(f"The job has already {_ended(row.state)}.")
            self._cancel(session, row)
            session.flush()
            return _view(row)

    @classmethod
    def cancel_in(cls, session: Session, job_id: uuid.UUID) -> None:
        """Cancel as :meth:`cancel`, in the caller's transaction; an ended job stays as it is."""
        row = session.scalar(select(JobTable).where(JobTable.id == job_id).with_for_update())
        if row is not None and row.state not in TERMINAL_STATES:
            cls._cancel(session, row)
            session.flush()

    @classmethod
    def _cancel(cls, session: Session, row: JobTable) -> None:
        if row.state == QUEUED:
            cls._end(session, row, CANCELLED, {}, error=None)
        elif not row.cancel_requested:
            row.cancel_requested = True
            _add_event(session, row, "cancel_requested", {})

    def retry(self, job_id: uuid.UUID, who: Principal) -> Job:
        """Queue a failed or cancelled job again, with its failures forgotten.

        Raises:
            ConflictError: the job has not failed and was not cancelled.
        """
        with self._db.write() as session:
            row = _visible_row(session, job_id, who, lock=True)
            if row.state not in {FAILED, CANCELLED}:
                raise ConflictError(
                    f"The job is {row.state}.",
                    hint="Only a failed or cancelled job can be retried.",
                )
            row.failures = row.losses = 0
            row.error = None
            row.cancel_requested = False
            row.finished_at = None
            _queue_again(row, delay_s=0)
            _add_event(session, row, QUEUED, {"reason": "retried by a user"})
            session.flush()
            return _view(row)

    # -- what a worker does -----------------------------------------------------------------

    def has_work(self, queues: Sequence[str]) -> bool:
        """True if a job is ready in one of ``queues``: a cheap read before a claim."""
        with self._db.read() as session:
            return session.scalar(_ready(queues).limit(1)) is not None

    def claim(self, queues: Sequence[str], executor: Executor) -> JobClaim | None:
        """Take the most urgent ready job of ``queues``, or None."""
        with self._db.write() as session:
            chosen = (
                _ready(queues)
                .order_by(JobTable.priority.desc(), JobTable.created_at)
                .limit(1)
                .with_for_update(skip_locked=True)
                .scalar_subquery()
            )
            row = session.execute(
                update(JobTable)
                .where(JobTable.id == chosen, JobTable.state == QUEUED)
                .values(
                    state=RUNNING,
                    attempt=JobTable.attempt + 1,
                    lease_until=db_now(self.lease_s),
                    started_at=db_now(),
                    event_count=JobTable.event_count + 1,
                    progress=0.0,
                    message=None,
                    worker_host=executor.host,
                    worker_pid=executor.pid,
                    worker_start_time=executor.start_time,
                    process_group=executor.process_group,
                    process_start_time=executor.process_start_time,
                )
                .returning(
                    JobTable.id,
                    JobTable.attempt,
                    JobTable.kind,
                    JobTable.owner_id,
                    JobTable.payload,
                    JobTable.event_count,
                )
                .execution_options(synchronize_session=False)
            ).one_or_none()
            if row is None:
                return None
            session.add(
                JobEventTable(
                    job_id=row.id,
                    number=row.event_count,
                    kind="started",
                    data={"attempt": row.attempt, "worker": f"{executor.host}:{executor.pid}"},
                )
            )
            return JobClaim(
                job_id=row.id,
                attempt=row.attempt,
                kind=row.kind,
                owner_id=row.owner_id,
                payload=row.payload,
            )

    def load_claim(self, job_id: uuid.UUID, attempt: int) -> JobClaim:
        """The claim again, in the child process. Raises LeaseLostError if it no longer holds."""
        with self._db.read() as session:
            row = session.get(JobTable, job_id)
            if row is None or row.state != RUNNING or row.attempt != attempt:
                raise LeaseLostError("The job is no longer this worker's.")
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
            _add_event(session, row, "progress", {"progress": row.progress, "message": message})

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
            row.files = [dict(entry) for entry in files]
            row.progress = 1.0
            self._end(session, row, COMPLETED, {}, error=None)

    def fail(
        self,
        claim: JobClaim,
        error: NanoosError,
        *,
        retryable: bool,
        files: Sequence[Mapping[str, Any]] = (),
    ) -> str:
        """Record a failed attempt; returns the job's new state, ``queued`` or ``failed``."""
        with self._fenced(claim) as (session, row):
            row.failures += 1
            row.error = error.as_dict()
            if row.cancel_requested:
                self._end(session, row, CANCELLED, {}, error=None)
            elif retryable and row.failures < row.max_failures:
                delay_s = BACKOFF_S * 2 ** (row.failures - 1)
                _queue_again(row, delay_s=delay_s)
                _add_event(session, row, "retrying", {"error": error.as_dict(), "delay_s": delay_s})
            else:
                row.files = [dict(entry) for entry in files]
                self._end(session, row, FAILED, error.as_dict(), error=error.as_dict())
            return row.state

    def end_cancelled(self, claim: JobClaim) -> None:
        """Record that the attempt was ended because a user asked."""
        with self._fenced(claim) as (session, row):
            self._end(session, row, CANCELLED, {}, error=None)

    def release(self, claim: JobClaim, reason: str) -> None:
        """Give the job back unharmed: the worker is stopping."""
        with self._fenced(claim) as (session, row):
            _queue_again(row, delay_s=0)
            _add_event(session, row, QUEUED, {"reason": reason})

    # -- the reconciler ---------------------------------------------------------------------

    def running_on(self, host: str) -> list[tuple[JobClaim, Executor]]:
        """Running jobs whose worker is on ``host``, with the processes that run them."""
        with self._db.read() as session:
            rows = session.scalars(
                select(JobTable).where(JobTable.state == RUNNING, JobTable.worker_host == host)
            )
            return [
                (
                    _claim_of(row),
                    Executor(
                        host=host,
                        pid=row.worker_pid or 0,
                        start_time=row.worker_start_time or 0.0,
                        process_group=row.process_group,
                        process_start_time=row.process_start_time,
                    ),
                )
                for row in rows
            ]

    def expired(self) -> list[JobClaim]:
        """Claims whose lease has run out by the database's clock."""
        with self._db.read() as session:
            rows = session.scalars(
                select(JobTable).where(JobTable.state == RUNNING, JobTable.lease_until < db_now())
            )
            return [_claim_of(row) for row in rows]

    def requeue_lost(self, claim: JobClaim, reason: str) -> bool:
        """Queue a job whose worker is gone; False if it is no longer that attempt's."""
        try:
            with self._fenced(claim) as (session, row):
                row.losses += 1
                if row.cancel_requested:
                    self._end(session, row, CANCELLED, {}, error=None)
                elif row.losses >= MAX_LOSSES:
                    error = {
                        "code": "worker_lost",
                        "message": f"{row.losses} workers were lost while they ran this job.",
                        "hint": "Look at its log for what ends them (memory, time limit).",
                        "details": {},
                    }
                    self._end(session, row, FAILED, error, error=error)
                else:
                    _queue_again(row, delay_s=0)
                    _add_event(session, row, QUEUED, {"reason": reason})
        except LeaseLostError:
            return False
        return True

    def has_unpublished(self, *, stale_s: float) -> bool:
        """True if :meth:`take_unpublished` would find something: a cheap read."""
        with self._db.read() as session:
            return session.scalar(_unpublished(stale_s).limit(1)) is not None

    def take_unpublished(self, *, stale_s: float, limit: int = 200) -> list[tuple[uuid.UUID, str]]:
        """Ready jobs to announce to the broker, marked as announced: id and queue.

        A job that was announced ``stale_s`` ago and is still queued is announced again: the
        broker may have been wiped.
        """
        with self._db.write() as session:
            ids = list(
                session.scalars(
                    _unpublished(stale_s)
                    .order_by(JobTable.priority.desc(), JobTable.created_at)
                    .limit(limit)
                    .with_for_update(skip_locked=True)
                )
            )
            if not ids:
                return []
            rows = session.execute(
                update(JobTable)
                .where(JobTable.id.in_(ids))
                .values(published_at=db_now())
                .returning(JobTable.id, JobTable.queue)
                .execution_options(synchronize_session=False)
            )
            return [(row.id, row.queue) for row in rows]

    # -- inside ---------------------------------------------------------------------------

    @contextlib.contextmanager
    def _fenced(self, claim: JobClaim) -> Iterator[tuple[Session, JobTable]]:
        with self._db.write() as session:
            row = session.scalar(select(JobTable).where(*_fence(claim)).with_for_update())
            if row is None:
                raise LeaseLostError("The job is no longer this worker's.")
            yield session, row

    @staticmethod
    def _end(
        session: Session,
        row: JobTable,
        state: str,
        data: Mapping[str, Any],
        *,
        error: Mapping[str, Any] | None,
    ) -> None:
        row.state = state
        row.error = dict(error) if error is not None else None
        row.lease_until = None
        row.finished_at = cast("datetime", db_now())
        _add_event(session, row, state, data)
        session.flush()
        hook = JOB_KINDS.get(row.kind).on_terminal
        if hook is not None:
            hook(session, row)


def _fence(claim: JobClaim) -> tuple[Any, ...]:
    return (
        JobTable.id == claim.job_id,
        JobTable.attempt == claim.attempt,
        JobTable.state == RUNNING,
    )


def _ready(queues: Sequence[str] | None) -> Select[uuid.UUID]:
    query = select(JobTable.id).where(
        JobTable.state == QUEUED,
        or_(JobTable.not_before.is_(None), JobTable.not_before <= db_now()),
    )
    return query if queues is None else query.where(JobTable.queue.in_(list(queues)))


def _unpublished(stale_s: float) -> Select[uuid.UUID]:
    return _ready(None).where(
        or_(JobTable.published_at.is_(None), JobTable.published_at < db_now(-stale_s))
    )


def _queue_again(row: JobTable, *, delay_s: float) -> None:
    row.state = QUEUED
    row.lease_until = None
    row.published_at = None
    row.not_before = cast("datetime", db_now(delay_s)) if delay_s else None


def _add_event(session: Session, row: JobTable, kind: str, data: Mapping[str, Any]) -> None:
    row.event_count += 1
    session.add(JobEventTable(job_id=row.id, number=row.event_count, kind=kind, data=dict(data)))


def _visible_row(
    session: Session, job_id: uuid.UUID, who: Principal, *, lock: bool = False
) -> JobTable:
    query = select(JobTable).where(JobTable.id == job_id, visible(JobTable, who))
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFoundError(f"There is no job {job_id}.")
    return row


def _ended(state: str) -> str:
    return {COMPLETED: "completed", FAILED: "failed", CANCELLED: "been cancelled"}[state]


def _claim_of(row: JobTable) -> JobClaim:
    return JobClaim(
        job_id=row.id,
        attempt=row.attempt,
        kind=row.kind,
        owner_id=row.owner_id,
        payload=row.payload,
    )


def _view(row: JobTable) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        queue=row.queue,
        state=row.state,
        priority=row.priority,
        attempt=row.attempt,
        failures=row.failures,
        progress=row.progress,
        message=row.message,
        cancel_requested=row.cancel_requested,
        owner_id=row.owner_id,
        payload=row.payload,
        result=row.result,
        error=row.error,
        worker_host=row.worker_host,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def _event_view(row: JobEventTable) -> JobEvent:
    return JobEvent(
        job_id=row.job_id,
        number=row.number,
        kind=row.kind,
        data=row.data,
        created_at=row.created_at,
    )
