"""Which ready jobs the broker has been told of."""

import uuid
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, select, update

from nanoos.db import Database, JobTable, db_now
from nanoos.db.jobs import QUEUED
from nanoos.services.job_attempts import ready


class JobAnnouncements:
    """The relay's half of the jobs table. Thread-safe; any number of relays may use it.

    Args:
        database: Where the jobs are.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def has_unpublished(self) -> bool:
        """True if a ready job has not been announced to the broker: a cheap read."""
        with self._db.read() as session:
            return session.scalar(_unpublished().limit(1)) is not None

    def take_unpublished(self, *, limit: int = 200) -> list[tuple[uuid.UUID, str]]:
        """Ready jobs to announce to the broker, marked as announced: id and queue."""
        with self._db.write() as session:
            ids = list(
                session.scalars(
                    _unpublished()
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

    def withdraw_announcements(self, job_ids: Sequence[uuid.UUID]) -> None:
        """Mark jobs as not announced: the broker did not take the message."""
        self._withdraw(JobTable.id.in_(list(job_ids)))

    def stale_queues(self, *, stale_s: float) -> list[str]:
        """Queues with jobs that were announced ``stale_s`` ago and are still queued."""
        with self._db.read() as session:
            query = select(JobTable.queue).where(JobTable.state == QUEUED, _stale(stale_s))
            return list(session.scalars(query.distinct()))

    def withdraw_stale(self, queues: Sequence[str], *, stale_s: float) -> None:
        """Mark such jobs of ``queues`` as not announced."""
        self._withdraw(JobTable.queue.in_(list(queues)), _stale(stale_s))

    def _withdraw(self, *conditions: ColumnElement[bool]) -> None:
        with self._db.write() as session:
            session.execute(
                update(JobTable)
                .where(JobTable.state == QUEUED, *conditions)
                .values(published_at=None)
                .execution_options(synchronize_session=False)
            )


def _unpublished() -> Select[uuid.UUID]:
    return ready().where(JobTable.published_at.is_(None))


def _stale(stale_s: float) -> ColumnElement[bool]:
    return JobTable.published_at < db_now(-stale_s)
