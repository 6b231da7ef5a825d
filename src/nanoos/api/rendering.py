"""Predictions as bytes: rendered once, because a stored prediction never changes."""

import uuid
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from fastapi import Response

from nanoos.api.schemas.predictions import (
    ExplanationAnswer,
    GNNPredictAnswer,
    GNNPredictBody,
    IntervalAnswer,
    PredictionAnswer,
)
from nanoos.core.properties import ordered
from nanoos.core.records import PropertyValue
from nanoos.services.prediction_records import PredictionRecord

if TYPE_CHECKING:
    from nanoos.models import Explanation, SampledPrediction
    from nanoos.services.prediction_models import ChosenModel

_KEPT: Final = 4096


class PredictionRenderer:
    """Renders predictions and keeps what it rendered. Call in the event loop only."""

    def __init__(self) -> None:
        self._bytes: OrderedDict[tuple[uuid.UUID, float, bool], bytes] = OrderedDict()

    def answer(self, record: PredictionRecord, level: float) -> Response:
        """A prediction with its intervals at ``level``."""
        key = (record.id, level, record.cached)
        body = self._bytes.get(key)
        if body is None:
            body = prediction_answer(record, level).model_dump_json().encode()
            self._bytes[key] = body
            if len(self._bytes) > _KEPT:
                self._bytes.popitem(last=False)
        return Response(body, media_type="application/json")


def prediction_response(
    record: PredictionRecord, level: float, explanations: "Mapping[str, Explanation]"
) -> Response:
    """A prediction with what drove it."""
    answer = prediction_answer(record, level).model_copy(
        update={"explanations": _explanations(explanations)}
    )
    return Response(answer.model_dump_json(), media_type="application/json")


def sampled_answer(
    body: GNNPredictBody,
    chosen: "ChosenModel",
    sampled: "Mapping[str, SampledPrediction]",
    explanations: "Mapping[str, Explanation] | None",
) -> GNNPredictAnswer:
    """A prediction with the spread of its samples."""
    sampled = ordered(sampled)
    values = {name: one.value for name, one in sampled.items()}
    asked = body.return_uncertainty
    return GNNPredictAnswer(
        structure_id=body.structure_id,
        gnn_model_name=chosen.info.name,
        model_version=chosen.info.version,
        prediction={name: value.value for name, value in values.items()},
        units={name: value.unit for name, value in values.items()},
        uncertainty={
            n: one.uncertainty for n, one in sampled.items() if one.uncertainty is not None
        }
        if asked
        else None,
        interval={name: _interval(value, body.level) for name, value in values.items()}
        if asked
        else None,
        model_agreement={name: one.model_agreement for name, one in sampled.items()}
        if asked and body.uncertainty_method == "ensemble"
        else None,
        uncertainty_method=body.uncertainty_method if asked else None,
        n_samples=max((len(one.samples) for one in sampled.values()), default=0) if asked else None,
        predictions_raw={name: list(one.samples) for name, one in sampled.items()}
        if asked and body.return_predictions
        else None,
        out_of_domain={name: value.out_of_domain for name, value in values.items()},
        weights={name: chosen.weights(name) for name in values},
        explanations=None if explanations is None else _explanations(explanations),
    )


def _interval(value: PropertyValue, level: float) -> IntervalAnswer:
    lower, upper = value.interval(level) or (None, None)
    return IntervalAnswer(lower=lower, upper=upper, level=level, sigma=value.sigma)


def _explanations(found: "Mapping[str, Explanation]") -> dict[str, ExplanationAnswer]:
    return {name: ExplanationAnswer.model_validate(one) for name, one in ordered(found).items()}


def prediction_answer(record: PredictionRecord, level: float) -> PredictionAnswer:
    """A prediction as the API shows it."""
    fields: dict[str, Any] = {
        "id": record.id,
        "structure_id": record.structure_id,
        "model_name": record.model_name,
        "model_version": record.model_version,
        "properties": record.properties,
        "confidence_scores": record.confidence_scores,
        "intervals": record.intervals(level),
        "cached": record.cached,
        "metadata": record.metadata,
        "created_at": record.created_at,
    }
    return PredictionAnswer.model_validate(fields)
