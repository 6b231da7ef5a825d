"""Training, and the registry of trained models."""

import uuid
from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from nanoos.api.schemas.common import Answer, Body
from nanoos.api.schemas.predictions import ModelName
from nanoos.training.config import TrainingConfig


class TrainBody(TrainingConfig):
    """What to train. ``dataset`` and ``init_from`` are names, never paths."""


class TrainAnswer(Answer):
    """A training that waits or runs."""

    job_id: uuid.UUID
    names: list[str]
    """Of the models that come out, one for each target."""
    version: str


class RetrainBody(Body):
    """When to train a model anew."""

    model_name: ModelName
    dataset: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$")]
    """The data set with the new structures among the old."""
    min_new: Annotated[int, Field(ge=1, le=1_000_000_000)] = 100
    """How many more labelled rows there must be."""


class RetrainAnswer(Answer):
    """Whether a training was started."""

    started: bool
    training: TrainAnswer | None


class RegistryAnswer(Answer):
    """A row of the model registry."""

    id: uuid.UUID
    name: str
    version: str
    target: str
    """The property that it predicts."""
    model_type: str
    """CGCNN, ALIGNN, RandomForest."""
    checkpoint_path: str | None
    """``artifact:SHA256``, or the file of a model that comes with the package."""
    weights_sha256: str | None
    training_config: dict[str, Any]
    metrics: dict[str, Any]
    """``mae``, ``mse``, ``r2``, ``coverage`` (nominal level to observed), ``n``, ``unit``."""
    dataset_info: dict[str, Any]
    description: str | None
    is_active: bool
    """Whether the name of its type resolves to it for its target."""
    is_system_provided: bool
    job_id: uuid.UUID | None
    """The job that trained it."""
    created_at: AwareDatetime
