"""Features of structures: which were computed, with what, and where their arrays are."""

import uuid
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from nanoos.db.base import CreatedAt, JsonDocument, Table, UuidKey


class StructureFeatureTable(Table):
    """The features of one structure, by version of the code and parameters."""

    __tablename__ = "structure_features"
    __table_args__ = (UniqueConstraint("structure_id", "feature_version", "params_hash"),)

    id: Mapped[UuidKey]
    structure_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("structures.id", ondelete="CASCADE"))
    feature_version: Mapped[str] = mapped_column(String(20))
    params_hash: Mapped[str] = mapped_column(String(64))
    """SHA-256 of ``extraction_params``."""
    graph_repr: Mapped[str] = mapped_column(String(64), index=True)
    """SHA-256 of the sealed file in the artifact store that holds the graph's arrays."""
    graph_offset: Mapped[int] = mapped_column(BigInteger, default=0)
    """Where they begin in it, bytes: structures computed together share one file."""
    graph_bytes: Mapped[int] = mapped_column(BigInteger)
    n_atoms: Mapped[int]
    n_bonds: Mapped[int]
    scalar_features: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    extraction_params: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    created_at: Mapped[CreatedAt]
