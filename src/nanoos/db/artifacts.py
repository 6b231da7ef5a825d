"""The artifact store: large files, content-addressed, sealed when finished."""

import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import fsspec
from sqlalchemy import BigInteger, String, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from nanoos.core.errors import NotFoundError, TransientError
from nanoos.db.base import CreatedAt, Table, db_now
from nanoos.db.session import insert_if_absent

_CHUNK = 1 << 20
_SHA256_DIGITS = 64
_UNFINISHED = ".part"


class ArtifactTable(Table):
    """A sealed file; collected when nothing has named it for the grace time."""

    __tablename__ = "artifacts"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[CreatedAt]
    last_named_at: Mapped[datetime] = mapped_column(default=db_now())


def name_artifacts(session: Session, entries: Iterable[Mapping[str, Any]]) -> None:
    """Note, in the transaction that names sealed files, that they are named.

    Args:
        session: A writing transaction.
        entries: Each with ``sha256`` and ``size_bytes``.
    """
    sizes = {entry["sha256"]: entry["size_bytes"] for entry in entries}
    for sha256 in sorted(sizes):  # one order for all: no deadlock between two that share files
        if not insert_if_absent(
            session, ArtifactTable, {"sha256": sha256, "size_bytes": sizes[sha256]}
        ):
            session.execute(
                update(ArtifactTable)
                .where(ArtifactTable.sha256 == sha256)
                .values(last_named_at=db_now())
                .execution_options(synchronize_session=False)
            )


class ArtifactStore:
    """Files by the SHA-256 of their content, in a folder or any fsspec file system.

    Args:
        url: ``file:///path`` or another fsspec URL (``s3://bucket/prefix`` with the s3 extra).
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._fs, self._root = fsspec.core.url_to_fs(url)
        self._local = self._fs.protocol in ("file", ("file", "local"))

    def _path(self, sha256: str) -> str:
        return f"{self._root}/{sha256[:2]}/{sha256}"

    def put_file(self, path: Path) -> tuple[str, int]:
        """Seal a file: its hash and size in bytes. The row that names it is written after.

        Hash and content come from one reading, so a file that is still being written is sealed
        as it was read. One that is there already counts as new again for :meth:`collect`.

        Raises:
            TransientError: the store cannot be written (a full disk).
        """
        temporary = f"{self._root}/{uuid.uuid4().hex}{_UNFINISHED}"
        with path.open("rb") as source:
            try:
                self._fs.makedirs(self._root, exist_ok=True)
                sha256, size = self._copy(source, temporary)
                self._settle(temporary, sha256)
            except OSError as error:
                with suppress(OSError):
                    self._fs.rm(temporary)
                raise TransientError(
                    f"The artifact store cannot be written: {error}.",
                    hint="Free some space or check NANO_OS_ARTIFACTS_URL.",
                    code="artifacts_unavailable",
                ) from error
        return sha256, size

    def _copy(self, source: IO[bytes], target: str) -> tuple[str, int]:
        digest = hashlib.sha256()
        size = 0
        with self._fs.open(target, "wb") as sink:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                sink.write(chunk)
                size += len(chunk)
            if self._local:
                sink.flush()
                os.fsync(sink.fileno())
        return digest.hexdigest(), size

    def _settle(self, temporary: str, sha256: str) -> None:
        target = self._path(sha256)
        folder = target.rpartition("/")[0]
        self._fs.makedirs(folder, exist_ok=True)
        if not self._local:
            self._fs.mv(temporary, target)
            return
        Path(temporary).replace(target)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # the new name outlives a power cut
        finally:
            os.close(descriptor)

    def open(self, sha256: str) -> IO[bytes]:
        """Open a sealed file for reading.

        Raises:
            NotFoundError: no such file in the store.
        """
        try:
            handle: IO[bytes] = self._fs.open(self._path(sha256), "rb")
        except FileNotFoundError as error:
            raise NotFoundError("This file is no longer in the artifact store.") from error
        return handle

    def list_hashes(self) -> Iterator[str]:
        """Hashes of all sealed files."""
        for entry in self._fs.glob(f"{self._root}/??/*"):
            name = str(entry).rpartition("/")[2]
            if len(name) == _SHA256_DIGITS:
                yield name

    def collect(self, sha256: str, *, older_than: datetime) -> bool:
        """Remove a file unless it was sealed (again) since ``older_than``; whether it is gone."""
        path = self._path(sha256)
        aside = f"{self._root}/{sha256}{_UNFINISHED}"
        try:
            if self._fs.modified(path) >= older_than:
                return False
            self._fs.mv(path, aside)
            if self._fs.modified(aside) >= older_than and self._local:
                self._fs.mv(aside, path)  # sealed again between the look and the move
                return False
            self._fs.rm(aside)
        except FileNotFoundError:
            return False
        return True

    def collect_unfinished(self, *, older_than: datetime) -> int:
        """Remove what killed writers left; returns how many files."""
        removed = 0
        for entry in self._fs.glob(f"{self._root}/*{_UNFINISHED}"):
            with suppress(FileNotFoundError):
                if self._fs.modified(entry) < older_than:
                    self._fs.rm(entry)
                    removed += 1
        return removed
