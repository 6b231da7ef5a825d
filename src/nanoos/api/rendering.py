"""Predictions as bytes: rendered once, because a stored prediction never changes."""

import uuid
from collections import OrderedDict
from typing import Any, Final

from fastapi import Response

from nanoos.api.schemas.predictions import PredictionAnswer
from nanoos.services.prediction_records import PredictionRecord

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
