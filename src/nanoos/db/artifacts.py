"""The artifact store: large files, content-addressed, sealed when finished."""

import hashlib
import os
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import fsspec
from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from nanoos.core.errors import NotFoundError, TransientError
from nanoos.db.base import CreatedAt, Table, db_now

_CHUNK = 1 << 20


class ArtifactTable(Table):
    """A sealed file; collected when nothing has named it for the grace time."""

    __tablename__ = "artifacts"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[CreatedAt]
    last_named_at: Mapped[datetime] = mapped_column(default=db_now())


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

        Raises:
            TransientError: the store cannot be written (a full disk).
        """
        digest = hashlib.sha256()
        size = 0
        with path.open("rb") as source:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
        sha256 = digest.hexdigest()
        target = self._path(sha256)
        try:
            if self._fs.exists(target) and self._fs.size(target) == size:
                return sha256, size
            self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            temporary = f"{target}.{uuid.uuid4().hex}.part"
            with path.open("rb") as source, self._fs.open(temporary, "wb") as sink:
                while chunk := source.read(_CHUNK):
                    sink.write(chunk)
                if self._local:
                    sink.flush()
                    os.fsync(sink.fileno())
            self._fs.mv(temporary, target)
        except OSError as error:
            raise TransientError(
                f"The artifact store cannot be written: {error}.",
                hint="Free some space or check NANO_OS_ARTIFACTS_URL.",
            ) from error
        return sha256, size

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
        entries: list[Any] = self._fs.glob(f"{self._root}/??/*")
        for entry in entries:
            name = str(entry).rpartition("/")[2]
            if len(name) == 64:  # noqa: PLR2004 - hex digits of a SHA-256
                yield name

    def delete(self, sha256: str) -> None:
        """Remove a sealed file; one that is gone already is no error."""
        try:
            self._fs.rm(self._path(sha256))
        except FileNotFoundError:
            return
