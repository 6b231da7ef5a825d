"""Reading structures from files, folders, zip files and uploads, one outcome for each structure.

Nothing here raises for bad content: each structure gives an outcome, in order, and one bad file
or frame stops nothing.
"""

import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from nanoos.core.errors import NanoosError, NotFoundError, StructureRefusedError, TooLargeError
from nanoos.structures.io.archive import MemberStream, archive_outcomes
from nanoos.structures.io.cif import cif_entries
from nanoos.structures.io.extxyz import extxyz_entries
from nanoos.structures.io.formats import Format, format_of_content, format_of_name
from nanoos.structures.io.json_formats import json_entries
from nanoos.structures.io.outcome import (
    DEFAULT_LIMITS,
    Entry,
    ReadLimits,
    ReadOutcome,
    failure,
    no_structures,
    outcomes,
    unreadable,
)
from nanoos.structures.io.poscar import poscar_entries
from nanoos.structures.io.text import decode_text
from nanoos.structures.io.xsf import xsf_entries
from nanoos.structures.structure import Structure

_SNIFFED_BYTES = 8192
_SEVERAL = "Use iter_structures for files with several."

_TEXT_READERS: dict[Format, Callable[[str, ReadLimits], Iterator[Entry]]] = {
    Format.CIF: cif_entries,
    Format.POSCAR: poscar_entries,
    Format.XSF: xsf_entries,
    Format.JSON: json_entries,
}

Stream = IO[bytes] | MemberStream


def iter_paths(
    paths: Iterable[str | os.PathLike[str]], *, limits: ReadLimits = DEFAULT_LIMITS
) -> Iterator[ReadOutcome]:
    """The outcomes of several files, folders or zip files, in the order given."""
    for path in paths:
        yield from iter_structures(path, limits=limits)


def iter_structures(
    path: str | os.PathLike[str], *, limits: ReadLimits = DEFAULT_LIMITS
) -> Iterator[ReadOutcome]:
    """Read a file, a folder or a zip, structure by structure.

    Args:
        path: A file of any known format (by its name, else by its content), a zip of such
            files, or a folder: its files with known names (``*.cif``, ``POSCAR*`` and so on),
            sub-folders included, sorted.
        limits: What is accepted.

    Yields:
        One outcome for each structure, and one for each file that gives none; every structure
        has passed :func:`nanoos.structures.checks.check_structure`.
    """
    path = Path(path)
    file = str(path)
    try:
        if not path.exists():
            yield failure(
                file,
                NotFoundError(f"There is no file or folder {file}.", hint="Check the path."),
            )
        elif path.is_dir():
            yield from _folder(path, limits)
        elif not path.is_file():
            yield failure(
                file,
                StructureRefusedError(
                    f"{file} is neither a file nor a folder.",
                    hint="Give a file.",
                    code="unreadable_file",
                ),
            )
        else:
            yield from _file(path, limits)
    except OSError as problem:
        yield failure(file, unreadable(file, problem))
    except ValueError as problem:
        # a NUL in the path
        yield failure(file, NotFoundError(f"{file!r} is not a path: {problem}."))


def read_structure(
    path: str | os.PathLike[str], *, limits: ReadLimits = DEFAULT_LIMITS
) -> Structure:
    """The one structure of a file.

    Raises:
        NotFoundError: there is no such file.
        StructureRefusedError: it is refused, or the file holds several (``several_structures``).
        TooLargeError: a limit on sizes.
    """
    return _only_one(str(path), iter_structures(path, limits=limits), _SEVERAL)


def read_structure_from_bytes(
    name: str, data: bytes, *, limits: ReadLimits = DEFAULT_LIMITS, several: str = _SEVERAL
) -> Structure:
    """The one structure of an upload.

    Args:
        name: The file name that came with it; it tells the format.
        data: The content.
        limits: What is accepted.
        several: The hint of the refusal of a file with more than one.

    Raises:
        StructureRefusedError: it is refused, or the file holds several (``several_structures``).
        TooLargeError: a limit on sizes.
    """
    return _only_one(name, read_structures_from_bytes(name, data, limits=limits), several)


