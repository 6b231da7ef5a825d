"""Finding a row by the first characters of its id, as people type it."""

import uuid
from typing import Any, Final

from sqlalchemy import select

from nanoos.core.errors import ConflictError, InvalidInputError, NotFoundError
from nanoos.db import CampaignTable, Database, DatasetTable, JobTable, Table
from nanoos.services.access import Principal, visible

MIN_PREFIX: Final = 6
_HEX_DIGITS: Final = 32
_TABLES: Final[dict[str, type[Table]]] = {
    "campaign": CampaignTable,
    "dataset": DatasetTable,
    "job": JobTable,
}


def resolve_id(database: Database, kind: str, text: str, who: Principal) -> uuid.UUID:
    """The id of the visible ``kind`` (``job``, ``campaign``) that ``text`` names.

    Args:
        database: Where to look.
        kind: What is meant.
        text: An id, or at least its first six hexadecimal digits, with or without dashes.
        who: Who asks.

    Raises:
        InvalidInputError: ``text`` cannot be the beginning of an id.
        NotFoundError: none begins so.
        ConflictError: several do.
    """
    digits = text.strip().lower().replace("-", "")
    if not MIN_PREFIX <= len(digits) <= _HEX_DIGITS or set(digits) - set("0123456789abcdef"):
        raise InvalidInputError(
            f"{text!r} is not the id of a {kind}.",
            hint=f"Give the id or at least its first {MIN_PREFIX} characters.",
        )
    first, last = (uuid.UUID(digits.ljust(_HEX_DIGITS, fill)) for fill in "0f")
    table: Any = _TABLES[kind]
    query = select(table.id).where(table.id.between(first, last), visible(table, who)).limit(2)
    with database.read() as session:
        found = list(session.scalars(query))
    if not found:
        raise NotFoundError(f"There is no {kind} {text}.", hint=f"'nanoos {kind}s list' has them.")
    if len(found) > 1:
        raise ConflictError(
            f"Several {kind}s begin with {text}.", hint="Give more characters of the id."
        )
    return uuid.UUID(str(found[0]))
