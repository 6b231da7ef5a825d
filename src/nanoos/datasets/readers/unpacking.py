"""Files that are packed, read without being written out unpacked."""

import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

from nanoos.core.errors import InvalidInputError

_PACKED: Final = (".gz", ".xz", ".zip")
_CHUNK: Final = 1 << 16
_REFUSING: Final = "nanoos.refuse"
DAMAGED: Final = (
    EOFError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    zipfile.BadZipFile,
    RuntimeError,  # a zip with a password
    NotImplementedError,  # a zip packed in an unusual way
)
"""What Python's readers of packed files raise for files that are cut off, broken or locked."""


def bare_suffix(name: str) -> str:
    """The suffix in lower case without that of the packing: ``.json`` of ``a.json.gz``."""
    path = Path(name.lower())
    return Path(path.stem).suffix if path.suffix in _PACKED else path.suffix


def unpacked(path: Path, name: str) -> IO[bytes]:
    """An open file, unpacked on the way: ``.gz``, ``.xz``, or a zip with one file in it.

    Args:
        path: The file.
        name: What messages call it.

    Raises:
        InvalidInputError: it cannot be opened, or the zip holds several; while reading, it is
            damaged.
    """
    openers: dict[str, Callable[[Path], Any]] = {
        ".gz": gzip.open,
        ".xz": lzma.open,
        ".zip": lambda packed: _only_member(packed, name),
    }
    opener = openers.get(path.suffix.lower())
    try:
        opened: IO[bytes] = opener(path) if opener else path.open("rb")
    except (*DAMAGED, OSError) as error:
        raise damaged(name, error) from error
    return io.BufferedReader(_Guarded(opened, name), _CHUNK) if opener else opened


def unpacked_text(path: Path, name: str) -> IO[str]:
    """As :func:`unpacked`, decoded; line ends are as they are in the file.

    Raises:
        InvalidInputError: as :func:`unpacked`; while reading, it is not UTF-8.
    """
    return io.TextIOWrapper(
        unpacked(path, name), encoding="utf-8-sig", errors=_REFUSING, newline=""
    )


def damaged(name: str, error: Exception) -> InvalidInputError:
    """What is said of a packed file that cannot be read."""
    return InvalidInputError(
        f"{name} cannot be read: {error}.",
        hint="The file may be cut off, damaged or locked by a password: fetch or pack it again.",
        code="malformed_file",
    )


def _refuse(error: UnicodeError) -> tuple[str, int]:
    raise InvalidInputError(
        f"This is no text in UTF-8: {error}.", hint="Save it as UTF-8.", code="wrong_encoding"
    ) from error


codecs.register_error(_REFUSING, _refuse)


class _Guarded(io.RawIOBase):
    """A packed file whose damage is told in words.

    Args:
        packed: What unpacks it.
        name: Of the file.
    """

    def __init__(self, packed: IO[bytes], name: str) -> None:
        super().__init__()
        self._packed = packed
        self._name = name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            piece = self._packed.read(len(buffer))
        except DAMAGED as error:
            raise damaged(self._name, error) from error
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._packed.close()
        super().close()


def _only_member(path: Path, name: str) -> IO[bytes]:
    archive = zipfile.ZipFile(path)
    members = [m for m in archive.infolist() if not m.is_dir() and "__MACOSX" not in m.filename]
    tables = [m for m in members if m.filename.lower().endswith(".json")] or members
    if len(tables) != 1:
        archive.close()
        raise InvalidInputError(
            f"{name} holds {len(tables)} files.", hint="Give a zip with one table in it."
        )
    return archive.open(tables[0])
