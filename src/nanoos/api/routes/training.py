"""Training models, and choosing which of them answers."""

import uuid
from typing import Any

from fastapi import APIRouter

from nanoos.api.context import Lab
from nanoos.api.errors import answers
from nanoos.api.schemas.training import (
    RegistryAnswer,
    RetrainAnswer,
    RetrainBody,
    TrainAnswer,
    TrainBody,
)
from nanoos.api.security import Admin, Reader, Writer

router = APIRouter(prefix="/ml", tags=["training"], responses=answers(401, 403, 422, 500, 503))


@router.post(
    "/train", status_code=202, response_model=TrainAnswer, responses=answers(404, 409, 413)
)
def train(body: TrainBody, lab: Lab, who: Writer) -> Any:
    """Queue a training; everything that can be known to go wrong is said before it is queued."""
    return lab.training.submit(body, who)


@router.post(
    "/retrain", status_code=202, response_model=RetrainAnswer, responses=answers(404, 409, 413)
)
def retrain(body: RetrainBody, lab: Lab, who: Admin) -> Any:
    """Train a model anew if there are enough new structures; it answers if it is better."""
    found = lab.training.check_and_retrain(
        body.model_name, who, dataset=body.dataset, min_new=body.min_new
    )
    return {"started": found is not None, "training": found}


@router.get("/models/{model_id}", response_model=RegistryAnswer, responses=answers(404))
def get_model(model_id: uuid.UUID, lab: Lab, who: Reader) -> Any:
    """One row of the model registry."""
    del who
    return lab.models.get(model_id)


@router.post(
    "/models/{model_id}/activate", response_model=RegistryAnswer, responses=answers(404, 409)
)
def activate_model(model_id: uuid.UUID, lab: Lab, who: Admin) -> Any:
    """Let the name of its type resolve to this model for its target."""
    activated = lab.models.activate(str(model_id), who)
    lab.predictions.forget()
    return activated
