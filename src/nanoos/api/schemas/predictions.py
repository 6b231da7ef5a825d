"""Predictions and models."""

import uuid
from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from nanoos.api.schemas.common import Answer, Body, ErrorRecord

ModelName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.+-]+$")]
Level = Annotated[float, Field(gt=0, lt=1)]
"""Probability that an interval should hold the true value."""


class PredictBody(Body):
    """What to predict."""

    structure_id: uuid.UUID
    model_name: ModelName | None = None
    """Null: the best available model of each property; never STUB."""
    level: Level = 0.9
    force_recompute: bool = False


class PredictBatchBody(Body):
    """What to predict for many structures."""

    structure_ids: Annotated[list[uuid.UUID], Field(min_length=1, max_length=100)]
    model_name: ModelName | None = None
    level: Level = 0.9
    force_recompute: bool = False


class IntervalAnswer(Answer):
    """A central interval; null ends where the model is not calibrated at that level."""

    lower: float | None
    upper: float | None
    level: float
    sigma: float | None
    """One standard deviation."""


class PredictionAnswer(Answer):
    """A prediction: bandgap in eV, energies in eV/atom, moduli in GPa."""

    id: uuid.UUID
    structure_id: uuid.UUID
    model_name: str
    model_version: str
    properties: dict[str, float | None]
    confidence_scores: dict[str, float | None]
    """Measured probability that the true value lies in the "good" band; null: not measured."""
    intervals: dict[str, IntervalAnswer]
    cached: bool
    metadata: dict[str, Any]
    created_at: AwareDatetime


class HistoryAnswer(Answer):
    """All predictions of a structure, newest first."""

    structure_id: uuid.UUID
    predictions: list[PredictionAnswer]
    count: int
    models_used: list[str]


class BatchError(ErrorRecord):
    """Why there is no prediction of a structure."""

    structure_id: uuid.UUID


class BatchAnswer(Answer):
    """Predictions of many structures; one bad structure never fails the rest."""

    predictions: list[PredictionAnswer]
    total: int
    cached: int
    new: int
    errors: list[BatchError] | None


class ModelAnswer(Answer):
    """A model."""

    id: uuid.UUID | None
    """Of its row in the registry; null for one that comes with the code."""
    name: str
    version: str
    available: bool
    """Whether it can run here."""
    description: str
    supported_properties: list[str]
    metrics: dict[str, Any]
    """Measured test error and calibration of each property; empty where nothing was measured."""
    not_for_decisions: bool
    is_active: bool


class ModelList(Answer):
    """All models."""

    models: list[ModelAnswer]
    count: int
