"""The filters of structure lists, and what a person may type to name a structure."""

import re
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, or_

from nanoos.core.errors import InvalidInputError
from nanoos.db import StructureTable
from nanoos.structures import reduced_formula
from nanoos.structures.elements import ATOMIC_NUMBERS

MIN_ID_PREFIX = 6
CRYSTAL_SYSTEMS = (
    "triclinic",
    "monoclinic",
    "orthorhombic",
    "tetragonal",
    "trigonal",
    "hexagonal",
    "cubic",
)
_N_SPACE_GROUPS = 230
_TOKEN = re.compile(r"\s*(?:([A-Z][a-z]?)|([(\[])|([)\]]))(\d*)")
_MAX_COUNT = 100_000


def normal_formula(text: str) -> str:
    """The reduced formula that ``text`` means: ``O1Mg1`` and ``Mg2O2`` are ``MgO``.

    Elements in any order and multiple, with parentheses (``Ca(OH)2``).

    Raises:
        InvalidInputError: it is no formula, or names an unknown element.
    """
    stack: list[dict[str, int]] = [{}]
    position = 0
    stripped = text.strip()
    while position < len(stripped):
        match = _TOKEN.match(stripped, position)
        if match is None:
            raise _no_formula(text, f"{stripped[position]!r} is not understood")
        position = match.end()
        symbol, opens, closes, digits = match.groups()
        count = int(digits) if digits else 1
        if not 0 < count <= _MAX_COUNT or (opens and digits):
            raise _no_formula(text, f"{match.group().strip()!r} is not understood")
        if symbol:
            _count(stack[-1], checked_element(symbol), count)
        elif opens:
            stack.append({})
        elif closes and len(stack) > 1:
            group = stack.pop()
            for element, number in group.items():
                _count(stack[-1], element, number * count)
        else:
            raise _no_formula(text, "a parenthesis is closed that was not opened")
    if len(stack) > 1:
        raise _no_formula(text, "a parenthesis is not closed")
    if not stack[0]:
        raise _no_formula(text, "it is empty")
    return reduced_formula(stack[0])


def _count(counts: dict[str, int], element: str, number: int) -> None:
    counts[element] = counts.get(element, 0) + number


def _no_formula(text: str, why: str) -> InvalidInputError:
    return InvalidInputError(
        f"{text!r} is not a formula: {why}.",
        hint="Write elements with whole numbers, for example MgO, SrTiO3 or Ca(OH)2.",
        code="invalid_formula",
    )


def checked_element(symbol: str) -> str:
    """``symbol`` in its usual spelling.

    Raises:
        InvalidInputError: there is no such element.
    """
    element = symbol.strip().capitalize()
    if element not in ATOMIC_NUMBERS:
        raise InvalidInputError(
            f"There is no element {symbol!r}.",
            hint="Write element symbols, for example Li,O.",
            code="unknown_element",
        )
    return element


def structure_filters(
    *,
    elements: Sequence[str],
    formula: str | None,
    min_sites: int | None,
    max_sites: int | None,
    space_group: int | None,
    crystal_system: str | None,
    source: str | None,
) -> list[ColumnElement[bool]]:
    """Conditions on the structures table.

    Raises:
        InvalidInputError: an element, formula, space group or crystal system does not exist.
    """
    table = StructureTable
    conditions: list[ColumnElement[bool]] = [
        table.elements.contains(f"|{checked_element(symbol)}|", autoescape=True)
        for symbol in elements
    ]
    if formula is not None:
        conditions.append(table.formula == normal_formula(formula))
    if min_sites is not None:
        conditions.append(table.n_sites >= min_sites)
    if max_sites is not None:
        conditions.append(table.n_sites <= max_sites)
    if space_group is not None:
        if not 1 <= space_group <= _N_SPACE_GROUPS:
            raise InvalidInputError(
                f"There is no space group {space_group}.", hint="Give a number from 1 to 230."
            )
        conditions.append(table.space_group == space_group)
    if crystal_system is not None:
        if crystal_system.lower() not in CRYSTAL_SYSTEMS:
            raise InvalidInputError(
                f"There is no crystal system {crystal_system!r}.",
                hint=f"One of {', '.join(CRYSTAL_SYSTEMS)}.",
            )
        conditions.append(table.crystal_system == crystal_system.lower())
    if source is not None:
        conditions.append(_from_source(source))
    return conditions


def _from_source(text: str) -> ColumnElement[bool]:
    """Of that kind (``file``, ``campaign``, ...), or from a file with ``text`` in its name."""
    document: Any = StructureTable.source
    return or_(
        document["kind"].as_string() == text,
        document["file"].as_string().contains(text, autoescape=True),
    )


def id_range(text: str) -> ColumnElement[bool] | None:
    """The condition for ids that begin with ``text``; None where it cannot begin one.

    A range instead of LIKE: PostgreSQL compares its uuid type, SQLite the 32 digits.
    """
    digits = text.strip().replace("-", "").lower()
    if not MIN_ID_PREFIX <= len(digits) <= 32 or not re.fullmatch("[0-9a-f]+", digits):  # noqa: PLR2004
        return None
    first, last = uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits.ljust(32, "f"))
    return and_(StructureTable.id >= first, StructureTable.id <= last)
