"""What the prediction service hands out, and how a prediction is stored."""

import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from nanoos.core.errors import InvalidInputError
from nanoos.core.properties import ordered
from nanoos.core.records import LevelOfTheory, Prediction, PropertyValue
from nanoos.db import PredictionTable
from nanoos.services.structure_records import StructureRecord

DEFAULT_LEVEL = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """The central interval of one property; null bounds where it is not calibrated at ``level``.

    Attributes:
        lower: In the property's unit.
        upper: In the property's unit.
        level: Nominal coverage, 0 to 1.
        sigma: One standard deviation; None where the model has no measured one.
    """

    lower: float | None
    upper: float | None
    level: float
    sigma: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRecord:
    """A stored prediction; immutable.

    Attributes:
        id: Its id.
        structure_id: Of the structure it is about.
        model_name: Which model.
        model_version: Its version.
        generation: 0, one higher at each recomputation that was asked for.
        values: Property name to value, unit, uncertainty and meaning.
        metadata: ``formula, num_atoms, dimensionality, level_of_theory, weights, units,
            out_of_domain, notes, not_for_decisions``.
        created_at: UTC.
        cached: Whether it was there before it was asked for.
    """

    id: uuid.UUID
    structure_id: uuid.UUID
    model_name: str
    model_version: str
    generation: int
    values: Mapping[str, PropertyValue]
    metadata: Mapping[str, Any]
    created_at: datetime
    cached: bool

    @property
    def properties(self) -> dict[str, float | None]:
        """Property name to number; None where the model cannot say."""
        return {name: value.value for name, value in self.values.items()}

    @property
    def confidence_scores(self) -> dict[str, float | None]:
        """Calibrated probability of being "good"; None for an uncalibrated model."""
        return {name: value.confidence for name, value in self.values.items()}

    def intervals(self, level: float = DEFAULT_LEVEL) -> dict[str, Interval]:
        """The interval of each property at any level between 0 and 1.

        Raises:
            InvalidInputError: the level is not between 0 and 1.
        """
        check_level(level)
        found = {}
        for name, value in self.values.items():
            lower, upper = value.interval(level) or (None, None)
            found[name] = Interval(lower=lower, upper=upper, level=level, sigma=value.sigma)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchError:
    """Why one structure of a batch has no prediction."""

    structure_id: uuid.UUID
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """The answer to a batch.

    Attributes:
        predictions: In the order asked for, without those that failed.
        total: How many were asked for.
        cached: How many were there before.
        new: How many were computed now.
        errors: One for each that failed.
    """

    predictions: Sequence[PredictionRecord]
    total: int
    cached: int
    new: int
    errors: Sequence[BatchError]


def check_level(level: float) -> None:
    """Refuse a level that is not between 0 and 1."""
    if not 0 < level < 1:
        raise InvalidInputError(
            f"The level is {level}.", hint="Give a number between 0 and 1, for example 0.9."
        )


def stored_columns(
    prediction: Prediction,
    structure: StructureRecord,
    weights: Callable[[str], Mapping[str, Any]],
) -> dict[str, Any]:
    """Values of the JSON columns of a new row.

    Args:
        prediction: What the model said.
        structure: Of which structure.
        weights: Property to name, version and hash of the weights behind it.
    """
    values = {name: _finite(value) for name, value in prediction.properties.items()}
    notes = list(prediction.notes)
    notes += [
        f"{prediction.provenance.producer} gives no number for {name} here."
        for name, value in values.items()
        if value.value is None
    ]
    return {
        "properties": {name: _value_document(value) for name, value in values.items()},
        "confidence_scores": {name: value.confidence for name, value in values.items()},
        "extra": {
            "formula": structure.formula,
            "num_atoms": structure.n_sites,
            "dimensionality": structure.dimensionality,
            "notes": notes,
            "not_for_decisions": prediction.not_for_decisions,
            "weights": {name: dict(weights(name)) for name in values},
            "parameters": dict(prediction.provenance.parameters),
            "software": dict(prediction.provenance.software),
        },
    }


def _finite(value: PropertyValue) -> PropertyValue:
    """JSON holds no NaN, and NaN is no answer: None where the model gave one."""
    if value.value is not None and math.isfinite(value.value):
        return value
    return PropertyValue(
        value=None,
        unit=value.unit,
        out_of_domain=value.out_of_domain,
        level_of_theory=value.level_of_theory,
    )


def _value_document(value: PropertyValue) -> dict[str, Any]:
    theory = value.level_of_theory
    return {
        "value": value.value,
        "unit": value.unit,
        "sigma": value.sigma,
        "quantiles": [[level, *bounds] for level, bounds in sorted(value.quantiles.items())],
        "out_of_domain": value.out_of_domain,
        "level_of_theory": None if theory is None else asdict(theory),
    }


def _value_of(document: Mapping[str, Any], confidence: float | None) -> PropertyValue:
    theory = document["level_of_theory"]
    return PropertyValue(
        value=document["value"],
        unit=document["unit"],
        sigma=document["sigma"],
        quantiles={level: (lower, upper) for level, lower, upper in document["quantiles"]},
        confidence=confidence,
        out_of_domain=document["out_of_domain"],
        level_of_theory=None if theory is None else LevelOfTheory(**theory),
    )


def prediction_record(row: PredictionTable, *, cached: bool) -> PredictionRecord:
    """The record of a row."""
    confidence, extra = row.confidence_scores, row.extra or {}
    documents = ordered(row.properties)  # JSONB keeps no order
    return PredictionRecord(
        id=row.id,
        structure_id=row.structure_id,
        model_name=row.model_name,
        model_version=row.model_version,
        generation=row.generation,
        values={name: _value_of(d, confidence.get(name)) for name, d in documents.items()},
        metadata={
            **extra,
            **({"weights": ordered(extra["weights"])} if "weights" in extra else {}),
            "level_of_theory": {name: d["level_of_theory"] for name, d in documents.items()},
            "units": {name: d["unit"] for name, d in documents.items()},
            "out_of_domain": {name: d["out_of_domain"] for name, d in documents.items()},
        },
        created_at=row.created_at,
        cached=cached,
    )
