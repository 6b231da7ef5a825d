"""Which format a file has: by its name, else by its content."""

import re
from enum import Enum
from pathlib import PurePosixPath


class Format(Enum):
    """The formats that are read."""

    CIF = "cif"
    POSCAR = "poscar"
    EXTXYZ = "extxyz"
    XSF = "xsf"
    JSON = "json"
    ZIP = "zip"


_SUFFIXES = {
    ".cif": Format.CIF,
    ".vasp": Format.POSCAR,
    ".poscar": Format.POSCAR,
    ".contcar": Format.POSCAR,
    ".xyz": Format.EXTXYZ,
    ".extxyz": Format.EXTXYZ,
    ".xsf": Format.XSF,
    ".axsf": Format.XSF,
    ".json": Format.JSON,
    ".optimade": Format.JSON,
    ".zip": Format.ZIP,
}
_ZIP_MARKS = (b"PK\x03\x04", b"PK\x05\x06")
_CIF_MARK = re.compile(rb"^\s*(data_|loop_|_cell_|_atom_site_)", re.IGNORECASE | re.MULTILINE)
_XSF_MARK = re.compile(rb"^\s*(CRYSTAL|PRIMVEC|PRIMCOORD|ANIMSTEPS)\b", re.MULTILINE)
_XYZ_START = re.compile(rb"\s*\d+[ \t]*\r?\n[^\n]*(Lattice|Properties)\s*=", re.IGNORECASE)
_PLAIN_XYZ = re.compile(rb"\s*\d+[ \t]*\r?\n[^\n]*\n\s*[A-Z][a-z]?\s+-?\d")


def format_of_name(name: str) -> Format | None:
    """The format that a file name promises, None where it promises nothing."""
    path = PurePosixPath(name.replace("\\", "/"))
    known = _SUFFIXES.get(path.suffix.lower())
    if known is None and path.name.upper().startswith(("POSCAR", "CONTCAR")):
        return Format.POSCAR
    return known


def format_of_content(start: bytes) -> Format | None:
    """The format that the first bytes show, None where they show none."""
    if start.startswith(_ZIP_MARKS):
        return Format.ZIP
    stripped = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if stripped[:1] in {b"{", b"["}:
        return Format.JSON
    if _XYZ_START.match(stripped) or _PLAIN_XYZ.match(stripped):
        return Format.EXTXYZ
    if _XSF_MARK.search(start):
        return Format.XSF
    if _CIF_MARK.search(start):
        return Format.CIF
    if _looks_like_poscar(stripped):
        return Format.POSCAR
    return None


def _looks_like_poscar(start: bytes) -> bool:
    """A scale and three vectors in lines 2 to 5."""
    lines = start.splitlines()[1:5]
    if len(lines) < 4:  # noqa: PLR2004
        return False
    counts = [len(line.split()) for line in lines]
    if counts[0] not in {1, 3} or any(count < 3 for count in counts[1:]):  # noqa: PLR2004
        return False
    try:
        for line in lines[1:]:
            [float(word) for word in line.split()[:3]]
    except ValueError:
        return False
    return True
