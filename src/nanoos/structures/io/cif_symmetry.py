"""The symmetry operations of a CIF block: as listed, else from the name of the space group.

A space group that is named but not understood is refused: reading such a file in P1 would give
another crystal.
"""

import re
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any, Final

import numpy as np

from nanoos.core.errors import StructureRefusedError
from nanoos.structures.io.cif_syntax import Block
from nanoos.structures.io.text import malformed, shown
from nanoos.structures.structure import FloatArray
from nanoos.structures.symmetry import quiet_spglib

Operations = tuple[FloatArray, FloatArray]
"""Rotations (n, 3, 3) and translations (n, 3), fractional."""

_XYZ_TAGS = (
    "_space_group_symop_operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
    "_space_group_symop_magn_operation_xyz",
)
_HALL_TAGS = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_HM_TAGS = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group_name_h-m_full",
    "_space_group_name_h-m",
)
_NUMBER_TAGS = ("_space_group_it_number", "_symmetry_int_tables_number")
_TERM = re.compile(r"([+-]?)(?:(\d+(?:\.\d*)?|\.\d+)(?:/(\d+))?)?\*?([xyz])?")
_N_HALL: Final = 530
_MONOCLINIC = range(3, 16)
_OLD_NAMES = {
    "abm2": "aem2",
    "aba2": "aea2",
    "cmca": "cmce",
    "cmma": "cmme",
    "ccca": "ccce",
}
"""Names before 1992 of the groups that have an e glide today."""

_SUFFIXES = {"h": "H", "r": "R", "s": "1", "z": "2"}
"""How some databases write the setting behind the name, without a colon."""

_AXES = {"x": 0, "y": 1, "z": 2}


def block_operations(block: Block, lattice: FloatArray) -> Operations:
    """Operations of a block; the identity alone where it says nothing of symmetry.

    Raises:
        StructureRefusedError: ``unknown_symmetry`` or ``malformed_file``.
    """
    found = block.loop_with(*_XYZ_TAGS)
    if found is not None:
        loop, tag = found
        cells = loop.column(tag)
        return _stacked(
            [parse_operation(cell, line=loop.row_line(i)) for i, cell in enumerate(cells)]
        )
    single = block.value(*_XYZ_TAGS)
    if single is not None:
        return _stacked([parse_operation(single[0], line=single[1])])
    return _from_name(block, lattice)


def _stacked(operations: list[tuple[FloatArray, FloatArray]]) -> Operations:
    return (
        np.array([rotation for rotation, _ in operations]),
        np.array([translation for _, translation in operations]),
    )


def parse_operation(text: str, *, line: int) -> tuple[FloatArray, FloatArray]:
    """``-x+1/2, y, x-z`` as rotation (3, 3) and translation (3,).

    Raises:
        StructureRefusedError: ``malformed_file``.
    """
    operation = _operation(text.lower().replace(" ", ""))
    if operation is None:
        raise malformed(
            f"{shown(text)} is not a symmetry operation.",
            line=line,
            hint="Write operations like 'x, y, z' and '-x+1/2, y, z'.",
        )
    return operation


@lru_cache(maxsize=8192)
def _operation(text: str) -> tuple[FloatArray, FloatArray] | None:
    rotation, translation = np.zeros((3, 3)), np.zeros(3)
    # the operations of magnetic CIFs end with the time reversal
    parts = text.removesuffix(",+1").removesuffix(",-1").split(",")
    if len(parts) != 3:  # noqa: PLR2004
        return None
    for row, part in enumerate(parts):
        position = 0
        while position < len(part):
            match = _TERM.match(part, position)
            if match is None or not (match[2] or match[4]) or match[3] == "0":
                return None
            size = float(Fraction(match[2] or "1") / int(match[3] or 1))
            signed = -size if match[1] == "-" else size
            if match[4]:
                rotation[row, _AXES[match[4]]] += signed
            else:
                translation[row] += signed
            position = match.end()
    if round(abs(float(np.linalg.det(rotation))), 6) != 1:
        return None
    return rotation, translation


# -- by name -------------------------------------------------------------------------------


def _folded(name: str) -> str:
    return re.sub(r"[\s_'\"]", "", name).lower()


@cache
def _hall_table() -> tuple[dict[str, int], dict[str, list[int]], dict[int, list[int]]]:
    """Hall symbol, Hermann-Mauguin name and number to spglib's Hall numbers."""
    import spglib

    by_hall: dict[str, int] = {}
    by_name: dict[str, list[int]] = {}
    by_number: dict[int, list[int]] = {}
    for hall_number in range(1, _N_HALL + 1):
        with quiet_spglib():
            kind: Any = spglib.get_spacegroup_type(hall_number)
        by_hall.setdefault(kind.hall_symbol.replace(" ", "").lower(), hall_number)
        for name in _names(kind):
            by_name.setdefault(name, []).append(hall_number)
        by_number.setdefault(kind.number, []).append(hall_number)
    return by_hall, by_name, by_number


