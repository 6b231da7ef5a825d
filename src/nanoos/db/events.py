"""Events of the laboratory, as jobs have theirs."""

from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from nanoos.db.base import BigKey, CreatedAt, JsonDocument, Table


class LabEventTable(Table):
    """What happened in the laboratory that belongs to no one job.

    ``number`` counts from 1 without gaps; an event becomes visible after all with lower numbers.
    """

    __tablename__ = "lab_events"

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    number: Mapped[int] = mapped_column(unique=True)
    kind: Mapped[str] = mapped_column(String(30))
    data: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    created_at: Mapped[CreatedAt]
