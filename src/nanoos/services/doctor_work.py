"""What ``nanoos doctor`` says of the work in hand: queues, stuck jobs, models that do badly."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import func, select

from nanoos.db import Database, JobTable, db_now
from nanoos.db.jobs import QUEUED, RUNNING
from nanoos.services.monitoring import stored_alerts

Status = Literal["ok", "warning", "failed"]

WAITING_S: Final = 60.0
"""A ready job that waits longer, in a queue where nothing runs, has no worker."""
SILENT_S: Final = 300.0
"""A running job whose lease ended so long ago is stuck: no reconciler saw it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        area: ``packages``, ``storage``, ``database``, ``broker``, ``models``, ``tools``,
            ``jobs``.
        name: What was looked at.
        status: ``ok``; ``warning``: something that not everybody needs is missing; ``failed``.
        message: What was found.
        hint: The command or setting that mends it.
    """

    area: str
    name: str
    status: Status
    message: str
    hint: str | None = None


def check_jobs(database_url: str) -> Iterator[Check]:
    """Queues that nobody serves, and jobs that hang."""
    database = Database(database_url)
    try:
        waiting, stuck = _unserved(database), _stuck(database)
    finally:
        database.dispose()
    yield Check(
        area="jobs",
        name="queues",
        status="warning" if waiting else "ok",
        message=", ".join(f"{n} jobs wait in {queue!r}, nobody runs them" for queue, n in waiting)
        or "no queue waits for a worker",
        hint=f"nanoos worker --queue {' --queue '.join(q for q, _ in waiting)}"
        if waiting
        else None,
    )
    yield Check(
        area="jobs",
        name="stuck jobs",
        status="warning" if stuck else "ok",
        message=f"{stuck} jobs claim to run, but their workers are silent" if stuck else "none",
        hint="Start a worker: it takes them up again." if stuck else None,
    )


def check_alerts(database_url: str) -> Check:
    """Models that do worse than their cards say."""
    database = Database(database_url)
    try:
        alerts = stored_alerts(database)
    finally:
        database.dispose()
    return Check(
        area="models",
        name="alerts",
        status="warning" if alerts else "ok",
        message=" ".join(alert.message for alert in alerts) or "no model does worse than its card",
        hint="nanoos models monitor" if alerts else None,
    )


def _unserved(database: Database) -> Sequence[tuple[str, int]]:
    served = select(JobTable.queue).where(
        JobTable.state == RUNNING, JobTable.lease_until >= db_now()
    )
    query = (
        select(JobTable.queue, func.count())
        .where(
            JobTable.state == QUEUED,
            JobTable.created_at < db_now(-WAITING_S),
            JobTable.queue.not_in(served),
        )
        .group_by(JobTable.queue)
        .order_by(JobTable.queue)
    )
    with database.read() as session:
        return [(queue, number) for queue, number in session.execute(query)]


def _stuck(database: Database) -> int:
    query = (
        select(func.count())
        .select_from(JobTable)
        .where(JobTable.state == RUNNING, JobTable.lease_until < db_now(-SILENT_S))
    )
    with database.read() as session:
        return session.scalar(query) or 0
