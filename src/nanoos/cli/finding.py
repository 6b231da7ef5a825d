"""What a person names on a command line: one structure, or the terms of a query."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from nanoos.cli.opening import local_user

if TYPE_CHECKING:
    from nanoos.services.container import Services
    from nanoos.services.structure_records import StructureRecord

_TERM: Final = re.compile(r"([a-z_]+)\s*(<=|>=|=)\s*([^\s=<>]+)")
_FILE: Final = re.compile(r"[/\\]|\.[A-Za-z]\w*$")
"""What is meant as a file and no formula or id: a folder or a suffix in it."""
_NUMBERS: Final = ("sites", "space_group")
_WORDS: Final = ("elements", "formula", "crystal_system", "source")
QUERY_HELP: Final = (
    "Terms that must all hold: elements=Li,O formula=Li2O sites<=20 sites>=2 space_group=225 "
    "crystal_system=cubic source=campaign."
)
_PAGE: Final = 200


def find_structure(lab: "Services", text: str) -> "StructureRecord":
    """The one structure that an id, the beginning of one, or a formula names.

    Raises:
        NotFoundError: there is none.
        ConflictError: there are several.
    """
    from nanoos.core.errors import ConflictError

    found = find_structures(lab, text)
    if len(found) > 1:
        ids = ", ".join(str(record.id)[:8] for record in found[:5])
        raise ConflictError(
            f"{len(found)} structures are meant by {text!r}.",
            hint=f"Name one by its id: {ids}{', ...' if len(found) > 5 else ''}.",  # noqa: PLR2004
            details={"ids": [str(record.id) for record in found]},
        )
    return found[0]


def find_structures(lab: "Services", text: str) -> "list[StructureRecord]":
    """Every structure that ``text`` names, newest first.

    Raises:
        NotFoundError: there is none, or the text names a file that is not there.
    """
    from nanoos.core.errors import NotFoundError

    if _FILE.search(text):
        raise NotFoundError(f"There is no file {text!r}.", hint="Check its name and the folder.")
    found = lab.structures.find(text, local_user())
    if not found:
        raise NotFoundError(
            f"There is no structure {text!r}.", hint="'nanoos structures list' has them."
        )
    return found


def query_terms(query: str) -> dict[str, Any]:
    """The filters of ``StructureService.page`` that a query means.

    Raises:
        InvalidInputError: a term is not understood; names it and the nearest that is.
    """
    from nanoos.core.errors import InvalidInputError

    rest = _TERM.sub(" ", query).split()
    rest = [word for word in rest if word.lower() != "and"]
    if rest:
        raise InvalidInputError(f"The query's {rest[0]!r} is not understood.", hint=QUERY_HELP)
    filters: dict[str, Any] = {}
    for name, sign, value in _TERM.findall(query):
        filters |= _filters_of(name, sign, value)
    return filters


def _filters_of(name: str, sign: str, value: str) -> dict[str, Any]:
    import difflib

    from nanoos.core.errors import InvalidInputError

    if name not in (*_NUMBERS, *_WORDS):
        near = difflib.get_close_matches(name, [*_NUMBERS, *_WORDS], n=1)
        meant = f"Did you mean {near[0]!r}? " if near else ""
        raise InvalidInputError(f"A query has no {name!r}.", hint=meant + QUERY_HELP)
    if sign != "=" and name != "sites":
        raise InvalidInputError(f"{name} can only be compared with '='.", hint=QUERY_HELP)
    if name in _NUMBERS and not value.isdigit():
        raise InvalidInputError(f"{name} is a whole number, not {value!r}.", hint=QUERY_HELP)
    if name == "sites":
        low, high = sign in {">=", "="}, sign in {"<=", "="}
        number = int(value)
        return ({"min_sites": number} if low else {}) | ({"max_sites": number} if high else {})
    if name == "elements":
        return {"elements": [part for part in value.split(",") if part]}
    return {name: int(value) if name == "space_group" else value}


def query_structures(lab: "Services", query: str) -> "Iterator[StructureRecord]":
    """Every structure that a query finds, newest first, a page at a time."""
    filters = query_terms(query)
    cursor: str | None = None
    while True:
        page = lab.structures.page(local_user(), **filters, cursor=cursor, limit=_PAGE)
        yield from page.items
        cursor = page.next
        if cursor is None:
            return
