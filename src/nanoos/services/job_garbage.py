"""Collecting what no job needs any more: unnamed artifacts, run folders of ended jobs."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

from sqlalchemy import Select, and_, delete, or_, select
from sqlalchemy.orm import Session

from nanoos.db import (
    ArtifactTable,
    Database,
    DatasetTable,
    JobTable,
    ModelTable,
    StructureFeatureTable,
    db_now,
)
from nanoos.db.jobs import COMPLETED, TERMINAL_STATES
from nanoos.services.datasets import IMPORT_JOB
from nanoos.services.job_attempts import are_of_attempt
from nanoos.services.job_files import JobFiles
from nanoos.services.jobs import JobService

GRACE_S = 24 * 3600.0
"""How long something may lie unnamed: longer than any job takes from sealing to its row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage:
    """What was removed."""

    artifacts: int
    run_folders: int
    unfinished_files: int


def collect_garbage(
    database: Database, jobs: JobService, files: JobFiles, *, grace_s: float = GRACE_S
) -> Garbage:
    """Remove what has not been needed for ``grace_s`` seconds.

    That is: artifacts that no row names, files that killed writers left in the store, and run
    folders of jobs that were deleted or ended without completing, from which a retry could have
    gone on; what such a job left unsealed is sealed first. The run folder of a completed job goes
    at once. Safe beside running workers.
    """
    before = datetime.now(UTC) - timedelta(seconds=grace_s)
    folders = _collect_folders(database, jobs, files, grace_s=grace_s)
    named = _named(database)
    artifacts = 0
    for sha256 in list(files.store.list_hashes()):
        if sha256 in named:
            continue
        with database.write() as session:
            session.execute(
                delete(ArtifactTable).where(
                    ArtifactTable.sha256 == sha256,
                    ArtifactTable.last_named_at < db_now(-grace_s),
                )
            )
            kept = session.get(ArtifactTable, sha256) is not None
        if not kept:
            artifacts += files.store.collect(sha256, older_than=before)
    return Garbage(
        artifacts=artifacts,
        run_folders=folders,
        unfinished_files=files.store.collect_unfinished(older_than=before),
    )


def _named(database: Database) -> set[str]:
    with database.read() as session:
        rows = chain(
            session.scalars(select(JobTable.files).execution_options(yield_per=500)),
            session.scalars(select(ModelTable.files).execution_options(yield_per=500)),
            session.scalars(select(DatasetTable.files).execution_options(yield_per=500)),
            _uploads(session),
        )
        named = {entry["sha256"] for entries in rows for entry in entries or ()}
        return named | set(session.scalars(select(StructureFeatureTable.graph_repr).distinct()))


def _uploads(session: Session) -> Iterator[list[dict[str, Any]]]:
    """Uploaded files that queued and running imports still have to read."""
    payloads = session.scalars(
        select(JobTable.payload).where(
            JobTable.kind == IMPORT_JOB, JobTable.state.not_in(TERMINAL_STATES)
        )
    )
    return ([payload["upload"]] for payload in payloads if "upload" in payload)


def _collect_folders(
    database: Database, jobs: JobService, files: JobFiles, *, grace_s: float
) -> int:
    if not files.runs_dir.is_dir():
        return 0
    before = datetime.now(UTC) - timedelta(seconds=grace_s)
    removed = 0
    for folder in list(files.runs_dir.iterdir()):
        try:
            job_id = uuid.UUID(folder.name)
            old = datetime.fromtimestamp(folder.stat().st_mtime, UTC) < before
        except (ValueError, FileNotFoundError):
            continue  # not ours, or gone meanwhile
        with database.read() as session:
            row = session.execute(
                select(JobTable.state, JobTable.attempt, JobTable.files).where(
                    JobTable.id == job_id
                )
            ).one_or_none()
            unneeded = session.scalar(_unneeded(job_id, grace_s=grace_s)) is not None
        if row is None and old:
            files.discard(job_id)
            removed += 1
        elif row is not None and unneeded:
            if row.state != COMPLETED and not are_of_attempt(row.files, row.attempt):
                jobs.record_files(job_id, row.attempt, files.seal_all(job_id))
            removed += _remove(database, files, job_id, grace_s=grace_s)
    return removed


def _unneeded(job_id: uuid.UUID, *, grace_s: float) -> Select[uuid.UUID]:
    """Finds the job where nothing can go on from its run folder."""
    ended_long_ago = and_(
        JobTable.state.in_(TERMINAL_STATES), JobTable.finished_at < db_now(-grace_s)
    )
    return select(JobTable.id).where(
        JobTable.id == job_id, or_(JobTable.state == COMPLETED, ended_long_ago)
    )


def _remove(database: Database, files: JobFiles, job_id: uuid.UUID, *, grace_s: float) -> bool:
    """Remove the run folder of a job, unless it is retried at this moment."""
    aside = uuid.uuid4()
    with database.write() as session:  # a retry waits for it, and finds no half of a folder
        if session.scalar(_unneeded(job_id, grace_s=grace_s).with_for_update()) is None:
            return False
        files.rename(job_id, aside)
    files.discard(aside)
    return True
