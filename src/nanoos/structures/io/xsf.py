"""XCrySDen XSF: crystals and animations. Ref: http://www.xcrysden.org/doc/XSF.html."""

from collections.abc import Iterator

import numpy as np

from nanoos.structures.checks import check_n_sites, fractional_coords, unknown_element
from nanoos.structures.elements import ATOMIC_NUMBERS, SYMBOLS
from nanoos.structures.io.outcome import Entry, ReadLimits, refused_entry
from nanoos.structures.io.text import malformed, missing_lattice, numbers, whole
from nanoos.structures.structure import Structure

_HINT = "An XSF has CRYSTAL, PRIMVEC with three vectors, PRIMCOORD with a count and sites."

_Line = tuple[int, list[str]]
"""Number in the file, from 1, and words."""


def xsf_entries(text: str, limits: ReadLimits) -> Iterator[Entry]:
    """One entry for each PRIMCOORD; in an animation with one cell all frames share it."""
    lines = [
        (n, line.split())
        for n, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    vectors: list[_Line] | None = None
    found = False
    for at, (number, words) in enumerate(lines):
        keyword = words[0].upper()
        if keyword == "PRIMVEC":
            vectors = lines[at + 1 : at + 4]
        elif keyword in {"ATOMS", "MOLECULE", "POLYMER", "SLAB"}:
            found = True
            yield refused_entry(
                missing_lattice(
                    f"Line {number}: {keyword} is not periodic in three directions.",
                    "Give CRYSTAL with PRIMVEC.",
                )
            )
            if keyword != "ATOMS":
                return
        elif keyword == "PRIMCOORD":
            found = True
            yield Entry(
                build=lambda at=at, vectors=vectors: _structure(  # type: ignore[misc]
                    lines, at, vectors, limits
                )
            )
    if not found:
        raise malformed("the file has no PRIMCOORD.", hint=_HINT)


def _structure(
    lines: list[_Line], at: int, vectors: list[_Line] | None, limits: ReadLimits
) -> Structure:
    here = lines[at][0]
    if vectors is None:
        raise missing_lattice(f"Line {here}: PRIMCOORD without PRIMVEC before it.", _HINT)
    if len(vectors) < 3 or at + 1 >= len(lines):  # noqa: PLR2004
        raise malformed("the file ends inside this section.", line=here, hint=_HINT)
    lattice = np.array([numbers(words, 3, line=n, what="a lattice vector") for n, words in vectors])
    number, words = lines[at + 1]
    count = whole(words[0], line=number, what="the number of sites")
    check_n_sites(count, max_sites=limits.max_sites)
    rows = lines[at + 2 : at + 2 + count]
    if len(rows) < count:
        raise malformed(
            f"the file ends after {len(rows)} of {count} sites.", line=lines[-1][0], hint=_HINT
        )
    species = tuple(_symbol(words[0], n) for n, words in rows)
    positions = np.array(
        [numbers(words[1:], 3, line=n, what="the position of this site") for n, words in rows]
    )
    coords = fractional_coords(positions, lattice)
    return Structure(lattice=lattice, species=species, frac_coords=coords)


def _symbol(word: str, line: int) -> str:
    """An element from its symbol or atomic number."""
    symbol = word
    if word.isascii() and word.isdigit() and len(word) < 4 and int(word) < len(SYMBOLS):  # noqa: PLR2004
        symbol = SYMBOLS[int(word)]
    if symbol not in ATOMIC_NUMBERS:
        raise unknown_element(word, where=f"line {line}")
    return symbol
