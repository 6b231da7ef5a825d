"""Which elements a potential file covers, read from the file itself.

Each reader takes the text of a file in one format and gives what it covers; formats are those
of the LAMMPS documentation of the pair styles.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from nanoos.structures.elements import ATOMIC_NUMBERS, SYMBOLS

_WORDS_PER_FUNCFL: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Elements of a potential file.

    Attributes:
        elements: In the order of the file.
        tuples: Combinations that it has parameters for, where the format lists them one by one
            (``(Si, C, C)``); None where all combinations of the elements are covered.
    """

    elements: tuple[str, ...]
    tuples: frozenset[tuple[str, ...]] | None = None

    def missing(self, wanted: Sequence[str]) -> list[str]:
        """What is not covered: elements, or else combinations (``Si-C-C``), of those wanted."""
        absent = [element for element in wanted if element not in self.elements]
        if absent or self.tuples is None:
            return absent
        size = len(next(iter(self.tuples)))
        return [
            "-".join(combination)
            for combination in product(wanted, repeat=size)
            if combination not in self.tuples
        ]


def _symbols(words: Sequence[str]) -> tuple[str, ...]:
    found = tuple(word for word in words if word in ATOMIC_NUMBERS)
    if not found or len(found) != len(words):
        raise ValueError(f"no elements: {' '.join(words)}")
    return found


def _setfl(text: str) -> Coverage:
    """eam/alloy, eam/fs, adp: the fourth line is ``N El1 El2 ...``."""
    words = text.split("\n", 4)[3].split()
    return Coverage(elements=_symbols(words[1 : 1 + int(words[0])]))


def _funcfl(text: str) -> Coverage:
    """eam: the second line begins with the atomic number."""
    words = text.split("\n", 2)[1].split()
    if len(words) < _WORDS_PER_FUNCFL:
        raise ValueError("no atomic number")
    return Coverage(elements=(SYMBOLS[int(words[0])],))


def _triples(text: str) -> Coverage:
    """tersoff, sw, vashishta, edip, gw, extep: entries begin with three elements."""
    plain = "\n".join(line.split("#")[0] for line in text.splitlines())
    tuples = set()
    for line in plain.splitlines():
        words = line.split()
        if len(words) >= 3 and all(word in ATOMIC_NUMBERS for word in words[:3]):  # noqa: PLR2004
            tuples.add((words[0], words[1], words[2]))
    # "In" and the like apart, no parameter is a symbol: three in a row open an entry
    elements = tuple(dict.fromkeys(a for a, b, c in sorted(tuples) if a == b == c))
    if not elements:
        raise ValueError("no entries")
    return Coverage(elements=elements, tuples=frozenset(tuples))


def _reaxff(text: str, lines_per_atom: int = 4) -> Coverage:
    """ReaxFF: general parameters, four lines of headings, then four lines for each atom."""
    lines = text.splitlines()
    skip = int(lines[1].split()[0])
    n_atoms = int(lines[2 + skip].split()[0])
    first = 2 + skip + lines_per_atom
    words = [lines[first + lines_per_atom * i].split()[0].capitalize() for i in range(n_atoms)]
    return Coverage(elements=tuple(word for word in words if word in ATOMIC_NUMBERS))


def snap_elements(text: str) -> Coverage:
    """snapcoeff: ``n_elements n_coefficients``, then a block for each element."""
    lines = [line.split("#")[0].split() for line in text.splitlines()]
    lines = [words for words in lines if words]
    n_elements, n_coefficients = int(lines[0][0]), int(lines[0][1])
    return Coverage(
        elements=_symbols([lines[1 + i * (n_coefficients + 1)][0] for i in range(n_elements)])
    )


def pod_elements(text: str) -> Coverage:
    """pod: the line ``species El El ...`` of the file of parameters."""
    lines = [line.split("#")[0].split() for line in text.splitlines()]
    return Coverage(
        elements=_symbols([w for words in lines if words[:1] == ["species"] for w in words[1:]])
    )


def uf3_elements(text: str) -> Coverage:
    """uf3: blocks ``2B El El`` and ``3B El El El``."""
    pairs = re.findall(r"^2B (\w+) (\w+) ", text, flags=re.MULTILINE)
    if not pairs:
        raise ValueError("no pairs")
    return Coverage(elements=_symbols(tuple(dict.fromkeys(e for pair in pairs for e in pair))))


def _fixed(*elements: str) -> Callable[[str], Coverage]:
    return lambda _: Coverage(elements=elements)


READERS: Final[dict[str, tuple[str, Callable[[str], Coverage]]]] = {
    ".eam.alloy": ("eam/alloy", _setfl),
    ".eam.fs": ("eam/fs", _setfl),
    ".eam": ("eam", _funcfl),
    ".adp": ("adp", _setfl),
    ".tersoff": ("tersoff", _triples),
    ".tersoff.mod": ("tersoff/mod", _triples),
    ".tersoff.modc": ("tersoff/mod/c", _triples),
    ".tersoff.zbl": ("tersoff/zbl", _triples),
    ".sw": ("sw", _triples),
    ".vashishta": ("vashishta", _triples),
    ".edip": ("edip/multi", _triples),
    ".gw": ("gw", _triples),
    ".gw.zbl": ("gw/zbl", _triples),
    ".extep": ("extep", _triples),
    ".airebo": ("airebo 3.0", _fixed("C", "H")),
    ".airebo-m": ("airebo/morse 3.0", _fixed("C", "H")),
    ".rebo": ("rebo", _fixed("C", "H")),
    ".rebomos": ("rebomos", _fixed("Mo", "S")),
    ".lcbop": ("lcbop", _fixed("C")),
    ".uf3": ("uf3 3", uf3_elements),
}
"""Ending of the file name to pair style and reader; the longest ending that fits counts."""

REAXFF_PREFIX: Final = "ffield.reax"
REAXFF: Final = ("reaxff NULL", _reaxff)
REAXFF_LG: Final = ("reaxff NULL lgvdw yes", lambda text: _reaxff(text, 5))
"""With the low-gradient correction, which takes a fifth line for each atom."""
