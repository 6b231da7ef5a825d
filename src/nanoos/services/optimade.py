"""Searching databases of structures that speak OPTIMADE, as people type."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import gcd
from typing import Final
from urllib.parse import urlsplit

from nanoos.core.errors import InvalidInputError, NotFoundError, StructureRefusedError
from nanoos.datasets.readers.optimade import (
    PUBLIC_DATABASES,
    OptimadeDatabase,
    entry_url,
    find_entries,
    get_entry,
)
from nanoos.services.structure_queries import checked_element, normal_formula
from nanoos.structures import Structure, analyze_symmetry

SHOWN: Final = 20
OWN_KEY: Final = "own"

_LONGEST: Final = 500
_MAX_SYMMETRY_SITES: Final = 200
_FILTER: Final = re.compile(
    r"[<>=\"]|\b(HAS|CONTAINS|STARTS|ENDS|IS|AND|OR|NOT|LENGTH)\b",
)
_ENTRY_ID: Final = re.compile(r"\d+|[a-z][\w.-]*|\w+-[\w.-]+")
_PART: Final = re.compile(r"([A-Z][a-z]?)(\d*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseHit:
    """A structure that was found.

    Attributes:
        id: What the database calls it.
        formula: Reduced formula.
        n_sites: Sites of its cell; None where it cannot be used.
        space_group: Symbol and number; None where it cannot be told.
        problem: Why it cannot be used here; None where it can.
    """

    id: str
    formula: str
    n_sites: int | None
    space_group: str | None
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseHits:
    """What a database found.

    Attributes:
        database: Which one.
        filter: What it was asked, in OPTIMADE's language.
        hits: The first :data:`SHOWN`.
        total: How many there are; None where the database does not say.
    """

    database: OptimadeDatabase
    filter: str
    hits: Sequence[DatabaseHit]
    total: int | None


class OptimadeService:
    """Databases elsewhere. Thread-safe: keeps nothing.

    Args:
        own_url: Of a database of one's own, offered first; empty for none.
    """

    def __init__(self, own_url: str = "") -> None:
        name = f"Own database at {urlsplit(own_url).netloc}"
        own = OptimadeDatabase(key=OWN_KEY, name=name, base_url=own_url)
        self._databases: Sequence[OptimadeDatabase] = (
            (own, *PUBLIC_DATABASES) if own_url else PUBLIC_DATABASES
        )

    @property
    def databases(self) -> Sequence[OptimadeDatabase]:
        """Those that can be asked, the default first."""
        return self._databases

    def search(self, key: str, text: str) -> DatabaseHits:
        """What a database has for a formula, elements, an id or a filter.

        Args:
            key: Of the database.
            text: ``TiO2``, ``Li, O``, ``mp-149``, or a filter in OPTIMADE's language.

        Raises:
            NotFoundError: no such database.
            InvalidInputError: no formula, an unknown element, or a filter that the database does
                not understand.
            UnavailableError: no network, or no answer that can be read.
        """
        database = self._database(key)
        question = optimade_filter(text)
        answer = find_entries(database, question, limit=SHOWN)
        hits = [
            DatabaseHit(
                id=entry.id,
                formula=entry.structure.formula if entry.structure else entry.formula,
                n_sites=entry.structure.n_sites if entry.structure else None,
                space_group=_space_group(entry.structure),
                problem=entry.error.message if entry.error else None,
            )
            for entry in answer.entries
        ]
        return DatabaseHits(database=database, filter=question, hits=hits, total=answer.total)

    def structure(self, key: str, entry_id: str) -> Structure:
        """The structure of an entry, labelled with where it is from.

        Raises:
            NotFoundError: no such database or entry.
            StructureRefusedError: it cannot be used here.
            UnavailableError: no network, or no answer that can be read.
        """
        database = self._database(key)
        entry = get_entry(database, entry_id)
        if entry.error is not None:
            raise entry.error
        if entry.structure is None:
            raise StructureRefusedError(
                f"{database.name} has no structure for {entry_id!r}.", code="no_structures"
            )
        return entry.structure.with_label(f"{database.name}, {entry.id}")

    def entry_url(self, key: str, entry_id: str) -> str:
        """The address of an entry. Raises NotFoundError: no such database."""
        return entry_url(self._database(key), entry_id)

    def _database(self, key: str) -> OptimadeDatabase:
        for database in self._databases:
            if database.key == key:
                return database
        raise NotFoundError(
            f"There is no database {key!r}.",
            hint=f"Known: {', '.join(database.key for database in self._databases)}.",
        )


def optimade_filter(text: str) -> str:
    """What a person typed, in OPTIMADE's language.

    ``TiO2`` is a reduced formula, ``Li, O`` are elements that must be there, ``mp-149`` or
    ``9008460`` is an id; what has an operator goes as it is.

    Raises:
        InvalidInputError: it is empty, too long, no formula, or names an unknown element.
    """
    words = text.strip()
    if not words or len(words) > _LONGEST:
        raise InvalidInputError(
            "There is nothing to search for." if not words else "The search is too long.",
            hint="Write a formula (TiO2), elements (Li, O), an id (mp-149) or an OPTIMADE filter.",
            code="invalid_search",
        )
    if _FILTER.search(words):
        return words
    parts = [part for part in re.split(r"[,;\s]+", words) if part]
    if len(parts) > 1:
        symbols = dict.fromkeys(checked_element(part) for part in parts)
        return "elements HAS ALL " + ",".join(f'"{symbol}"' for symbol in symbols)
    if _ENTRY_ID.fullmatch(words):
        return f'id="{words}"'
    return f'chemical_formula_reduced="{_alphabetical(normal_formula(words))}"'


def _alphabetical(formula: str) -> str:
    """A reduced formula as OPTIMADE writes it: elements by name, counts without common factor."""
    counts = {symbol: int(count or 1) for symbol, count in _PART.findall(formula)}
    divisor = gcd(*counts.values())
    ordered = sorted((symbol, count // divisor) for symbol, count in counts.items())
    return "".join(symbol if count == 1 else f"{symbol}{count}" for symbol, count in ordered)


def _space_group(structure: Structure | None) -> str | None:
    if structure is None or structure.n_sites > _MAX_SYMMETRY_SITES:
        return None
    with suppress(StructureRefusedError):
        found = analyze_symmetry(structure)
        return f"{found.symbol} ({found.number})"
    return None
