"""Features of structures: compute, look, download."""

import uuid
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from nanoos.api.context import Context, Lab
from nanoos.api.downloads import download
from nanoos.api.errors import answers
from nanoos.api.schemas.features import (
    FeatureAnswer,
    FeatureBatchAnswer,
    FeatureBatchBody,
    FeatureBody,
    FeatureJobBody,
    FeatureList,
    FeatureParametersBody,
)
from nanoos.api.schemas.work import JobAnswer
from nanoos.api.security import Reader, Writer
from nanoos.features import FeatureParameters, graph_to_npz

router = APIRouter(
    prefix="/ml/features", tags=["features"], responses=answers(401, 403, 422, 500, 503)
)

_NPZ = {200: {"content": {"application/octet-stream": {}}, "description": "For numpy.load."}}


@router.post(
    "/structure/{structure_id:uuid}",
    response_model=FeatureAnswer,
    responses=answers(404, 409, 413, 429),
)
async def compute_features(
    structure_id: uuid.UUID, context: Context, who: Writer, body: FeatureBody | None = None
) -> Any:
    """Features of a stored structure; what is stored already is answered at once."""
    asked = body or FeatureBody()
    return await context.inference.run(
        partial(
            context.services.features.compute,
            structure_id,
            who,
            parameters=_parameters(asked),
            force_recompute=asked.force_recompute,
        )
    )


@router.get("/structure/{structure_id:uuid}", response_model=FeatureList, responses=answers(404))
def list_features(structure_id: uuid.UUID, lab: Lab, who: Reader) -> Any:
    """Which features of a structure are stored; none is an empty list."""
    found = lab.features.of_structure(structure_id, who)
    return {"structure_id": structure_id, "features": found, "count": len(found)}


@router.get(
    "/structure/{structure_id}/npz",
    response_class=Response,
    responses={**_NPZ, **answers(404)},  # type: ignore[dict-item]
)
def download_features(
    structure_id: uuid.UUID, query: Annotated[FeatureParametersBody, Query()], lab: Lab, who: Reader
) -> Response:
    """The stored graph as an npz file: atoms, bonds, distances (Å), vectors (Å), lattice."""
    graph = lab.features.graph(structure_id, who, parameters=_parameters(query))
    return download(graph_to_npz(graph), "application/octet-stream", f"{structure_id}.npz")


@router.post("/batch", response_model=FeatureBatchAnswer, responses=answers(404, 409, 413, 429))
async def compute_features_batch(body: FeatureBatchBody, context: Context, who: Writer) -> Any:
    """Features of 1 to 100 structures; one bad structure never fails the rest."""
    batch = await context.inference.run(
        partial(
            context.services.features.batch,
            body.structure_ids,
            who,
            parameters=_parameters(body),
            force_recompute=body.force_recompute,
        )
    )
    return {
        "features": batch.features,
        "total": batch.total,
        "cached": batch.cached,
        "new": batch.new,
        "errors": batch.errors or None,
    }


@router.post("/jobs", status_code=202, response_model=JobAnswer, responses=answers(404, 409, 413))
def submit_features(body: FeatureJobBody, lab: Lab, who: Writer) -> Any:
    """Queue a job that computes the features of many structures, or of all."""
    return lab.features.submit(
        who,
        structure_ids=body.structure_ids,
        parameters=_parameters(body),
        force_recompute=body.force_recompute,
        priority=body.priority,
    )


def _parameters(asked: FeatureParametersBody) -> FeatureParameters:
    return FeatureParameters(cutoff_radius=asked.cutoff_radius, max_neighbors=asked.max_neighbors)
