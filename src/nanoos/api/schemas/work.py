"""Jobs and simulations."""

import uuid
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, field_validator

from nanoos.api.schemas.common import Answer, Body, ErrorRecord, PageQuery, ShortText

JobState = Literal["queued", "running", "completed", "failed", "cancelled"]
Name = Annotated[str, Field(min_length=1, max_length=50, pattern=r"^[A-Za-z0-9_.-]+$")]


class JobAnswer(Answer):
    """A job."""

    id: uuid.UUID
    kind: str
    queue: str
    state: JobState
    priority: int
    attempt: int
    """How often it was begun."""
    failures: int
    progress: float
    """0 to 1."""
    message: str | None
    """What it does now."""
    cancel_requested: bool
    owner_id: uuid.UUID
    payload: dict[str, Any]
    result: dict[str, Any] | None
    error: ErrorRecord | None
    created_at: AwareDatetime
    started_at: AwareDatetime | None
    finished_at: AwareDatetime | None


class JobQuery(PageQuery):
    """Which jobs."""

    state: JobState | None = None
    kind: ShortText | None = None


class JobFileAnswer(Answer):
    """A file of a job."""

    name: str
    size_bytes: int
    sha256: str | None
    """Null while the job may still write it."""


class JobFileList(Answer):
    """The files of a job."""

    items: list[JobFileAnswer]


class SimulationBody(Body):
    """What to simulate."""

    structure_id: uuid.UUID
    engine: Name = "MLIP"
    workflow: Name
    """One of the engine's: ``single_point``, ``relax``, ``equation_of_state``."""
    parameters: dict[str, Any] = Field(default={})
    """Of the workflow; checked before the job is queued."""
    priority: int = Field(default=0, ge=-100, le=100)
    """Larger is sooner."""


class SimulationBatchBody(Body):
    """The same simulation of many structures."""

    structure_ids: Annotated[list[uuid.UUID], Field(min_length=1, max_length=1000)]
    engine: Name = "MLIP"
    workflow: Name
    parameters: dict[str, Any] = Field(default={})
    priority: int = Field(default=0, ge=-100, le=100)
    together: bool = False
    """Relax them in one batch of the potential, in one job of the kind ``relaxations``; each keeps
    a job of its own, which ends when it has converged or failed."""


class SimulationAnswer(Answer):
    """A simulation and, once it is completed, what came out."""

    id: uuid.UUID
    job_id: uuid.UUID
    structure_id: uuid.UUID
    engine: str
    workflow: str
    parameters: dict[str, Any]
    state: JobState
    progress: float
    message: str | None
    error: ErrorRecord | None
    energy_ev: float | None
    """Total energy of the final structure, eV for the cell."""
    values: dict[str, float | None] | None
    """The unit stands in the name."""
    record: dict[str, Any] | None
    """Series, forces (eV/Å), stress (eV/Å^3, tension positive), provenance."""
    final_structure: dict[str, Any] | None
    resources: dict[str, dict[str, int | float]] | None
    """``requested``: processes, threads of each, estimated_cpu_s. ``used`` by the execution that came to the
    end: wall_s, cpu_s, max_rss_mb (resident memory of all its processes)."""
    stress_gpa: list[list[float]] | None
    """(3, 3), GPa, tension positive, of the final structure: the pressure is minus a third of its trace."""
    wall_time_s: float | None
    created_at: AwareDatetime
    finished_at: AwareDatetime | None

    @field_validator("final_structure", mode="before")
    @classmethod
    def _as_document(cls, value: Any) -> Any:
        return value if value is None or isinstance(value, dict) else value.as_dict()


class SimulationBatchItem(Answer):
    """A simulation, or why there is none."""

    structure_id: uuid.UUID
    simulation: SimulationAnswer | None
    error: ErrorRecord | None


class SimulationBatchAnswer(Answer):
    """One item for each structure, in order."""

    items: list[SimulationBatchItem]
    total: int
    errors: int
