"""VASP POSCAR and CONTCAR. Ref: https://www.vasp.at/wiki/index.php/POSCAR."""

import re
from collections.abc import Iterator

import numpy as np

from nanoos.core.errors import StructureRefusedError
from nanoos.structures.checks import check_n_sites, fractional_coords, unknown_element
from nanoos.structures.elements import ATOMIC_NUMBERS
from nanoos.structures.io.outcome import Entry, ReadLimits
from nanoos.structures.io.text import malformed, missing_lattice, numbers, shown, whole
from nanoos.structures.structure import FloatArray, Structure

_FIRST_SYMBOL_LINE = 6
_CUT_OFF = "A POSCAR has a comment, a scale, three vectors, symbols, counts, mode, coordinates."


def poscar_entries(text: str, limits: ReadLimits) -> Iterator[Entry]:
    """The one structure of a POSCAR; velocities and what else follows are not read."""
    lines = text.splitlines()
    yield Entry(build=lambda: _structure(lines, limits))


def _line(lines: list[str], number: int, what: str) -> list[str]:
    """The words of a line, counted from 1."""
    text = lines[number - 1] if number <= len(lines) else ""
    words = text.split("!")[0].split("#")[0].split()
    if not words:
        raise malformed(f"{what} is missing here.", line=number, hint=_CUT_OFF)
    return words


def _structure(lines: list[str], limits: ReadLimits) -> Structure:
    lattice, scales = _lattice(lines)
    symbols, counts, at = _symbols(lines)
    n_sites = sum(counts)
    check_n_sites(n_sites, max_sites=limits.max_sites)
    mode = _line(lines, at, "the line Direct or Cartesian")[0]
    selective = mode[0] in "sS"
    if selective:
        at += 1
        mode = _line(lines, at, "the line Direct or Cartesian")[0]
    if mode[0] not in "dDcCkK":
        raise malformed(
            f"expected Direct or Cartesian, found {shown(mode)}.",
            line=at,
            hint="Check that there are as many counts as symbols.",
        )
    rows = []
    for site in range(n_sites):
        at += 1
        words = _line(lines, at, f"site {site + 1} of {n_sites}")
        rows.append(numbers(words, 3, line=at, what=f"site {site + 1}"))
    coords = np.array(rows, dtype=np.float64)
    if mode[0] in "cCkK":
        coords = fractional_coords(coords * scales, lattice)
    if symbols:
        species = [s for s, n in zip(symbols, counts, strict=True) for _ in range(n)]
    else:
        species = _trailing_symbols(
            lines[at - n_sites : at], first_line=at - n_sites + 1, skip=6 if selective else 3
        )
    comment = " ".join(lines[0].split())
    return Structure(
        lattice=lattice, species=tuple(species), frac_coords=coords, label=comment or None
    )


def _lattice(lines: list[str]) -> tuple[FloatArray, FloatArray]:
    """Lattice in Å and the factors for Cartesian coordinates."""
    if len(lines) < 5:  # noqa: PLR2004
        raise missing_lattice(f"The file ends after line {len(lines)}, in the lattice.", _CUT_OFF)
    words = _line(lines, 2, "the scale")
    count = 3 if len(words) >= 3 else 1  # noqa: PLR2004
    scales = np.array(numbers(words, count, line=2, what="the scale"))
    lattice = np.array(
        [
            numbers(_line(lines, n, "a lattice vector"), 3, line=n, what="a lattice vector")
            for n in (3, 4, 5)
        ]
    )
    if count == 3 and (scales <= 0).any():  # noqa: PLR2004
        raise malformed("three scales must be positive.", line=2, hint="Give one scale or three.")
    if count == 1 and scales[0] == 0:
        raise _no_volume("Line 2: the scale is 0")
    if count == 1 and scales[0] < 0:
        # a negative scale is the volume of the cell
        volume = abs(float(np.linalg.det(lattice)))
        if volume == 0:
            raise _no_volume("Lines 3 to 5: the lattice vectors lie in one plane")
        scales = np.array([(-scales[0] / volume) ** (1 / 3)])
    return lattice * scales, scales


def _no_volume(what: str) -> StructureRefusedError:
    return StructureRefusedError(
        f"{what}: the cell has no volume.",
        hint="Give 1.0 and three vectors in Å that span a cell.",
        code="zero_volume",
    )


def _symbols(lines: list[str]) -> tuple[list[str], list[int], int]:
    """Symbols (empty where the file has none here), counts, and the line after them."""
    words = _line(lines, _FIRST_SYMBOL_LINE, "the line of element symbols")
    at = _FIRST_SYMBOL_LINE
    symbols: list[str] = []
    if words[0].lstrip("+-").isdigit():
        symbols = [w for w in (_bare(word) for word in lines[0].split()) if w in ATOMIC_NUMBERS]
        if len(symbols) != len(words):
            symbols = []
    else:
        # VASP pseudopotential names and hashes may follow the symbol: Fe_pv, O/7a25
        symbols = [_bare(word) for word in words]
        for symbol in symbols:
            if symbol not in ATOMIC_NUMBERS:
                raise unknown_element(symbol, where=f"line {at}")
        at += 1
        words = _line(lines, at, "the line of counts")
    counts = [whole(word, line=at, what="a count of atoms") for word in words]
    if any(count < 0 for count in counts):
        raise malformed("a count of atoms is negative.", line=at, hint="Counts are positive.")
    if symbols and len(symbols) != len(counts):
        raise malformed(
            f"{len(symbols)} element symbols but {len(counts)} counts.",
            line=at,
            hint="Give one count for each symbol.",
        )
    return symbols, counts, at + 1


def _bare(word: str) -> str:
    return re.split(r"[_/]", word, maxsplit=1)[0]


def _trailing_symbols(rows: list[str], *, first_line: int, skip: int) -> list[str]:
    """The symbols that some programs write behind the coordinates (VASP 4 files have no others)."""
    found = []
    for offset, row in enumerate(rows):
        symbol = next(
            (w for w in (_bare(x) for x in row.split()[skip:]) if w in ATOMIC_NUMBERS), None
        )
        if symbol is None:
            raise StructureRefusedError(
                f"Line {first_line + offset}: the file does not say which elements its sites are.",
                hint="Add a line with the element symbols above the counts (VASP 5 format).",
                details={"line": first_line + offset},
                code="unknown_element",
            )
        found.append(symbol)
    return found
