"""Simulations: submit and read."""

import uuid
from typing import Any

from fastapi import APIRouter

from nanoos.api.context import Lab
from nanoos.api.errors import answers
from nanoos.api.schemas.work import (
    SimulationAnswer,
    SimulationBatchAnswer,
    SimulationBatchBody,
    SimulationBody,
)
from nanoos.api.security import Reader, Writer

router = APIRouter(
    prefix="/simulations", tags=["simulations"], responses=answers(401, 403, 422, 500, 503)
)


@router.post("", status_code=202, response_model=SimulationAnswer, responses=answers(404, 409, 413))
def submit_simulation(body: SimulationBody, lab: Lab, who: Writer) -> Any:
    """Queue a simulation, once for the same work; again where that failed or was cancelled."""
    return lab.simulations.submit(
        body.structure_id,
        who,
        engine=body.engine,
        workflow=body.workflow,
        parameters=body.parameters,
        priority=body.priority,
    )


@router.post(
    "/batch",
    status_code=202,
    response_model=SimulationBatchAnswer,
    responses=answers(404, 409, 413),
)
def submit_simulations(body: SimulationBatchBody, lab: Lab, who: Writer) -> Any:
    """Queue the same simulation of many structures; a bad one never fails the rest."""
    items = lab.simulations.submit_batch(
        body.structure_ids,
        who,
        engine=body.engine,
        workflow=body.workflow,
        parameters=body.parameters,
        priority=body.priority,
        together=body.together,
    )
    errors = sum(item.error is not None for item in items)
    return {"items": items, "total": len(items), "errors": errors}


@router.get("/{simulation_id:uuid}", response_model=SimulationAnswer, responses=answers(404))
def get_simulation(simulation_id: uuid.UUID, lab: Lab, who: Reader) -> Any:
    """One simulation and what came out."""
    return lab.simulations.get(simulation_id, who)
