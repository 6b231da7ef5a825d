"""Data sets: structures with known properties, sealed as one file each."""

import uuid
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from nanoos.db.base import CreatedAt, JsonDocument, Table, UuidKey


class DatasetTable(Table):
    """What a data set is; its rows are in one sealed file, and neither ever changes."""

    __tablename__ = "datasets"
    __table_args__ = (Index(None, "owner_id", "created_at"),)

    id: Mapped[UuidKey]
    owner_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    shared: Mapped[bool] = mapped_column(default=False)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    """Hash over structures, targets and units (not of the file)."""
    n_rows: Mapped[int]
    targets: Mapped[list[Any]] = mapped_column(JsonDocument)
    units: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    level_of_theory: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    statistics: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    source: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    """Where the rows came from, which columns were taken, what was refused and what is double."""
    files: Mapped[list[Any]] = mapped_column(JsonDocument)
    """The sealed file: name, sha256, size in bytes."""
    created_at: Mapped[CreatedAt]
