"""The potential files of this machine and what each covers."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from nanoos.core.errors import InvalidInputError, NotFoundError
from nanoos.engines.lammps.coverage import (
    READERS,
    REAXFF,
    REAXFF_LG,
    REAXFF_PREFIX,
    Coverage,
)
from nanoos.engines.lammps.program import own_potential_dir, potential_dirs

SNAP_SCRIPT: Final = ".snap"
MEAM: Final = ".meam"
_HEADER_CHARACTERS: Final = 1 << 14
_MAX_BYTES: Final = 500 << 20
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")

MEAM_LIBRARIES: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "AlSiMgCuFe.meam": (
        "library.meam",
        {"Al": "AlS", "Si": "SiS", "Mg": "MgS", "Cu": "CuS", "Fe": "FeS"},
    ),
    "Bi.meam": ("library.meam", {"Bi": "Bi"}),
    "Cu.meam": ("library.meam", {"Cu": "Cu"}),
    "MoCoNiVFeAlCr_2nn.meam": (
        "library_2nn.meam",
        {e: e for e in ("Mo", "Co", "Ni", "V", "Fe", "Al", "Cr")},
    ),
    "Ni.meam": ("library.meam", {"Ni": "Ni4"}),
    "SiC.meam": ("library.meam", {"Si": "Si", "C": "C"}),
    "WL.meam": ("library.meam", {"W": "WL"}),
}
"""MEAM parameter file to its library and, in the order of its indices, element to entry.

A parameter file names neither; these are those that come with LAMMPS. Any other ``NAME.meam``
needs ``NAME.library.meam`` beside it, whose entries, in their order, are its indices."""


PARTS: Final[dict[str, str]] = {
    "AlO.eam.alloy": "variable charges (coul/streitz)",
    "NiO.eam.fs": "variable charges (coul/ctip)",
}
"""Files that are no potential by themselves: alone they would run, and be wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PotentialFile:
    """A potential file that can be run.

    Attributes:
        name: File name, which is what parameters call it.
        path: Where it is.
        style: Pair style with its arguments.
        coverage: Elements.
        units: ``metal`` or ``real``.
        citation: As its first line gives it, empty where it does not.
    """

    name: str
    path: Path
    style: str
    coverage: Coverage
    units: str
    citation: str

    @property
    def elements(self) -> tuple[str, ...]:
        """Symbols it covers, in the order of the file."""
        return self.coverage.elements

    @property
    def pair_style(self) -> str:
        """The style's name alone."""
        return self.style.split()[0]


def find_file(name: str) -> Path:
    """A file of the potential folders.

    Raises:
        InvalidInputError: a name with a folder in it: runs use files of these folders only.
        NotFoundError: code ``unknown_potential``.
    """
    if not _PLAIN_NAME.fullmatch(name):
        raise InvalidInputError(
            f"{name[:80]!r} is no name of a potential file.",
            hint=f"Put the file into {own_potential_dir()} and give its name alone.",
            code="invalid_potential",
        )
    for folder in potential_dirs():
        if (folder / name).is_file():
            return folder / name
    raise NotFoundError(
        f"There is no potential file {name!r}.",
        hint=f"{_nearest(name)}Own files go into {own_potential_dir()} "
        "(NANO_OS_LAMMPS_POTENTIAL_DIR). See all: nanoos potentials list",
        details={"potential": name},
        code="unknown_potential",
    )


