"""Files and logs of jobs: readable while they are written, sealed when the job ends."""

import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sqlalchemy import select

from nanoos.core.errors import NotFoundError
from nanoos.db import ArtifactStore, ArtifactTable, Database, JobTable, db_now
from nanoos.services.access import Principal, visible

LOG_NAME = "log.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFile:
    """A file of a job.

    Attributes:
        name: Path inside the run folder.
        size_bytes: Its size now.
        sha256: Hash of a sealed file; None while the job may still write it.
    """

    name: str
    size_bytes: int
    sha256: str | None


class JobFiles:
    """Run folders (``runs_dir/<job id>``) and the sealed files of finished jobs.

    The log and the scratch of a job live in its run folder. When a job ends, the files its
    handler names and the log are sealed in the artifact store and the folder is removed; a
    killed attempt's folder stays for the next one.
    """

    def __init__(self, database: Database, store: ArtifactStore, runs_dir: Path) -> None:
        self._db = database
        self._store = store
        self._runs_dir = runs_dir

    def run_dir(self, job_id: uuid.UUID) -> Path:
        """The job's own folder; made if missing."""
        path = self._runs_dir / str(job_id)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def seal(self, job_id: uuid.UUID, files: Sequence[Path]) -> list[dict[str, Any]]:
        """Put files and the log into the artifact store; returns what the job's row records."""
        run_dir = self.run_dir(job_id)
        log = run_dir / LOG_NAME
        chosen = [*files, log] if log.exists() and log.stat().st_size else list(files)
        entries = []
        for path in chosen:
            sha256, size = self._store.put_file(path)
            name = path.relative_to(run_dir).as_posix()
            entries.append({"name": name, "sha256": sha256, "size_bytes": size})
        if entries:
            with self._db.write() as session:
                for entry in entries:
                    row = session.get(ArtifactTable, entry["sha256"])
                    if row is None:
                        session.merge(
                            ArtifactTable(sha256=entry["sha256"], size_bytes=entry["size_bytes"])
                        )
                    else:
                        row.last_named_at = db_now()
        return entries

    def discard(self, job_id: uuid.UUID) -> None:
        """Remove the run folder of a job that has ended."""
        shutil.rmtree(self._runs_dir / str(job_id), ignore_errors=True)

    def names(self, job_id: uuid.UUID, who: Principal) -> Sequence[JobFile]:
        """Files of a job: sealed ones, or what its run folder holds now."""
        sealed = self._sealed(job_id, who)
        if sealed is not None:
            return [
                JobFile(name=e["name"], size_bytes=e["size_bytes"], sha256=e["sha256"])
                for e in sealed
            ]
        folder = self._runs_dir / str(job_id)
        return [
            JobFile(
                name=path.relative_to(folder).as_posix(),
                size_bytes=path.stat().st_size,
                sha256=None,
            )
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]

    def open(self, job_id: uuid.UUID, name: str, who: Principal) -> IO[bytes]:
        """Open one file. Raises NotFoundError where the job or the file is not there."""
        sealed = self._sealed(job_id, who)
        if sealed is not None:
            for entry in sealed:
                if entry["name"] == name:
                    return self._store.open(entry["sha256"])
        else:
            folder = (self._runs_dir / str(job_id)).resolve()
            path = (folder / name).resolve()
            if path.is_relative_to(folder) and path.is_file():
                return path.open("rb")
        raise NotFoundError(f"The job has no file {name!r}.", hint="List its files first.")

    def log(self, job_id: uuid.UUID, who: Principal, *, offset: int = 0) -> bytes:
        """The log from byte ``offset`` on; empty where there is none yet."""
        try:
            with self.open(job_id, LOG_NAME, who) as handle:
                handle.seek(offset)
                return handle.read()
        except NotFoundError:
            self._sealed(job_id, who)
            return b""

    def _sealed(self, job_id: uuid.UUID, who: Principal) -> list[Mapping[str, Any]] | None:
        with self._db.read() as session:
            row = session.scalar(
                select(JobTable).where(JobTable.id == job_id, visible(JobTable, who))
            )
            if row is None:
                raise NotFoundError(f"There is no job {job_id}.")
            return row.files

    def iter_chunks(self, handle: IO[bytes], size: int = 1 << 16) -> Iterator[bytes]:
        """Read an open file in pieces and close it."""
        with handle:
            while chunk := handle.read(size):
                yield chunk
