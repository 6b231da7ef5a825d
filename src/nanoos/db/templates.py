"""Templates: a workflow of an engine with parameters, kept under a name."""

import uuid
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from nanoos.db.base import CreatedAt, JsonDocument, Table, UuidKey


class SimulationTemplateTable(Table):
    """What a simulation by this name does; without an owner it comes with nanoos."""

    __tablename__ = "simulation_templates"
    __table_args__ = (Index(None, "owner_id", "created_at"),)

    id: Mapped[UuidKey]
    owner_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    shared: Mapped[bool] = mapped_column(default=False)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    description: Mapped[str] = mapped_column(String(1000))
    engine: Mapped[str] = mapped_column(String(50))
    workflow: Mapped[str] = mapped_column(String(50))
    parameters: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    """Those that were given; the engine's defaults fill in the rest when it is run."""
    created_at: Mapped[CreatedAt]
