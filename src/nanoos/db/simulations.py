"""What is simulated and what came out."""

import uuid
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from nanoos.db.base import CreatedAt, JsonDocument, Table, UuidKey


class SimulationTable(Table):
    """What is simulated; its job says how far it is. ``key`` makes the same work unique."""

    __tablename__ = "simulation_jobs"

    id: Mapped[UuidKey]
    job_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("jobs.id", ondelete="CASCADE"), unique=True
    )
    structure_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("structures.id", ondelete="CASCADE"), index=True
    )
    engine: Mapped[str] = mapped_column(String(50))
    workflow: Mapped[str] = mapped_column(String(50))
    parameters: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    key: Mapped[str] = mapped_column(String(64), unique=True)
    """SHA-256 of structure id, engine, workflow, parameters and the files that it rests on."""
    created_at: Mapped[CreatedAt]

    result: Mapped["SimulationResultTable | None"] = relationship(back_populates="simulation")


class SimulationResultTable(Table):
    """What came out; written once, in the transaction that completes the job."""

    __tablename__ = "simulation_results"

    id: Mapped[UuidKey]
    simulation_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("simulation_jobs.id", ondelete="CASCADE"), unique=True
    )
    energy_ev: Mapped[float]
    values: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    record: Mapped[dict[str, Any]] = mapped_column(JsonDocument)
    """The whole EngineResult without the final structure: series, forces, provenance, resources."""
    final_structure: Mapped[dict[str, Any] | None] = mapped_column(JsonDocument)
    wall_time_s: Mapped[float]
    created_at: Mapped[CreatedAt]

    simulation: Mapped[SimulationTable] = relationship(back_populates="result")
