"""Design campaigns, their iterations and candidates."""

import uuid
from datetime import datetime
from typing import Any, Final

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from nanoos.db.base import CreatedAt, JsonDocument, Table, UuidKey

CAMPAIGN_STATES: Final = ("created", "running", "paused", "completed", "failed")


class CampaignTable(Table):
    """A search: its configuration, its state and what it has used of its budget."""

    __tablename__ = "design_campaigns"
    __table_args__ = (
        CheckConstraint(
            "state IN ('created', 'running', 'paused', 'completed', 'failed')", name="state"
        ),
        Index(None, "owner_id", "created_at"),
    )

    id: Mapped[UuidKey]
    owner_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    shared: Mapped[bool] = mapped_column(default=False)
    material_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("materials.id", ondelete="SET NULL")
    )
    baseline_of_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("design_campaigns.id", ondelete="CASCADE")
    )
    """Set on the random baseline that runs beside a campaign."""
    name: Mapped[str] = mapped_column(String(200))
    key: Mapped[str | None] = mapped_column(String(200), unique=True)
    """Lets the same command find the campaign again."""
    strategy: Mapped[str] = mapped_column(String(50))
    config: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    state: Mapped[str] = mapped_column(String(20), default="created")
    steps_granted: Mapped[int | None]
    """Iterations it may still begin before it pauses; null: until the budget ends."""
    runs: Mapped[int] = mapped_column(default=0)
    """How often it was started; part of its steps' keys, so that a restart is a new step."""
    reason: Mapped[str | None]
    """Why it is in this state, a sentence."""
    simulation_budget: Mapped[int]
    simulations_used: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[CreatedAt]
    finished_at: Mapped[datetime | None]


class IterationTable(Table):
    """One turn of the loop."""

    __tablename__ = "design_iterations"
    __table_args__ = (UniqueConstraint("campaign_id", "number"),)

    id: Mapped[UuidKey]
    campaign_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("design_campaigns.id", ondelete="CASCADE")
    )
    number: Mapped[int]
    candidates_ml_predicted: Mapped[int] = mapped_column(default=0)
    candidates_simulated: Mapped[int] = mapped_column(default=0)
    simulation_budget_used: Mapped[int] = mapped_column(default=0)
    active_learning_stats: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    best_value: Mapped[float | None]
    created_at: Mapped[CreatedAt]
    finished_at: Mapped[datetime | None]


class CandidateTable(Table):
    """A point of the space that a campaign chose, with what was predicted and what came out."""

    __tablename__ = "design_candidates"
    __table_args__ = (
        UniqueConstraint("campaign_id", "point_key"),
        CheckConstraint("state IN ('selected', 'simulated', 'failed')", name="state"),
        Index(None, "simulation_id"),
        Index(None, "cross_check_simulation_id"),
    )

    id: Mapped[UuidKey]
    campaign_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("design_campaigns.id", ondelete="CASCADE")
    )
    iteration_number: Mapped[int]
    rank: Mapped[int]
    point_key: Mapped[str] = mapped_column(String(300))
    parameters: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    structure_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("structures.id", ondelete="CASCADE"))
    simulation_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("simulation_jobs.id", ondelete="SET NULL")
    )
    cross_check_simulation_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("simulation_jobs.id", ondelete="SET NULL")
    )
    """The same simulation with another potential, for winners."""
    predicted_value: Mapped[float | None]
    predicted_sigma: Mapped[float | None]
    acquisition_score: Mapped[float | None]
    feasibility: Mapped[float | None]
    reason: Mapped[str]
    state: Mapped[str] = mapped_column(String(20), default="selected")
    values: Mapped[dict[str, Any] | None] = mapped_column(JsonDocument)
    """What the simulation gave; null until it did."""
    cross_check_values: Mapped[dict[str, Any] | None] = mapped_column(JsonDocument)
    value_source: Mapped[str] = mapped_column(String(20), default="predicted")
    error: Mapped[dict[str, Any] | None] = mapped_column(JsonDocument)
    cost_s: Mapped[float | None]
    created_at: Mapped[CreatedAt]
    finished_at: Mapped[datetime | None]
