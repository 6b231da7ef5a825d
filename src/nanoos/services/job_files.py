"""Files and logs of jobs: readable while they are written, sealed when the job ends."""

import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sqlalchemy import select

from nanoos.core.errors import InvalidInputError, NotFoundError
from nanoos.db import ArtifactStore, Database, JobTable
from nanoos.db.jobs import COMPLETED, TERMINAL_STATES
from nanoos.services.access import Principal, visible
from nanoos.services.job_attempts import JobAttempts, are_of_attempt
from nanoos.services.job_kinds import JobClaim

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
    handler names (all of them when it failed or was cancelled) and the log are sealed in the
    artifact store. The folder of a completed job is removed; that of any other stays for the next
    attempt, until it is collected as garbage. Run folders are on the machine that runs the job:
    elsewhere its files are seen once they are sealed, and an attempt begins with these.
    """

    def __init__(self, database: Database, store: ArtifactStore, runs_dir: Path) -> None:
        self._db = database
        self._store = store
        self._runs_dir = runs_dir

    @property
    def store(self) -> ArtifactStore:
        """Where sealed files are."""
        return self._store

    @property
    def runs_dir(self) -> Path:
        """Where the run folders are."""
        return self._runs_dir

    def run_dir(self, job_id: uuid.UUID) -> Path:
        """The job's own folder; made if missing."""
        path = self._runs_dir / str(job_id)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def take_up(self, claim: JobClaim) -> Path:
        """The run folder of an attempt that begins, with what the attempt before it saved.

        Where that folder is no longer here, or was on another machine, it is made of the sealed
        files: they lack what an engine keeps in hidden folders.

        Raises:
            TransientError: the store or the database cannot be read.
        """
        path = self._runs_dir / str(claim.job_id)
        if claim.attempt > 1 and not path.is_dir():
            with self._db.read() as session:
                sealed = session.scalar(select(JobTable.files).where(JobTable.id == claim.job_id))
            if sealed:
                self._restore(sealed, path)
        return self.run_dir(claim.job_id)

    def _restore(self, sealed: Iterable[Mapping[str, Any]], path: Path) -> None:
        part = self.run_dir(uuid.uuid4())  # of no job: collected as garbage if we are killed
        try:
            for entry in sealed:
                target = part / entry["name"]
                target.parent.mkdir(parents=True, exist_ok=True)
                with self._store.open(entry["sha256"]) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
            part.rename(path)
        except NotFoundError:  # a part of what was saved is no state to go on from
            return
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def forget_saved(self, job_id: uuid.UUID) -> None:
        """Empty the run folder but for the log: the next attempt begins anew."""
        for path in self.run_dir(job_id).iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LOG_NAME:
                path.unlink()

    def seal(self, job_id: uuid.UUID, files: Iterable[Path]) -> list[dict[str, Any]]:
        """Put files and the log into the artifact store; returns what the job's row records.

        Raises:
            TransientError: the store cannot be written.
            ValueError: a file outside the run folder.
        """
        run_dir = self._runs_dir / str(job_id)
        log = run_dir / LOG_NAME
        chosen = {path.relative_to(run_dir).as_posix(): path for path in files}
        chosen.pop(LOG_NAME, None)
        with suppress(FileNotFoundError):
            if log.stat().st_size:
                chosen[LOG_NAME] = log
        entries = []
        for name, path in chosen.items():
            sha256, size = self._store.put_file(path)
            entries.append({"name": name, "sha256": sha256, "size_bytes": size})
        return entries

    def seal_all(self, job_id: uuid.UUID) -> list[dict[str, Any]]:
        """Seal everything in the run folder: what is kept of a job that failed."""
        folder = self._runs_dir / str(job_id)
        return self.seal(job_id, (folder / file.name for file in self._in_folder(job_id)))

    def keep(self, jobs: JobAttempts, claim: JobClaim) -> None:
        """Seal and name what a job left that ended without completing.

        Raises:
            TransientError: the store or the database cannot be written.
        """
        if (self._runs_dir / str(claim.job_id)).is_dir():  # else it was ended before it began
            jobs.record_files(claim.job_id, claim.attempt, self.seal_all(claim.job_id))

    def rename(self, job_id: uuid.UUID, other: uuid.UUID) -> None:
        """Give the run folder of a job another name, if it is there."""
        with suppress(FileNotFoundError):
            (self._runs_dir / str(job_id)).rename(self._runs_dir / str(other))

    def discard(self, job_id: uuid.UUID) -> None:
        """Remove the run folder of a job that has ended."""
        shutil.rmtree(self._runs_dir / str(job_id), ignore_errors=True)

    def names(self, job_id: uuid.UUID, who: Principal) -> Sequence[JobFile]:
        """Files of a job: what its run folder holds until its files are sealed, then these.

        Where there is no such folder, those of an earlier attempt.
        """
        sealed, final = self._sealed(job_id, who)
        if not final and (here := self._in_folder(job_id)):
            return here
        return [
            JobFile(name=e["name"], size_bytes=e["size_bytes"], sha256=e["sha256"]) for e in sealed
        ]

    def _in_folder(self, job_id: uuid.UUID) -> list[JobFile]:
        folder = self._runs_dir / str(job_id)
        found = []
        for path in sorted(folder.rglob("*")):
            if any(part.startswith(".") for part in path.relative_to(folder).parts[:-1]):
                continue  # hidden folders are an engine's scratch: gigabytes that nobody reads
            with suppress(FileNotFoundError):  # removed while we look
                if path.is_file() and not path.is_symlink():
                    size = path.stat().st_size
                    name = path.relative_to(folder).as_posix()
                    found.append(JobFile(name=name, size_bytes=size, sha256=None))
        return found

    def open(self, job_id: uuid.UUID, name: str, who: Principal) -> IO[bytes]:
        """Open one file. Raises NotFoundError where the job or the file is not there."""
        for _ in range(2):  # the job may end, and its folder go, between the row and the file
            sealed, final = self._sealed(job_id, who)
            if not final and (handle := self._open_in_folder(job_id, name)) is not None:
                return handle
            for entry in sealed:
                if entry["name"] == name:
                    return self._store.open(entry["sha256"])
            if final:
                break
        raise NotFoundError(f"The job has no file {name!r}.", hint="List its files first.")

    def _open_in_folder(self, job_id: uuid.UUID, name: str) -> IO[bytes] | None:
        folder = (self._runs_dir / str(job_id)).resolve()
        try:
            path = (folder / name).resolve()
            if path.is_relative_to(folder) and path.is_file():
                return path.open("rb")
        except (OSError, ValueError):  # gone meanwhile, or a name that no file can have
            return None
        return None

    def log(
        self, job_id: uuid.UUID, who: Principal, *, offset: int = 0, limit: int | None = None
    ) -> bytes:
        """The log from byte ``offset`` on; empty where there is none yet.

        Args:
            job_id: The job.
            who: Who asks.
            offset: Where to begin, bytes.
            limit: How many bytes at most; None: all.

        Raises:
            NotFoundError: no such job.
            InvalidInputError: a negative offset or limit.
        """
        if offset < 0 or (limit is not None and limit < 0):
            raise InvalidInputError("offset and limit count bytes, they cannot be negative.")
        try:
            with self.open(job_id, LOG_NAME, who) as handle:
                handle.seek(offset)
                return handle.read() if limit is None else handle.read(limit)
        except NotFoundError:
            if any(file.name == LOG_NAME for file in self.names(job_id, who)):
                raise
            return b""

    def _sealed(self, job_id: uuid.UUID, who: Principal) -> tuple[list[Mapping[str, Any]], bool]:
        """The sealed files, and whether they are those that the job ended with."""
        with self._db.read() as session:
            found = session.execute(
                select(JobTable.files, JobTable.state, JobTable.attempt).where(
                    JobTable.id == job_id, visible(JobTable, who)
                )
            ).one_or_none()
        if found is None:
            raise NotFoundError(f"There is no job {job_id}.")
        ended = found.state in TERMINAL_STATES
        final = found.state == COMPLETED or (ended and are_of_attempt(found.files, found.attempt))
        return found.files or [], final

    @staticmethod
    def iter_chunks(handle: IO[bytes], size: int = 1 << 16) -> Iterator[bytes]:
        """Read an open file in pieces and close it."""
        with handle:
            while chunk := handle.read(size):
                yield chunk