def read_structures_from_bytes(
    name: str, data: bytes, *, limits: ReadLimits = DEFAULT_LIMITS
) -> Iterator[ReadOutcome]:
    """Read an upload.

    Args:
        name: The file name that came with it; it tells the format and names the outcomes, and
            is never used as a path.
        data: The content; a zip is read like one on disk.
        limits: What is accepted.

    Yields:
        Outcomes as :func:`iter_structures`.
    """
    stream = io.BytesIO(data)
    if _format(name, data[:_SNIFFED_BYTES]) is Format.ZIP:
        yield from archive_outcomes(name, stream, limits, _member_reader(limits))
    else:
        yield from _stream(name, name, stream, limits)


def _only_one(file: str, given: Iterator[ReadOutcome], several: str) -> Structure:
    found = list(_first(given, 2))
    for outcome in found:
        if outcome.error is not None:
            raise outcome.error
    if len(found) > 1:
        raise StructureRefusedError(
            f"{file} holds more than one structure.", hint=several, code="several_structures"
        )
    structure = found[0].structure
    if structure is None:
        raise no_structures(f"{file} holds no structure.")
    return structure


def _first(items: Iterator[ReadOutcome], count: int) -> Iterator[ReadOutcome]:
    for item, _ in zip(items, range(count), strict=False):
        yield item


def _folder(folder: Path, limits: ReadLimits) -> Iterator[ReadOutcome]:
    found = False
    problems: list[OSError] = []
    for parent, folders, names in os.walk(folder, onerror=problems.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if name.startswith(".") or format_of_name(name) is None or path.is_dir():
                continue
            found = True
            yield from iter_structures(path, limits=limits)
    for problem in problems:
        found = True
        where = str(problem.filename or folder)
        yield failure(where, unreadable(where, problem))
    if not found:
        yield failure(str(folder), no_structures(f"The folder {folder} holds no structure files."))


def _file(path: Path, limits: ReadLimits) -> Iterator[ReadOutcome]:
    file = str(path)
    with path.open("rb") as stream:
        start = stream.read(_SNIFFED_BYTES)
        stream.seek(0)
        if _format(path.name, start) is Format.ZIP:
            yield from archive_outcomes(file, stream, limits, _member_reader(limits))
        else:
            yield from _stream(file, path.name, stream, limits)


def _member_reader(
    limits: ReadLimits,
) -> Callable[[str, str, MemberStream], Iterator[ReadOutcome]]:
    def read(file: str, name: str, stream: MemberStream) -> Iterator[ReadOutcome]:
        return _stream(file, name, stream, limits)

    return read


def _format(name: str, start: bytes) -> Format | None:
    return format_of_name(name) or format_of_content(start)


def _stream(file: str, name: str, stream: Stream, limits: ReadLimits) -> Iterator[ReadOutcome]:
    return outcomes(file, _entries(name, stream, limits))


def _entries(name: str, stream: Stream, limits: ReadLimits) -> Iterator[Entry]:
    promised = format_of_name(name)
    if promised is Format.EXTXYZ:
        yield from extxyz_entries(_Capped(stream, limits), limits)
        return
    data = stream.read(limits.max_file_bytes + 1)
    if len(data) > limits.max_file_bytes:
        raise _too_large(limits.max_file_bytes)
    kind = promised or format_of_content(data[:_SNIFFED_BYTES])
    if kind is Format.EXTXYZ:
        yield from extxyz_entries(io.BytesIO(data), limits)
        return
    text = decode_text(data)
    if kind not in _TEXT_READERS:
        raise StructureRefusedError(
            "The format of the file is not known.",
            hint="Name it .cif, .vasp, .extxyz, .xsf, .json or .zip.",
            code="unknown_format",
        )
    yield from _TEXT_READERS[kind](text, limits)


class _Capped:
    """Lines of a stream up to the limit on streamed files."""

    def __init__(self, stream: Stream, limits: ReadLimits) -> None:
        self._stream = stream
        self._limit = limits.max_stream_bytes
        self._given = 0

    def readline(self, size: int = -1, /) -> bytes:
        line = self._stream.readline(size)
        self._given += len(line)
        if self._given > self._limit:
            raise _too_large(self._limit)
        return line


def _too_large(limit: int) -> NanoosError:
    return TooLargeError(
        f"The file is larger than {limit:,} bytes.",
        hint="Split it; long trajectories go in as extended XYZ.",
        details={"max_bytes": limit},
    )
