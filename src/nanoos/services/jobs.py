"""Jobs: making, reading, cancelling and retrying them."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from nanoos.core.errors import ConflictError, NotFoundError
from nanoos.db import JobEventTable, JobTable, insert_if_absent
from nanoos.db.jobs import CANCELLED, COMPLETED, FAILED, QUEUED, TERMINAL_STATES
from nanoos.services.access import Principal, visible
from nanoos.services.job_attempts import (
    Executor,
    JobAttempts,
    LeaseLostError,
    add_event,
    end_job,
    known_kind,
    queue_again,
)
from nanoos.services.job_kinds import JOB_KINDS
from nanoos.services.paging import Page, fetch_page

__all__ = ["Executor", "Job", "JobEvent", "JobService", "LeaseLostError"]


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


_JOBS_PER_QUERY = 200
"""SQLite limits the depth of a condition."""
_RETRIED = (FAILED, CANCELLED)


class JobService(JobAttempts):
    """Everything that happens to jobs.

    Thread-safe: holds no state but the database. Methods that take a ``session`` join the
    caller's transaction, all others open their own.
    """

    # -- making and reading ---------------------------------------------------------------

    @staticmethod
    def enqueue(
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
        job_kind = JOB_KINDS.get(kind)
        job_id = uuid.uuid4()
        values = {
            "id": job_id,
            "kind": job_kind.name,
            "queue": queue or job_kind.queue,
            "priority": priority,
            "key": key,
            "owner_id": owner_id,
            "payload": dict(payload),
            "max_failures": max_failures or job_kind.max_failures,
            "event_count": 1,
        }
        if not insert_if_absent(session, JobTable, values):
            return session.scalars(select(JobTable.id).where(JobTable.key == key)).one()
        session.add(JobEventTable(job_id=job_id, number=1, kind=QUEUED, data={}))
        session.flush()
        return job_id

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
            rows = session.scalars(
                select(JobEventTable)
                .where(JobEventTable.job_id == job_id, JobEventTable.number > after)
                .order_by(JobEventTable.number)
                .limit(limit)
            )
            return [_event_view(row) for row in rows]

    def events_since(self, cursors: Mapping[uuid.UUID, int]) -> list[JobEvent]:
        """New events of several jobs, each after its own number: for the shared poller."""
        found: list[JobEvent] = []
        with self._db.read() as session:
            remaining = iter(cursors.items())
            while some := list(islice(remaining, _JOBS_PER_QUERY)):
                newer = [
                    (JobEventTable.job_id == job_id) & (JobEventTable.number > number)
                    for job_id, number in some
                ]
                rows = session.scalars(
                    select(JobEventTable).where(or_(*newer)).order_by(JobEventTable.id)
                )
                found += [_event_view(row) for row in rows]
        return found

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
            end_job(session, row, CANCELLED)
        elif not row.cancel_requested:
            row.cancel_requested = True
            add_event(session, row, "cancel_requested", {})

    def retry(self, job_id: uuid.UUID, who: Principal) -> Job:
        """Queue a failed or cancelled job again, with its failures forgotten.

        It goes on from what it saved; its files stay to be read until it ends again.

        Raises:
            ConflictError: the job has not failed and was not cancelled.
        """
        with self._db.write() as session:
            row = _visible_row(session, job_id, who, lock=True)
            if row.state not in _RETRIED:
                raise ConflictError(
                    f"The job is {row.state}.",
                    hint="Only a failed or cancelled job can be retried.",
                )
            self._retry(session, row)
            session.flush()
            return _view(row)

    @classmethod
    def retry_in(cls, session: Session, job_id: uuid.UUID) -> None:
        """Retry as :meth:`retry`, in the caller's transaction; any other job stays as it is."""
        row = session.scalar(select(JobTable).where(JobTable.id == job_id).with_for_update())
        if row is not None and row.state in _RETRIED:
            cls._retry(session, row)
            session.flush()

    @classmethod
    def _retry(cls, session: Session, row: JobTable) -> None:
        row.failures = row.losses = 0
        row.error = row.message = None
        row.progress = 0.0
        row.cancel_requested = False
        row.finished_at = None
        queue_again(row, delay_s=0)
        add_event(session, row, QUEUED, {"reason": "retried by a user"})
        kind = known_kind(row.kind)
        if kind is not None and kind.on_retry is not None:
            kind.on_retry(session, row)


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
