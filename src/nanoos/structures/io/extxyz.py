"""Extended XYZ, read frame by frame from a byte stream, so that a trajectory of any size goes.

Ref: the format's description at https://github.com/libAtoms/extxyz.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nanoos.core.errors import StructureRefusedError, TooLargeError
from nanoos.structures.checks import check_n_sites, fractional_coords, unknown_element
from nanoos.structures.elements import ATOMIC_NUMBERS, SYMBOLS
from nanoos.structures.io.outcome import Entry, ReadLimits, refused_entry
from nanoos.structures.io.text import (
    decode_text,
    malformed,
    missing_lattice,
    numbers,
    refuse_binary,
    shown,
    whole,
)
from nanoos.structures.structure import FloatArray, Structure

_PAIR = re.compile(
    r"""\s*([^\s=\["'{}\]]+)(?:\s*=\s*("(?:[^"\\]|\\.)*"|'[^']*'|\{[^}]*\}|\[[^\]]*(?:\][^\]]*)*\]|\S+))?"""
)
_PLAIN_COLUMNS = "species:S:1:pos:R:3"
_ID_KEYS = ("id", "material_id", "structure_id", "config_name", "name")
_SPIN_COLUMNS = ("initial_magmoms", "magmoms", "magmom", "spins")
_CHARGE_COLUMNS = ("initial_charges",)
_COUNT = re.compile(rb"\s*\d+\s*$")


class ByteLines(Protocol):
    """What is read here: an open binary file or a member of a zip."""

    def readline(self, size: int = -1, /) -> bytes:
        """One line with its end, empty at the end of the file."""
        ...


@dataclass(frozen=True, slots=True)
class _Frame:
    first_line: int
    comment: str
    rows: list[str]


class _Lines:
    """Lines of a stream, counted, one of which can be put back."""

    def __init__(self, stream: ByteLines, limits: ReadLimits) -> None:
        self._stream = stream
        self._limit = limits.max_line_bytes
        self._held: bytes | None = None
        self.number = 0

    def next(self) -> bytes:
        """The next line, ``b""`` at the end."""
        self.number += 1
        if self._held is not None:
            line, self._held = self._held, None
            return line
        line = self._stream.readline(self._limit + 1)
        if len(line) > self._limit:
            raise TooLargeError(
                f"Line {self.number} is longer than {self._limit:,} bytes.",
                hint="This is not an extended XYZ file.",
            )
        return line

    def put_back(self, line: bytes) -> None:
        """Make ``line`` the next one again."""
        self._held = line
        self.number -= 1


def extxyz_entries(stream: ByteLines, limits: ReadLimits) -> Iterator[Entry]:
    """One entry for each frame; after a damaged frame reading goes on at the next one."""
    lines = _Lines(stream, limits)
    first = lines.next()
    while first and not first.strip():
        first = lines.next()
    if not first:
        decode_text(b"")
    if first[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise StructureRefusedError(
            "The file is UTF-16.", hint="Save it as UTF-8.", code="wrong_encoding"
        )
    refuse_binary(first)
    lines.put_back(first.removeprefix(b"\xef\xbb\xbf"))
    while True:
        line = lines.next()
        if not line:
            return
        if not line.strip():
            continue
        if _COUNT.match(line) is None:
            yield refused_entry(_no_count(line, lines.number))
            if not _skip_to_frame(lines):
                return
            continue
        yield from _frame_entry(lines, int(line), limits)


def _no_count(line: bytes, number: int) -> StructureRefusedError:
    return malformed(
        f"expected the number of atoms of the next frame, found {shown(_text(line))}.",
        line=number,
        hint="A frame is a count, a comment line and as many rows as the count says.",
    )


def _skip_to_frame(lines: _Lines) -> bool:
    """Go on to the next line that holds a count alone; False at the end."""
    while line := lines.next():
        if _COUNT.match(line):
            lines.put_back(line)
            return True
    return False


def _frame_entry(lines: _Lines, count: int, limits: ReadLimits) -> Iterator[Entry]:
    """Take one frame's lines off the stream; they are understood when the entry is built."""
    first_line = lines.number
    comment = _text(lines.next())
    source_id = _source_id(comment)
    keep = 0 < count <= limits.max_sites
    rows: list[str] = []
    for taken in range(count):
        line = lines.next()
        if not line or _COUNT.match(line):
            if line:
                lines.put_back(line)
            error = malformed(
                f"the frame that starts at line {first_line} ends after {taken} of {count} atoms.",
                line=lines.number,
                hint="The file was cut off, or the count is wrong.",
            )
            if not keep:
                break
            yield refused_entry(error, source_id=source_id)
            return
        if keep:
            rows.append(_text(line))
    frame = _Frame(first_line, comment, rows)

    def build() -> Structure:
        check_n_sites(count, max_sites=limits.max_sites)
        return _structure(frame)

    yield Entry(build=build, source_id=source_id)


def _text(line: bytes) -> str:
    try:
        return line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        return line.decode("latin-1").rstrip("\r\n")


# -- the comment line ------------------------------------------------------------------------


def comment_fields(comment: str) -> dict[str, str]:
    """The ``key=value`` pairs of a comment line, keys in lower case, quotes taken off."""
    fields: dict[str, str] = {}
    for match in _PAIR.finditer(comment):
        value = match[2]
        if value is None:
            continue
        if value[:1] in {'"', "'"} and value[-1:] == value[:1] and len(value) > 1:
            value = value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
        fields.setdefault(match[1].lower(), value)
    return fields


def _source_id(comment: str) -> str | None:
    fields = comment_fields(comment)
    return next((fields[key] for key in _ID_KEYS if fields.get(key)), None)


def _lattice(fields: dict[str, str], line: int) -> FloatArray:
    given = fields.get("lattice") or fields.get("cell")
    if given is None:
        raise missing_lattice(
            f"Line {line}: the frame has no Lattice: these are atoms without a crystal.",
            'Write extended XYZ with Lattice="ax ay az bx by bz cx cy cz" in the comment line.',
        )
    words = re.sub(r"[\[\]{},]", " ", given).split()
    return np.array(numbers(words, 9, line=line, what="Lattice")).reshape(3, 3)


# -- the rows --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Column:
    kind: str
    start: int
    width: int


def _columns(fields: dict[str, str], line: int) -> tuple[dict[str, _Column], int]:
    """Name to place of each column, and the number of words in a row."""
    parts = fields.get("properties", _PLAIN_COLUMNS).split(":")
    columns: dict[str, _Column] = {}
    start = 0
    if len(parts) % 3:
        raise malformed(
            f"Properties={shown(':'.join(parts))} is not a list of name:kind:width.",
            line=line,
            hint=f"For example Properties={_PLAIN_COLUMNS}.",
        )
    for name, kind, width in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        size = whole(width, line=line, what=f"the width of column {name[:20]}")
        if not 0 < size < 1000:  # noqa: PLR2004
            raise malformed(
                f"column {name[:20]} has width {size}.", line=line, hint="Use 1 to 999."
            )
        columns[name.lower()] = _Column(kind, start, size)
        start += size
    return columns, start


def _structure(frame: _Frame) -> Structure:
    line = frame.first_line + 1
    fields = comment_fields(frame.comment)
    lattice = _lattice(fields, line)
    columns, width = _columns(fields, line)
    position = columns.get("pos") or columns.get("positions")
    if position is None or position.width != 3:  # noqa: PLR2004
        raise malformed("Properties has no pos:R:3.", line=line, hint="Positions are needed.")
    rows = []
    for offset, row in enumerate(frame.rows, start=1):
        words = row.split()
        if len(words) < width:
            raise malformed(
                f"the row has {len(words)} values, Properties says {width}.",
                line=line + offset,
                hint="The file was cut off, or Properties does not fit the rows.",
            )
        rows.append(words)
    positions = _floats(rows, position, line, "pos")
    spins = _per_site(rows, columns, _SPIN_COLUMNS, line)
    charges = _per_site(rows, columns, _CHARGE_COLUMNS, line)
    return Structure(
        lattice=lattice,
        species=_species(rows, columns, line),
        frac_coords=fractional_coords(positions, lattice),
        charges=charges,
        spins=spins,
        label=fields.get("label"),
    )


def _floats(rows: list[list[str]], column: _Column, line: int, name: str) -> FloatArray:
    """(n_sites, width) of one column; ``line`` is the comment line."""
    start, stop = column.start, column.start + column.width
    try:
        found = np.array([row[start:stop] for row in rows], dtype=np.float64)
    except ValueError:
        found = np.full((1, 1), np.nan)
    if np.isfinite(found).all():
        return found
    # slow and exact: say which line
    return np.array(
        [
            numbers(row[start:stop], column.width, line=line + offset, what=f"{name} of this site")
            for offset, row in enumerate(rows, start=1)
        ]
    )


def _per_site(
    rows: list[list[str]], columns: dict[str, _Column], names: tuple[str, ...], line: int
) -> tuple[float, ...] | None:
    name = next((n for n in names if n in columns), None)
    if name is None:
        return None
    if columns[name].width != 1:
        raise StructureRefusedError(
            f"Line {line}: {name} is a vector for each site.",
            hint="Only collinear moments (one number for each site) are supported.",
            code="noncollinear_spins",
        )
    return tuple(_floats(rows, columns[name], line, name)[:, 0].tolist())


def _species(rows: list[list[str]], columns: dict[str, _Column], line: int) -> tuple[str, ...]:
    for name in ("species", "element", "elements", "symbols"):
        if name in columns:
            symbols = [row[columns[name].start] for row in rows]
            break
    else:
        number_column = columns.get("z") or columns.get("numbers")
        if number_column is None:
            raise malformed(
                "Properties has no species:S:1.", line=line, hint="The elements are needed."
            )
        symbols = [row[number_column.start] for row in rows]
    species = []
    for offset, given in enumerate(symbols, start=1):
        symbol = SYMBOLS[int(given)] if _is_atomic_number(given) else given.capitalize()
        if symbol not in ATOMIC_NUMBERS:
            raise unknown_element(given, where=f"line {line + offset}")
        species.append(symbol)
    return tuple(species)


def _is_atomic_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 4 and int(word) < len(SYMBOLS)  # noqa: PLR2004
