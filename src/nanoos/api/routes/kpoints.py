"""K-point meshes: predicted, and written into inputs."""

from functools import partial
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from nanoos.api.context import Context, Lab
from nanoos.api.errors import answers
from nanoos.api.schemas.kpoints import (
    KpointAnswer,
    KpointBody,
    KpointFields,
    KpointInputAnswer,
    KpointInputBody,
    KpointInputFields,
    KpointModelList,
)
from nanoos.api.security import Reader, Writer
from nanoos.api.uploads import (
    form_documentation,
    form_fields,
    json_body,
    json_documentation,
    media_type,
    only_one,
    read_form,
    upload_name,
)
from nanoos.kpoints import KpointPrediction
from nanoos.services.access import Principal
from nanoos.services.container import Services
from nanoos.structures import Structure

router = APIRouter(
    prefix="/kpoints", tags=["k-points"], responses=answers(401, 403, 404, 413, 422, 429, 500, 503)
)

F = TypeVar("F", bound=KpointFields)

_PREDICT = {
    **json_documentation(KpointBody),
    **form_documentation(KpointFields, "file", several=False),
}
_INPUT = {
    **json_documentation(KpointInputBody),
    **form_documentation(KpointInputFields, "file", several=False),
}


@router.post(
    "/predict",
    response_model=KpointAnswer,
    responses=answers(409),
    openapi_extra={"requestBody": {"required": True, "content": _PREDICT}},
)
async def predict_kpoints(request: Request, context: Context, who: Writer) -> Any:
    """The mesh of a stored structure, or of an uploaded file (CIF, POSCAR, ...)."""
    lab = context.services
    structure, asked = await _asked(request, lab, who, KpointBody, KpointFields)
    found = await context.inference.run(
        partial(lab.kpoints.predict, structure, model_name=asked.model, confidence=asked.confidence)
    )
    return _answer(structure, found)


@router.post(
    "/input",
    response_model=KpointInputAnswer,
    responses=answers(409),
    openapi_extra={"requestBody": {"required": True, "content": _INPUT}},
)
async def kpoints_input(request: Request, context: Context, who: Writer) -> Any:
    """A complete Quantum ESPRESSO input with the predicted mesh."""
    lab = context.services
    structure, asked = await _asked(request, lab, who, KpointInputBody, KpointInputFields)
    found, made = await context.inference.run(
        partial(
            lab.kpoints.input,
            structure,
            model_name=asked.model,
            confidence=asked.confidence,
            family=asked.family,
        )
    )
    return {
        "input": made.text,
        "filename": made.filename,
        "family": made.family,
        "pseudopotentials": made.pseudopotentials,
        "reasons": made.reasons,
        "prediction": _answer(structure, found),
    }


@router.get("/models", response_model=KpointModelList)
def list_kpoint_models(lab: Lab, who: Reader) -> Any:
    """Every k-point model with what was measured of it."""
    del who
    models = lab.kpoints.models()
    return {"models": models, "count": len(models)}


async def _asked(
    request: Request, lab: Services, who: Principal, stored: type[F], beside_file: type[F]
) -> tuple[Structure, F]:
    """The structure of a request and the other fields: a form with a file, or JSON with an id."""
    if media_type(request) == "multipart/form-data":
        async with read_form(request, "file") as (form, files):
            fields = form_fields(form, beside_file, "file")
            name, data = upload_name(files[0]), await files[0].read()
        return await run_in_threadpool(only_one, name, data), fields
    body = await json_body(request, stored)
    structure_id = getattr(body, "structure_id")  # noqa: B009 - both bodies have it
    return await run_in_threadpool(lab.kpoints.structure, structure_id, who), body


def _answer(structure: Structure, found: KpointPrediction) -> dict[str, Any]:
    fields = {name: getattr(found, name) for name in found.__slots__}
    return {"formula": structure.formula, **fields, "reasons": list(found.reasons)}