def _names(kind: Any) -> set[str]:
    """Names of one setting; spglib lists it as ``P 2_1/c = P 1 2_1/n 1``, the group first."""
    own = kind.international.split("=")
    own = own[1:] or own
    names = {_folded(name) for name in (*own, kind.international_full)}
    if kind.number in _MONOCLINIC:
        # the short name leaves the two axes without symmetry out
        names |= {_folded("".join(w for w in name.split() if w != "1")) for name in own}
    return names


def _from_name(block: Block, lattice: FloatArray) -> Operations:
    by_hall, by_name, by_number = _hall_table() if _names_a_group(block) else ({}, {}, {})
    hall = block.value(*_HALL_TAGS)
    if hall is not None:
        known = by_hall.get(hall[0].replace(" ", "").lower())
        if known is not None:
            return _database(known)
    name = block.value(*_HM_TAGS)
    if name is not None:
        base, _, choice = name[0].partition(":")
        settings = _named(base, by_name)
        if not settings and base.strip()[-1:].lower() in _SUFFIXES:
            settings, choice = (
                _named(base.strip()[:-1], by_name),
                _SUFFIXES[base.strip()[-1].lower()],
            )
        return _database(_chosen(settings, choice.strip(), lattice, name[0], name[1]))
    group = block.value(*_NUMBER_TAGS)
    if group is not None:
        number = int(group[0]) if group[0].isascii() and group[0].isdigit() else 0
        settings = by_number.get(number, [])
        choices = {_choice(hall_number) for hall_number in settings}
        if not choices & {"1", "2", "H", "R"}:
            settings = settings[:1]
        return _database(_chosen(settings, "", lattice, f"number {group[0]}", group[1]))
    if hall is not None:
        raise _unknown(hall[0], hall[1])
    return np.eye(3)[None], np.zeros((1, 3))


def _named(name: str, by_name: dict[str, list[int]]) -> list[int]:
    folded = _folded(name)
    return by_name.get(_OLD_NAMES.get(folded, folded), [])


def _names_a_group(block: Block) -> bool:
    return block.value(*_HALL_TAGS, *_HM_TAGS, *_NUMBER_TAGS) is not None


def _choice(hall_number: int) -> str:
    import spglib

    with quiet_spglib():
        kind: Any = spglib.get_spacegroup_type(hall_number)
    return str(kind.choice)


def _chosen(settings: list[int], choice: str, lattice: FloatArray, name: str, line: int) -> int:
    """The one setting that is meant."""
    if not settings:
        raise _unknown(name, line)
    if len(settings) == 1:
        return settings[0]
    if not choice and all(_choice(s).lstrip("-")[:1] in {"a", "b", "c"} for s in settings):
        axis = _unique_axis(lattice)
        along = [s for s in settings if _choice(s).lstrip("-")[:1] == axis]
        if len(along) == 1:
            return along[0]
    if not choice and {_choice(s) for s in settings} == {"H", "R"}:
        # hexagonal axes have a right angle between a and c, rhombohedral ones do not
        a, b, c = lattice / np.linalg.norm(lattice, axis=1)[:, None]
        choice = "H" if abs(float(a @ c)) + abs(float(b @ c)) < 1e-3 else "R"  # noqa: PLR2004
    matching = [s for s in settings if _choice(s).lower() == choice.lower()]
    if len(matching) != 1:
        raise StructureRefusedError(
            f"Line {line}: the space group {shown(name)} has several settings "
            f"({', '.join(sorted(_choice(s) for s in settings))}) and the file does not list "
            "the symmetry operations.",
            hint="Add the loop _space_group_symop_operation_xyz, or the setting after a colon.",
            details={"line": line},
            code="unknown_symmetry",
        )
    return matching[0]


def _unique_axis(lattice: FloatArray) -> str:
    """The axis at right angles to both others in a monoclinic cell, b where all are right."""
    a, b, c = lattice / np.linalg.norm(lattice, axis=1)[:, None]
    skew = {"b": abs(float(a @ c)), "c": abs(float(a @ b)), "a": abs(float(b @ c))}
    return max(skew, key=skew.__getitem__)


def _unknown(name: str, line: int) -> StructureRefusedError:
    return StructureRefusedError(
        f"Line {line}: {shown(name)} is not a space group, and the file does not list the "
        "symmetry operations.",
        hint="Add the loop _space_group_symop_operation_xyz.",
        details={"line": line},
        code="unknown_symmetry",
    )


def _database(hall_number: int) -> Operations:
    import spglib

    with quiet_spglib():
        found: Any = spglib.get_symmetry_from_database(hall_number)
    return (
        np.asarray(found["rotations"], dtype=np.float64),
        np.asarray(found["translations"], dtype=np.float64),
    )
