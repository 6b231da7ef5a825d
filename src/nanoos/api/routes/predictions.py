"""Predictions of models, and the models themselves."""

import uuid
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from nanoos.api.context import ApiContext, Context, Lab
from nanoos.api.errors import answers
from nanoos.api.rendering import prediction_answer, prediction_response, sampled_answer
from nanoos.api.schemas.predictions import (
    BatchAnswer,
    ComparisonAnswer,
    GNNPredictAnswer,
    GNNPredictBody,
    HistoryAnswer,
    Level,
    ModelList,
    ModelName,
    MonitoringAnswer,
    PredictBatchBody,
    PredictBody,
    PredictionAnswer,
)
from nanoos.api.security import Admin, Reader, Writer
from nanoos.services.access import Principal
from nanoos.services.prediction_records import PredictionRecord

router = APIRouter(prefix="/ml", tags=["predictions"], responses=answers(401, 403, 422, 500, 503))

_CHOSEN = Annotated[ModelName | None, Query()]


@router.post("/properties", response_model=PredictionAnswer, responses=answers(404, 409, 413, 429))
async def predict(body: PredictBody, context: Context, who: Writer) -> Response:
    """Predict the properties of a stored structure; what is stored already is answered at once."""
    record = await _predicted(body, context, who)
    context.metrics.count_prediction(cached=record.cached)
    if not body.explain:
        return context.rendered.answer(record, body.level)
    explanations = await context.inference.run(
        partial(
            context.services.predictions.explain,
            body.structure_id,
            who,
            model_name=body.model_name,
        )
    )
    return prediction_response(record, body.level, explanations)


@router.get(
    "/properties/{structure_id:uuid}", response_model=PredictionAnswer, responses=answers(404)
)
async def latest_prediction(
    structure_id: uuid.UUID,
    context: Context,
    who: Reader,
    model_name: _CHOSEN = None,
    level: Annotated[Level, Query()] = 0.9,
) -> Response:
    """The latest stored prediction of a structure, of one model or of any."""
    predictions = context.services.predictions
    record = predictions.remembered_latest(structure_id, who, model_name)
    if record is None:
        record = await context.flights.join(
            ("latest", who, structure_id, model_name),
            partial(predictions.latest, structure_id, who, model_name),
        )
    context.metrics.count_prediction(cached=True)
    return context.rendered.answer(record, level)


@router.get(
    "/properties/{structure_id}/history", response_model=HistoryAnswer, responses=answers(404)
)
def prediction_history(
    structure_id: uuid.UUID, lab: Lab, who: Reader, level: Annotated[Level, Query()] = 0.9
) -> Any:
    """All predictions of a structure, newest first."""
    records = lab.predictions.history(structure_id, who)
    return {
        "structure_id": structure_id,
        "predictions": [prediction_answer(record, level) for record in records],
        "count": len(records),
        "models_used": sorted({record.model_name for record in records}),
    }


@router.post("/properties/batch", response_model=BatchAnswer, responses=answers(404, 409, 413, 429))
async def predict_batch(body: PredictBatchBody, context: Context, who: Writer) -> Any:
    """Predict for 1 to 100 structures; one bad structure never fails the rest."""
    batch = await context.inference.run(
        partial(
            context.services.predictions.batch,
            body.structure_ids,
            who,
            model_name=body.model_name,
            force_recompute=body.force_recompute,
        )
    )
    for record in batch.predictions:
        context.metrics.count_prediction(cached=record.cached)
    return {
        "predictions": [prediction_answer(one, body.level) for one in batch.predictions],
        "total": batch.total,
        "cached": batch.cached,
        "new": batch.new,
        "errors": batch.errors or None,
    }


@router.post(
    "/gnn/properties", response_model=GNNPredictAnswer, responses=answers(404, 409, 413, 429)
)
async def predict_with_uncertainty(body: GNNPredictBody, context: Context, who: Writer) -> Any:
    """Predict with a graph network, many times: dropout left on, or every member of an ensemble."""
    predictions = context.services.predictions
    chosen, sampled = await context.inference.run(
        partial(
            predictions.sample,
            body.structure_id,
            who,
            model_name=body.gnn_model_name,
            method=body.uncertainty_method if body.return_uncertainty else None,
            n_samples=body.n_samples,
        )
    )
    explanations = None
    if body.explain:
        explanations = await context.inference.run(
            partial(predictions.explain, body.structure_id, who, model_name=body.gnn_model_name)
        )
    return sampled_answer(body, chosen, sampled, explanations)


@router.get("/compare/{structure_id:uuid}", response_model=ComparisonAnswer, responses=answers(404))
def compare(
    structure_id: uuid.UUID,
    lab: Lab,
    who: Reader,
    prediction_id: Annotated[uuid.UUID | None, Query()] = None,
    simulation_id: Annotated[uuid.UUID | None, Query()] = None,
    level: Annotated[Level, Query()] = 0.9,
) -> Any:
    """A prediction beside a completed simulation; unlike quantities are never compared."""
    return lab.comparisons.compare(
        structure_id, who, prediction_id=prediction_id, simulation_id=simulation_id, level=level
    )


@router.delete("/properties/{prediction_id:uuid}", status_code=204, responses=answers(404))
def delete_prediction(prediction_id: uuid.UUID, lab: Lab, who: Admin) -> None:
    """Delete a prediction; within 2 s no process answers with it."""
    lab.predictions.delete(prediction_id, who)


@router.get("/models", response_model=ModelList)
def list_models(lab: Lab, who: Reader) -> Any:
    """Every model with what it predicts and how good it was measured to be."""
    del who
    models = lab.predictions.models()
    return {"models": models, "count": len(models)}


@router.get(
    "/models/{model_id:uuid}/monitoring", response_model=MonitoringAnswer, responses=answers(404)
)
def model_monitoring(model_id: uuid.UUID, lab: Lab, who: Reader) -> Any:
    """How a trained model does against simulation results, beside its card."""
    del who
    return lab.monitoring.report(model_id)


async def _predicted(body: PredictBody, context: ApiContext, who: Principal) -> PredictionRecord:
    """From memory, else from the database, else computed in the one thread that runs models."""
    predictions = context.services.predictions
    asked = (body.structure_id, who)
    if not body.force_recompute:
        record = predictions.remembered(*asked, model_name=body.model_name)
        if record is None:
            record = await context.flights.join(
                ("stored", who, body.structure_id, body.model_name),
                partial(predictions.stored, *asked, model_name=body.model_name),
            )
        if record is not None:
            return record
    work = partial(
        predictions.predict,
        *asked,
        model_name=body.model_name,
        force_recompute=body.force_recompute,
    )
    return await context.inference.run(work)
