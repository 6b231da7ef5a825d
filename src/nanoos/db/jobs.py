"""The jobs table: every kind of work, and the truth about its state."""

import uuid
from datetime import datetime
from typing import Any, Final

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from nanoos.db.base import BigKey, CreatedAt, JsonDocument, Table, UuidKey

QUEUED: Final = "queued"
RUNNING: Final = "running"
COMPLETED: Final = "completed"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
STATES: Final = (QUEUED, RUNNING, COMPLETED, FAILED, CANCELLED)
TERMINAL_STATES: Final = (COMPLETED, FAILED, CANCELLED)
QUEUES: Final = ("default", "ml", "md", "dft")


class JobTable(Table):
    """One piece of work.

    ``attempt`` is the fence: it is counted up by each claim, and every later write of that
    attempt carries ``AND attempt = ?``, so a zombie can write nothing.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(
            "state IN ('queued', 'running', 'completed', 'failed', 'cancelled')", name="state"
        ),
        CheckConstraint("progress >= 0 AND progress <= 1", name="progress"),
        Index(
            "ix_jobs_claim",
            "queue",
            "priority",
            "created_at",
            sqlite_where=text("state = 'queued'"),
            postgresql_where=text("state = 'queued'"),
        ),
        Index(
            "ix_jobs_lease",
            "lease_until",
            sqlite_where=text("state = 'running'"),
            postgresql_where=text("state = 'running'"),
        ),
        Index(None, "owner_id", "created_at"),
        Index(None, "created_at", "id"),
    )

    id: Mapped[UuidKey]
    kind: Mapped[str] = mapped_column(String(50))
    queue: Mapped[str] = mapped_column(String(50), default="default")
    state: Mapped[str] = mapped_column(String(20), default=QUEUED)
    priority: Mapped[int] = mapped_column(default=0)
    key: Mapped[str | None] = mapped_column(String(200), unique=True)
    """Names the work: a second job with the same key is not made."""
    attempt: Mapped[int] = mapped_column(default=0)
    failures: Mapped[int] = mapped_column(default=0)
    """Attempts that ended by the job's own fault, for the retry policy."""
    losses: Mapped[int] = mapped_column(default=0)
    """Attempts lost with their worker."""
    max_failures: Mapped[int] = mapped_column(default=3)
    lease_until: Mapped[datetime | None]
    not_before: Mapped[datetime | None]
    published_at: Mapped[datetime | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    progress: Mapped[float] = mapped_column(default=0.0)
    message: Mapped[str | None]
    owner_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    payload: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    result: Mapped[dict[str, Any] | None] = mapped_column(JsonDocument)
    error: Mapped[dict[str, Any] | None] = mapped_column(JsonDocument)
    files: Mapped[list[Any] | None] = mapped_column(JsonDocument)
    """Sealed files of the run: name, sha256, size in bytes, the attempt that left them."""
    worker_host: Mapped[str | None] = mapped_column(String(255))
    """Host, boot and process-id namespace: process ids mean something only within one."""
    worker_pid: Mapped[int | None]
    worker_start_time: Mapped[float | None]
    process_group: Mapped[int | None]
    process_start_time: Mapped[float | None]
    event_count: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[CreatedAt]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class JobEventTable(Table):
    """What happened to a job, in order; ``number`` counts from 1 without gaps for each job."""

    __tablename__ = "job_events"
    __table_args__ = (UniqueConstraint("job_id", "number"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    number: Mapped[int]
    kind: Mapped[str] = mapped_column(String(30))
    data: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    created_at: Mapped[CreatedAt]
