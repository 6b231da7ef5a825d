"""The layout that CGCNN trains from: ``id_prop.csv`` beside one CIF for each row.

Ref: Xie & Grossman 2018 (10.1103/PhysRevLett.120.145301) and the code's own documentation.
"""

import csv
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from nanoos.core.errors import InvalidInputError, NanoosError, NotFoundError, StructureRefusedError
from nanoos.datasets.readers.tables import Table
from nanoos.datasets.readers.unpacking import DAMAGED, damaged
from nanoos.structures.io.outcome import DEFAULT_LIMITS

ID_PROP: Final = "id_prop.csv"

ReadText = Callable[[str], str]


def is_cgcnn(path: Path, name: str) -> bool:
    """Whether a folder or a zip has an ``id_prop.csv``.

    Raises:
        InvalidInputError: the zip is damaged.
    """
    if path.is_dir():
        return (path / ID_PROP).is_file()
    if not zipfile.is_zipfile(path):
        return False
    with _archive(path, name) as archive:
        return any(PurePosixPath(member).name == ID_PROP for member in archive.namelist())


def cgcnn_table(path: Path, *, name: str) -> Table:
    """A CGCNN folder, or a zip of one.

    The columns are ``id`` and ``value``, ``value2`` and so on (``id_prop.csv`` has no names):
    the caller says which property each is.

    Raises:
        InvalidInputError: ``id_prop.csv`` is empty, or cannot be unpacked.
    """
    read = _in_folder(path) if path.is_dir() else _in_zip(path, name)
    text = read(ID_PROP)
    lines = [line for line in csv.reader(io.StringIO(text)) if any(line)]
    if not lines:
        raise InvalidInputError(f"{ID_PROP} of {name} is empty.", hint="Give id,value rows.")
    width = max(len(line) for line in lines)
    values = [f"value{n}" if n > 1 else "value" for n in range(1, width)]

    def records() -> Iterator[Mapping[str, Any] | NanoosError]:
        for identifier, *cells in lines:
            try:
                cif = read(f"{identifier.strip()}.cif")
            except NanoosError as error:
                yield error
                continue
            given = dict(zip(values, cells, strict=False))
            yield {"id": identifier.strip(), "structure": cif, **given}

    return Table(
        name=name, columns=["id", *values, "structure"], records=records(), total=len(lines)
    )


def _in_folder(folder: Path) -> ReadText:
    root = folder.resolve()

    def read(name: str) -> str:
        path = (root / name).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise _missing(name)
        if path.stat().st_size > DEFAULT_LIMITS.max_file_bytes:
            raise _too_large(name)
        return path.read_text(encoding="utf-8", errors="replace")

    return read


def _archive(path: Path, name: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise damaged(name, error) from error


def _in_zip(path: Path, archive_name: str) -> ReadText:
    archive = _archive(path, archive_name)
    inside = {PurePosixPath(member.filename).name: member for member in archive.infolist()}

    def read(name: str) -> str:
        member = inside.get(name)
        if member is None:
            raise _missing(name)
        if member.file_size > DEFAULT_LIMITS.max_file_bytes:
            raise _too_large(name)
        try:
            return archive.read(member).decode("utf-8", errors="replace")
        except DAMAGED as error:
            raise damaged(f"{name} in {archive_name}", error) from error

    return read


def _missing(name: str) -> NotFoundError:
    return NotFoundError(f"There is no {name} beside {ID_PROP}.", hint="Add the file.")


def _too_large(name: str) -> StructureRefusedError:
    return StructureRefusedError(
        f"{name} is larger than {DEFAULT_LIMITS.max_file_bytes:,} bytes.", code="too_large"
    )
