"""Cursor paging, newest first, the same for every list."""

import base64
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, func, select, tuple_
from sqlalchemy.orm import Session

from nanoos.core.errors import InvalidInputError

T = TypeVar("T")
MAX_PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Part of a list.

    Attributes:
        items: At most ``limit`` of them, newest first.
        total: How many there are in all.
        next: Cursor of the next page, None on the last.
    """

    items: Sequence[T]
    total: int
    next: str | None


def fetch_page(
    session: Session, query: Select[Any], table: Any, *, cursor: str | None, limit: int
) -> tuple[list[Any], int, str | None]:
    """Rows of one page of ``query``, the total and the next cursor.

    Raises:
        InvalidInputError: the cursor is none of ours, or ``limit`` is out of 1..200.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInputError(f"limit is {limit}, expected 1 to {MAX_PAGE}.")
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    if cursor is not None:
        query = query.where(tuple_(table.created_at, table.id) < tuple_(*_decode(cursor, table)))
    ordered = query.order_by(table.created_at.desc(), table.id.desc()).limit(limit + 1)
    rows = list(session.scalars(ordered))
    more = len(rows) > limit
    rows = rows[:limit]
    return rows, total, _encode(rows[-1].created_at, rows[-1].id) if more else None


def _encode(created_at: datetime, row_id: uuid.UUID) -> str:
    return base64.urlsafe_b64encode(
        json.dumps([created_at.isoformat(), str(row_id)]).encode()
    ).decode()


def _decode(cursor: str, table: Any) -> tuple[Any, Any]:
    from sqlalchemy import literal

    try:
        created_at, row_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        return (
            literal(datetime.fromisoformat(created_at), table.created_at.type),
            literal(uuid.UUID(row_id), table.id.type),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidInputError(
            "The cursor is not one of ours.", hint="Use the value of 'next' from the last page."
        ) from error
