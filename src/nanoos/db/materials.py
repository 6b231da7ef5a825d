"""Materials and their structures."""

import uuid
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from nanoos.db.base import CreatedAt, JsonDocument, Table, UuidKey


class MaterialTable(Table):
    """A formula with its structures."""

    __tablename__ = "materials"
    __table_args__ = (UniqueConstraint("owner_id", "formula"),)

    id: Mapped[UuidKey]
    owner_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    shared: Mapped[bool] = mapped_column(default=False)
    formula: Mapped[str] = mapped_column(String(200), index=True)
    name: Mapped[str | None] = mapped_column(String(200))
    notes: Mapped[str | None]
    created_at: Mapped[CreatedAt]

    structures: Mapped[list["StructureTable"]] = relationship(
        back_populates="material", cascade="all, delete-orphan", passive_deletes=True
    )


class StructureTable(Table):
    """One crystal structure; its sites never change, a changed structure is a new row."""

    __tablename__ = "structures"
    __table_args__ = (
        UniqueConstraint("owner_id", "content_hash"),
        Index(None, "formula"),
        Index(None, "created_at", "id"),
        CheckConstraint("n_sites > 0", name="n_sites"),
        CheckConstraint("volume_a3 > 0", name="volume"),
    )

    id: Mapped[UuidKey]
    material_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("materials.id", ondelete="CASCADE"), index=True
    )
    owner_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    shared: Mapped[bool] = mapped_column(default=False)
    content_hash: Mapped[str] = mapped_column(String(64))
    formula: Mapped[str] = mapped_column(String(200))
    elements: Mapped[str] = mapped_column(String(400))
    """Distinct elements as ``|Mg|O|``, so that a filter is a plain LIKE on both databases."""
    n_elements: Mapped[int]
    n_sites: Mapped[int]
    lattice_vectors: Mapped[list[Any]] = mapped_column(JsonDocument)
    sites: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    volume_a3: Mapped[float]
    density_g_cm3: Mapped[float]
    space_group: Mapped[int | None]
    crystal_system: Mapped[str | None] = mapped_column(String(20))
    dimensionality: Mapped[int | None]
    source: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    """Where it came from: file and frame, a campaign's point, a relaxation."""
    created_at: Mapped[CreatedAt]

    material: Mapped[MaterialTable] = relationship(back_populates="structures")
