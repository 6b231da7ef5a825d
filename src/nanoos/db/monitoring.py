"""Alerts of models that do worse than their cards say."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from nanoos.db.base import CreatedAt, JsonDocument, Table, UuidKey


class ModelAlertTable(Table):
    """One way in which a model does worse than its card; open until it no longer does.

    At most one alert of a kind is open for a model, whichever process looks first.
    """

    __tablename__ = "model_alerts"
    __table_args__ = (
        Index(
            "uq_model_alerts_open",
            "model_id",
            "kind",
            unique=True,
            sqlite_where=text("resolved_at IS NULL"),
            postgresql_where=text("resolved_at IS NULL"),
        ),
        Index(None, "model_id", "created_at"),
    )

    id: Mapped[UuidKey]
    model_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("ml_model_registry.id", ondelete="CASCADE")
    )
    kind: Mapped[str] = mapped_column(String(20))
    """``error``, ``coverage`` or ``drift``."""
    message: Mapped[str]
    figures: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    """What was observed and what the card says, as numbers."""
    created_at: Mapped[CreatedAt]
    resolved_at: Mapped[datetime | None]
