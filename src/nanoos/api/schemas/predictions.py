"""Predictions and models."""

import uuid
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, field_validator

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
    explain: bool = False
    """Also say what each atom and element contributes."""


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


class ExplanationAnswer(Answer):
    """What drove one number: integrated gradients from a baseline to the structure."""

    unit: str
    value: float
    """What the networks say, before a bound such as "not below 0" is applied."""
    baseline: float
    """What they say of the baseline."""
    baseline_kind: str
    atoms: list[float]
    """Contribution of each site; their sum is ``value`` minus ``baseline``."""
    elements: dict[str, float]
    """The sum over the sites of each element, the largest first."""


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
    explanations: dict[str, ExplanationAnswer] | None = None
    """On request, of the properties that a graph network gave."""


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
    """Of each property: ``test_error`` (with its 95 % interval), ``calibration`` (observed
    coverage by level) and ``sigma_rank_correlation``; of a trained model, the figures of its
    card. Empty where nothing was measured."""
    weights_sha256: str | None
    """Over all weights used."""
    seen_in_training: str | None
    """What of public data the weights have seen: errors on it flatter; null where nothing."""
    license: str | None
    """Of the weights."""
    notes: list[str]
    """To read beside its numbers."""
    unavailable_reason: str | None
    """Null where it can run here."""
    install_command: str | None
    """What makes it available."""
    not_for_decisions: bool
    is_active: bool


class ModelList(Answer):
    """All models."""

    models: list[ModelAnswer]
    count: int


class GNNPredictBody(Body):
    """What to predict many times."""

    structure_id: uuid.UUID
    gnn_model_name: ModelName = "CGCNN"
    """CGCNN, ALIGNN, or a trained model of the registry."""
    return_uncertainty: bool = True
    uncertainty_method: Literal["mc_dropout", "ensemble"] = "ensemble"
    n_samples: Annotated[int, Field(ge=2, le=1000)] = 50
    """Passes with dropout; an ensemble has as many as it has members."""
    level: Level = 0.9
    return_predictions: bool = False
    """Also give every sample."""
    explain: bool = False
    """Also say what each atom and element contributes."""


class GNNPredictAnswer(Answer):
    """A prediction with the spread of many passes or members, property by property."""

    structure_id: uuid.UUID
    gnn_model_name: str
    model_version: str
    prediction: dict[str, float | None]
    units: dict[str, str]
    uncertainty: dict[str, float] | None
    """One standard deviation of the samples; not calibrated: the interval is."""
    interval: dict[str, IntervalAnswer] | None
    """Conformal, at its level; its sigma is the calibrated one."""
    model_agreement: dict[str, float | None] | None
    """1 - standard deviation / mean of the members, from 0; null where the mean is about 0."""
    uncertainty_method: str | None
    n_samples: int | None
    predictions_raw: dict[str, list[float]] | None
    out_of_domain: dict[str, bool | None]
    weights: dict[str, dict[str, Any]]
    """Property to name, version and hash of the weights."""
    explanations: dict[str, ExplanationAnswer] | None


class PropertyComparisonAnswer(Answer):
    """One property, predicted and simulated."""

    predicted: float
    simulated: float
    error: float
    """Predicted minus simulated."""
    absolute_error: float
    percent_error: float | None
    """Null where the simulated value is 0."""
    inside_interval: bool | None
    """Null where the model gives no interval at that level."""
    level: float
    unit: str


class PropertySummaryAnswer(Answer):
    """Errors of one property."""

    mean_absolute_error: float
    root_mean_squared_error: float
    n: int
    unit: str
    coverage: dict[str, float]
    """Nominal level to the observed share inside the interval."""

    @field_validator("coverage", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        return {f"{float(level):g}": share for level, share in dict(value).items()}


class PropertyQualityAnswer(Answer):
    """Verdict on one property."""

    quality: Literal["excellent", "good", "fair", "poor"]
    error: float


class ComparisonAnswer(Answer):
    """A prediction beside a simulation of the same structure."""

    structure_id: uuid.UUID
    prediction_id: uuid.UUID
    simulation_id: uuid.UUID
    model_name: str
    model_version: str
    engine: str
    workflow: str
    comparisons: dict[str, PropertyComparisonAnswer]
    summary: dict[str, PropertySummaryAnswer]
    overall_quality: Literal["excellent", "good", "fair", "poor"]
    """The worst of the properties."""
    property_quality: dict[str, PropertyQualityAnswer]
    recommendations: list[str]
    not_compared: dict[str, str]
    """Property to why its two numbers are not compared."""


class MonitoringFiguresAnswer(Answer):
    """What was observed of a model, beside its card; null where it is not known."""

    n: int
    """Structures predicted and simulated on the same level of theory."""
    unit: str | None
    mae: float | None
    mae_bounds: tuple[float, float] | None
    """98 % bootstrap interval."""
    card_mae: float | None
    card_mae_interval: tuple[float, float] | None
    coverage: float | None
    """Of the 0.9 interval."""
    n_intervals: int
    card_coverage: float | None
    n_judged: int
    out_of_domain: float | None
    """Share of the newest predictions."""
    expected_out_of_domain: float


class MonitoringProblemAnswer(Answer):
    """One way in which a model does worse than its card by more than chance explains."""

    kind: Literal["error", "coverage", "drift"]
    message: str
    figures: dict[str, Any]


class ModelAlertAnswer(MonitoringProblemAnswer):
    """A stored alert."""

    id: uuid.UUID
    created_at: AwareDatetime
    resolved_at: AwareDatetime | None
    """Null while it lasts."""


class MonitoringAnswer(Answer):
    """How a model does against simulation results."""

    model_id: uuid.UUID
    name: str
    version: str
    target: str
    figures: MonitoringFiguresAnswer
    problems: list[MonitoringProblemAnswer]
    alerts: list[ModelAlertAnswer]
