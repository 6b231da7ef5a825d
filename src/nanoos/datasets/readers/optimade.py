"""Structures of databases that speak OPTIMADE. Ref: https://specification.optimade.org, v1.

Andersen et al., DOI 10.1038/s41597-021-00974-z. The addresses are those of the list that the
consortium keeps (https://providers.optimade.org).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from nanoos.core.errors import NanoosError, NotFoundError, UnauthorizedError, UnavailableError
from nanoos.datasets.readers.downloads import get_json
from nanoos.structures import Structure, read_structures_from_bytes

TIMEOUT_S: Final = 15.0
"""Between two bytes: somebody waits in front of a page."""

_ATTEMPTS: Final = 2
_FIELDS: Final = (
    "chemical_formula_reduced,nsites,nperiodic_dimensions,lattice_vectors,"
    "cartesian_site_positions,species,species_at_sites"
)
_INSTEAD: Final = (
    "Try another database. Without a network, fetch the CIF elsewhere and upload the file."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimadeDatabase:
    """A database and where it is.

    Attributes:
        key: Short name, as in a link.
        name: For people.
        base_url: What stands before ``/v1/structures``.
    """

    key: str
    name: str
    base_url: str


PUBLIC_DATABASES: Final[Sequence[OptimadeDatabase]] = tuple(
    OptimadeDatabase(key=key, name=name, base_url=url)
    for key, name, url in (
        ("mp", "Materials Project", "https://optimade.materialsproject.org"),
        ("alexandria", "Alexandria (PBE)", "https://alexandria.icams.rub.de/pbe"),
        ("jarvis", "JARVIS-DFT", "https://jarvis.nist.gov/optimade/jarvisdft"),
        ("oqmd", "Open Quantum Materials Database", "https://oqmd.org/optimade"),
        ("cod", "Crystallography Open Database", "https://www.crystallography.net/cod/optimade"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimadeEntry:
    """One entry of a database.

    Attributes:
        id: What the database calls it.
        formula: Its reduced formula, as the database writes it.
        structure: None where it cannot be used here.
        error: Why it cannot; None where it can.
    """

    id: str
    formula: str
    structure: Structure | None
    error: NanoosError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimadeAnswer:
    """What a database found.

    Attributes:
        entries: The first ones.
        total: How many there are; None where the database does not say.
    """

    entries: Sequence[OptimadeEntry]
    total: int | None


def find_entries(database: OptimadeDatabase, filter_text: str, *, limit: int) -> OptimadeAnswer:
    """The first entries that meet a filter.

    Args:
        database: Where to look.
        filter_text: In OPTIMADE's language, ``elements HAS ALL "Li","O"``.
        limit: At most so many; a database may give fewer.

    Raises:
        UnavailableError: no network, no answer (``no_network``), or one in another form
            (``unknown_answer``).
        InvalidInputError: the database does not understand the filter.
    """
    parameters = {"filter": filter_text, "page_limit": limit, "response_fields": _FIELDS}
    answer = _ask(database, _structures_url(database), parameters)
    records = answer.get("data")
    if not isinstance(records, list):
        raise _unknown_form(database)
    total = _meta(answer).get("data_returned")
    return OptimadeAnswer(
        entries=_entries(database, records[:limit]),
        total=total if isinstance(total, int) and not isinstance(total, bool) else None,
    )


def get_entry(database: OptimadeDatabase, entry_id: str) -> OptimadeEntry:
    """One entry.

    Raises:
        NotFoundError: the database has none of that name.
        UnavailableError: as :func:`find_entries`.
    """
    answer = _ask(database, entry_url(database, entry_id), {"response_fields": _FIELDS})
    record = answer.get("data")
    if record is None:
        raise NotFoundError(f"{database.name} has no entry {entry_id!r}.", hint="Search for it.")
    if not isinstance(record, Mapping):
        raise _unknown_form(database)
    return _entries(database, [record])[0]


def entry_url(database: OptimadeDatabase, entry_id: str) -> str:
    """The address of an entry."""
    return f"{_structures_url(database)}/{quote(entry_id, safe='')}"


def _structures_url(database: OptimadeDatabase) -> str:
    return f"{database.base_url.rstrip('/').removesuffix('/v1')}/v1/structures"


def _ask(database: OptimadeDatabase, url: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        answer = get_json(
            url,
            parameters,
            headers={"Accept": "application/vnd.api+json, application/json"},
            service=database.name,
            instead=_INSTEAD,
            timeout_s=TIMEOUT_S,
            attempts=_ATTEMPTS,
        )
    except UnauthorizedError as error:  # no key is ever sent: it does not want to be asked at all
        raise UnavailableError(
            f"{database.name} refuses to answer.", hint=_INSTEAD, code="refused"
        ) from error
    if not isinstance(answer, Mapping):
        raise _unknown_form(database)
    return answer


def _meta(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    found = answer.get("meta")
    return found if isinstance(found, Mapping) else {}


def _entries(database: OptimadeDatabase, records: Sequence[Any]) -> list[OptimadeEntry]:
    if not records:
        return []
    if not all(isinstance(r, Mapping) and "id" in r and "attributes" in r for r in records):
        raise _unknown_form(database)
    document = json.dumps({"data": list(records)}).encode()
    outcomes = read_structures_from_bytes(f"{database.key}.json", document)
    return [
        OptimadeEntry(
            id=str(record["id"]),
            formula=str((record["attributes"] or {}).get("chemical_formula_reduced") or "?"),
            structure=outcome.structure,
            error=outcome.error,
        )
        for record, outcome in zip(records, outcomes, strict=True)
    ]


def _unknown_form(database: OptimadeDatabase) -> UnavailableError:
    return UnavailableError(
        f"{database.name} answered in a form that is not OPTIMADE's.",
        hint=f"{_INSTEAD} An address of your own (NANO_OS_OPTIMADE_URL) is what stands before "
        "/v1/structures.",
        code="unknown_answer",
    )
