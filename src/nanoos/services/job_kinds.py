"""What a kind of job must say about itself, and the registry of kinds."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy.orm import Session

from nanoos.core.registry import Registry
from nanoos.db.jobs import JobTable

if TYPE_CHECKING:
    from nanoos.services.container import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class JobClaim:
    """The right to work on a job: valid as long as the attempt is the row's."""

    job_id: uuid.UUID
    attempt: int
    kind: str
    owner_id: uuid.UUID
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOutcome:
    """What a handler returns.

    Attributes:
        result: Small JSON document for the row.
        finalize: Writes the rows that the job made, inside the transaction that completes it.
        files: Files of the run folder to seal and keep.
    """

    result: Mapping[str, Any] = field(default_factory=dict)
    finalize: Callable[[Session], None] | None = None
    files: tuple[Path, ...] = ()


class JobContext(Protocol):
    """What a running job may use."""

    @property
    def run_dir(self) -> Path:
        """The job's own folder; it survives a killed attempt, so checkpoints go here."""

    def progress(self, fraction: float, message: str) -> None:
        """Say how far the work is (0..1). Raises if the job is no longer this attempt's."""


JobHandler = Callable[["Services", JobClaim, JobContext], JobOutcome]
JobHook = Callable[[Session, JobTable], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """One kind of work.

    Attributes:
        name: The kind.
        handler: Does the work, in a child process.
        queue: Where it waits.
        max_failures: Attempts that may end by the job's own fault (transient errors, a dead
            process) before it fails for good. Errors of the work itself are never retried.
        on_terminal: Called inside the transaction that ends the job in any way.
        on_retry: Called inside the transaction that queues it again for a user.
    """

    name: str
    handler: JobHandler
    queue: str = "default"
    max_failures: int = 3
    on_terminal: JobHook | None = None
    on_retry: JobHook | None = None


JOB_KINDS: Registry[JobKind] = Registry(
    "nanoos.job_kinds",
    {
        "campaign": "nanoos.services.campaign_steps:CAMPAIGN",
        "dataset_import": "nanoos.services.dataset_jobs:DATASET_IMPORT",
        "features": "nanoos.services.feature_jobs:FEATURES",
        "probe": "nanoos.services.probe:PROBE",
        "relaxations": "nanoos.services.relaxation_jobs:RELAXATIONS",
        "simulation": "nanoos.services.simulation_jobs:SIMULATION",
        "training": "nanoos.services.training_jobs:TRAINING",
    },
)
