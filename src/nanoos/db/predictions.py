"""Stored predictions and the registry of trained models."""

import uuid
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from nanoos.db.base import CreatedAt, JsonDocument, Table, UuidKey


class PredictionTable(Table):
    """One prediction; immutable. Intervals are stored as quantiles inside ``properties``."""

    __tablename__ = "predicted_properties"
    __table_args__ = (
        UniqueConstraint(
            "structure_id",
            "model_name",
            "model_version",
            "weights_sha256",
            "generation",
            name="uq_predicted_properties_cache_key",
        ),
        Index(None, "structure_id"),
        Index(None, "model_name"),
        Index(None, "created_at"),
        Index(None, "structure_id", "model_name", "created_at"),
        Index(None, "model_name", "model_version", "created_at"),
    )

    id: Mapped[UuidKey]
    structure_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("structures.id", ondelete="CASCADE"))
    model_name: Mapped[str] = mapped_column(String(100))
    model_version: Mapped[str] = mapped_column(String(50))
    weights_sha256: Mapped[str] = mapped_column(String(64))
    """Hash over all weights used; empty where the model has none."""
    generation: Mapped[int] = mapped_column(default=0)
    properties: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    confidence_scores: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    extra: Mapped[dict[str, Any] | None] = mapped_column("metadata", JsonDocument)
    created_at: Mapped[CreatedAt]


class ModelTable(Table):
    """One target of a trained property model that is known to this installation.

    A checkpoint that predicts several properties has a row for each. At most one row of a
    ``model_type`` and ``target`` is active: the one that the type's name resolves to.
    """

    __tablename__ = "ml_model_registry"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        Index(
            "uq_ml_model_registry_active",
            "model_type",
            "target",
            unique=True,
            sqlite_where=text("is_active"),
            postgresql_where=text("is_active"),
        ),
    )

    id: Mapped[UuidKey]
    name: Mapped[str] = mapped_column(String(100))
    version: Mapped[str] = mapped_column(String(50))
    target: Mapped[str] = mapped_column(String(100), index=True)
    model_type: Mapped[str] = mapped_column(String(50))
    checkpoint_path: Mapped[str | None]
    """``artifact:SHA256`` of the first of ``files``, or the name of a checkpoint that is shipped."""
    files: Mapped[list[Any] | None] = mapped_column(JsonDocument)
    """Sealed checkpoints, one for each member of an ensemble: name, sha256, size in bytes."""
    weights_sha256: Mapped[str | None] = mapped_column(String(64))
    training_config: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    metrics: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    dataset_info: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    description: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(default=False)
    is_system_provided: Mapped[bool] = mapped_column(default=False)
    job_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("jobs.id", ondelete="SET NULL"), index=True
    )
    """The job that trained it."""
    created_at: Mapped[CreatedAt]
