"""Reading an archive of pseudopotentials member by member, into memory, with limits.

Nothing is unpacked to the disk under a name that the archive chose: links, devices and names that
lead elsewhere are refused, and sizes are counted while reading.
"""

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Final

from nanoos.core.errors import InvalidInputError, TooLargeError

LARGEST_FILE: Final = 64 << 20
LARGEST_TOTAL: Final = 1 << 30
MOST_MEMBERS: Final = 5_000
_SUFFIXES: Final = (".upf", ".json", ".djson", ".djrepo", ".txt", ".md")
_CHUNK: Final = 1 << 20


def read_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name (as in the archive) and content of the files that may matter.

    Args:
        path: ``.tar``, ``.tar.gz``, ``.tgz``, ``.tar.xz``, ``.tar.bz2``, ``.zip``, or a folder.

    Raises:
        InvalidInputError: code ``hostile_archive`` or ``damaged_archive``.
        TooLargeError: it unpacks to more than the limits.
    """
    budget = _Budget()
    try:
        if path.is_dir():
            yield from _folder_members(path, budget)
        elif zipfile.is_zipfile(path):
            yield from _zip_members(path, budget)
        else:
            yield from _tar_members(path, budget)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        RuntimeError,  # a zip with a password
        NotImplementedError,  # a way of packing that is not known
    ) as error:
        raise InvalidInputError(
            f"{path.name} cannot be read as an archive: {error}.",
            hint="Give a .tar.xz, .tar.gz or .zip of UPF files, or a folder of them.",
            code="damaged_archive",
        ) from error


def _folder_members(folder: Path, budget: "_Budget") -> Iterator[tuple[str, bytes]]:
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.suffix.lower() in _SUFFIXES:
            with file.open("rb") as stream:
                yield file.name, budget.read(stream, file.name)


class _Budget:
    """Members and bytes that one archive may still give."""

    def __init__(self) -> None:
        self._bytes = LARGEST_TOTAL
        self._members = MOST_MEMBERS

    def count(self) -> None:
        self._members -= 1
        if self._members < 0:
            raise TooLargeError(f"The archive has more than {MOST_MEMBERS:,} members.")

    def read(self, stream: IO[bytes], name: str) -> bytes:
        parts = []
        taken = 0
        while chunk := stream.read(_CHUNK):
            taken += len(chunk)
            self._bytes -= len(chunk)
            if taken > LARGEST_FILE or self._bytes < 0:
                raise TooLargeError(
                    f"The archive unpacks to too much, at {name}: at most "
                    f"{LARGEST_FILE >> 20} MB for a file and {LARGEST_TOTAL >> 20} MB in all.",
                    hint="Pseudopotential files are a few MB each.",
                )
            parts.append(chunk)
        return b"".join(parts)


def _tar_members(path: Path, budget: _Budget) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            budget.count()
            _check_name(member.name)
            if member.isdir():
                continue
            if not member.isreg():
                raise _hostile(member.name, "it is a link or a device")
            if member.size > LARGEST_FILE:
                raise TooLargeError(f"{member.name} claims {member.size:,} bytes.")
            stream = archive.extractfile(member)
            if stream is not None and _matters(member.name):
                yield member.name, budget.read(stream, member.name)


def _zip_members(path: Path, budget: _Budget) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            budget.count()
            _check_name(info.filename)
            if stat.S_ISLNK(info.external_attr >> 16):
                raise _hostile(info.filename, "it is a link")
            if not info.is_dir() and _matters(info.filename):
                with archive.open(info) as stream:
                    yield info.filename, budget.read(stream, info.filename)


def _matters(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")


def _check_name(name: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[:1] or "\0" in name:
        raise _hostile(name, "its name leads out of the archive")


def _hostile(name: str, why: str) -> InvalidInputError:
    return InvalidInputError(
        f"The archive holds {name!r}, which is refused: {why}.",
        hint="Take the archive from where the family is published.",
        code="hostile_archive",
    )
