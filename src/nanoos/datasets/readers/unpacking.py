"""Files that are packed, read without being written out unpacked."""

import gzip
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

from nanoos.core.errors import InvalidInputError

_PACKED: Final = (".gz", ".xz", ".zip")


def bare_suffix(name: str) -> str:
    """The suffix in lower case without that of the packing: ``.json`` of ``a.json.gz``."""
    path = Path(name.lower())
    return Path(path.stem).suffix if path.suffix in _PACKED else path.suffix


def unpacked(path: Path) -> IO[bytes]:
    """An open file, unpacked on the way: ``.gz``, ``.xz``, or a zip with one file in it.

    Raises:
        InvalidInputError: it cannot be opened, or the zip holds several.
    """
    openers: dict[str, Callable[[Path], Any]] = {
        ".gz": gzip.open,
        ".xz": lzma.open,
        ".zip": _only_member,
    }
    try:
        opener = openers.get(path.suffix.lower())
        opened: IO[bytes] = opener(path) if opener else path.open("rb")
    except (zipfile.BadZipFile, OSError) as error:
        raise InvalidInputError(
            f"{path.name} cannot be opened: {error}.", hint="Check the file.", code="malformed_file"
        ) from error
    return opened


def _only_member(path: Path) -> IO[bytes]:
    archive = zipfile.ZipFile(path)
    members = [m for m in archive.infolist() if not m.is_dir() and "__MACOSX" not in m.filename]
    tables = [m for m in members if m.filename.lower().endswith(".json")] or members
    if len(tables) != 1:
        archive.close()
        raise InvalidInputError(
            f"{path.name} holds {len(tables)} files.", hint="Give a zip with one table in it."
        )
    return archive.open(tables[0])
