"""Events that concern the whole laboratory: numbered, kept, read in order."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from nanoos.db import Database, LabEventTable, insert_if_absent

MODEL_ALERT: Final = "model.alert"
"""A model does worse than its card."""

MODEL_ALERT_RESOLVED: Final = "model.alert_resolved"
"""It no longer does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabEvent:
    """One event of the laboratory; ``number`` counts from 1 without gaps."""

    number: int
    kind: str
    data: Mapping[str, Any]
    created_at: datetime


def publish(session: Session, kind: str, data: Mapping[str, Any]) -> None:
    """Add an event in the caller's transaction; it is seen once that is committed.

    Two transactions that publish at once take turns, so no reader skips an event.

    Args:
        session: A writing transaction; publish last in it, others wait for its end.
        kind: At most 30 characters.
        data: JSON.
    """
    newest = select(func.coalesce(func.max(LabEventTable.number), 0))
    added = False
    while not added:  # another transaction took the number: the next is free
        number = session.scalars(newest).one() + 1
        values = {"number": number, "kind": kind, "data": dict(data)}
        added = insert_if_absent(session, LabEventTable, values)


class LabEvents:
    """Reads the events. Thread-safe.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def after(self, number: int, *, limit: int = 500) -> list[LabEvent]:
        """Events with a number above ``number``, in order."""
        query = (
            select(LabEventTable)
            .where(LabEventTable.number > number)
            .order_by(LabEventTable.number)
            .limit(limit)
        )
        with self._db.read() as session:
            return [
                LabEvent(number=row.number, kind=row.kind, data=row.data, created_at=row.created_at)
                for row in session.scalars(query)
            ]