def _nearest(name: str) -> str:
    import difflib

    names = {path.name for folder in potential_dirs() for path in folder.iterdir()}
    folded = {known.casefold(): known for known in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f"Did you mean {folded[near[0]]!r}? " if near else ""


def potential_file(name: str) -> PotentialFile:
    """The potential file called ``name``.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: code ``unreadable_potential``; its format is not known here, or the
            file is not in it.
    """
    path = find_file(name)
    status = path.stat()
    try:
        return _read(path, status.st_size, status.st_mtime_ns)
    except (ValueError, IndexError) as error:
        raise InvalidInputError(
            f"{name} cannot be used as a potential: {error}.",
            hint="Its ending says its format: .eam.alloy, .eam.fs, .tersoff, .sw, .meam, "
            "ffield.reax.*, .airebo, .snap, .uf3 and more, as in the folder of LAMMPS.",
            code="unreadable_potential",
        ) from error


@cache
def _read(path: Path, size: int, modified: int) -> PotentialFile:
    del modified  # a key of the cache
    if size > _MAX_BYTES:
        raise ValueError(f"{size >> 20} MB are more than a potential")
    text = _text(path)
    style, coverage = _style_and_coverage(path, text)
    first = text.split("\n", 1)[0][:_HEADER_CHARACTERS]
    units = re.search(r"UNITS:\s*(\w+)", first)
    citation = re.search(r"CITATION:?\s*(.+?)\s*(?:COMMENT:.*)?$", first)
    if units and units.group(1) not in {"metal", "real"}:
        raise ValueError(f"its units are {units.group(1)}")
    return PotentialFile(
        name=path.name,
        path=path,
        style=style,
        coverage=coverage,
        units=units.group(1) if units else ("real" if style.startswith("reaxff") else "metal"),
        citation=citation.group(1) if citation else "",
    )


def _text(path: Path) -> str:
    """The text, of tabulated functions only the head: they have a header and are long."""
    tabulated = path.name.endswith((".eam.alloy", ".eam.fs", ".eam", ".adp"))
    with path.open(encoding="utf-8", errors="replace") as stream:
        return stream.read(_HEADER_CHARACTERS if tabulated else -1)


def _style_and_coverage(path: Path, text: str) -> tuple[str, Coverage]:
    name = path.name
    if name in PARTS:
        raise ValueError(f"it is one part of a potential with {PARTS[name]}")
    if name.startswith(REAXFF_PREFIX):
        style, reader = REAXFF_LG if name.endswith(".lg") else REAXFF
        return style, reader(text)
    if name.endswith(MEAM):
        _, entries = meam_library(path)
        return "meam", Coverage(elements=tuple(entries))
    if name.endswith(SNAP_SCRIPT):
        return "snap", snap_script(text).coverage
    for ending in sorted(READERS, key=len, reverse=True):
        if name.endswith(ending):
            style, reader = READERS[ending]
            return style, reader(text)
    raise ValueError("its format is not known here")


def meam_library(path: Path) -> tuple[str, dict[str, str]]:
    """The library of a MEAM parameter file: its name, and element to entry in its order.

    Raises:
        ValueError: it has none.
    """
    if path.name in MEAM_LIBRARIES:
        return MEAM_LIBRARIES[path.name]
    library = path.with_name(path.name.removesuffix(MEAM) + ".library.meam")
    if path.name.startswith("library") or not library.is_file():
        raise ValueError(f"there is no {library.name} beside it")
    entries = re.findall(r"^\s*'(\w+)'", library.read_text(encoding="utf-8"), flags=re.MULTILINE)
    from nanoos.structures.elements import ATOMIC_NUMBERS

    if not entries or any(entry not in ATOMIC_NUMBERS for entry in entries):
        raise ValueError(f"{library.name} has entries that are no elements")
    return library.name, {entry: entry for entry in entries}


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapScript:
    """What a ``.snap`` file of LAMMPS says: commands for a fixed order of types.

    Attributes:
        coverage: Elements, in the order of the types.
        style: Arguments of ``pair_style``.
        coefficients: Arguments of each ``pair_coeff``.
        files: Names of the files that they read.
    """

    coverage: Coverage
    style: str
    coefficients: tuple[str, ...]
    files: tuple[str, ...]


def snap_script(text: str) -> SnapScript:
    """Read a ``.snap`` file.

    Raises:
        ValueError: commands other than variables, ``pair_style`` and ``pair_coeff``, or types
            without an element.
    """
    joined = re.sub(r"&\s*\n", " ", "\n".join(line.split("#")[0] for line in text.splitlines()))
    variables: dict[str, str] = {}
    style, coefficients = "", []
    for line in joined.splitlines():
        words = re.sub(r"\$\{(\w+)\}", lambda m: variables.get(m[1], m[0]), line).split()
        match words:
            case []:
                continue
            case ["variable", name, "equal" | "index", value]:
                variables[name] = value
            case ["pair_style", *rest]:
                style = " ".join(rest)
            case ["pair_coeff", *rest]:
                coefficients.append(" ".join(rest))
            case _:
                raise ValueError(f"it has a command that is not expected: {' '.join(words[:2])}")
    found = re.search(
        r"\* \* (?:snap )?(\S+) (\S+)((?: \S+)+)$", "\n".join(coefficients), re.MULTILINE
    )
    if found is None or not style:
        raise ValueError("it has no pair_coeff * * with elements")
    elements = tuple(found[3].split())
    if "NULL" in elements or any("$" in text for text in (style, *coefficients)):
        raise ValueError("it needs types or variables that it does not give")
    return SnapScript(
        coverage=Coverage(elements=elements),
        style=style,
        coefficients=tuple(coefficients),
        files=(found[1], found[2]),
    )


def list_potential_files() -> list[PotentialFile]:
    """Every potential file that can be run, the user's own first, then by name."""
    found: dict[str, PotentialFile] = {}
    for folder in potential_dirs():
        for path in sorted(folder.iterdir()):
            if path.name in found or not _is_known(path.name):
                continue
            try:
                found[path.name] = potential_file(path.name)
            except (InvalidInputError, NotFoundError):
                continue  # in a known format by its name only
    return list(found.values())


def _is_known(name: str) -> bool:
    endings = (*READERS, MEAM, SNAP_SCRIPT)
    return name.startswith(REAXFF_PREFIX) or name.endswith(endings)


def files_covering(elements: Iterable[str]) -> list[str]:
    """Names of the potential files that cover all ``elements``."""
    wanted = sorted(set(elements))
    return [file.name for file in list_potential_files() if not file.coverage.missing(wanted)]


def sha256(path: Path) -> str:
    """Hash of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
