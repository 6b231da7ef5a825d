"""Materials: a formula with its structures."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Query

from nanoos.api.context import Context, Lab
from nanoos.api.errors import answers
from nanoos.api.schemas.common import PageAnswer
from nanoos.api.schemas.crystals import (
    MaterialAnswer,
    MaterialBody,
    MaterialChange,
    MaterialQuery,
)
from nanoos.api.security import Reader, Writer

router = APIRouter(
    prefix="/materials", tags=["materials"], responses=answers(401, 403, 422, 500, 503)
)


@router.get("", response_model=PageAnswer[MaterialAnswer])
def list_materials(query: Annotated[MaterialQuery, Query()], lab: Lab, who: Reader) -> Any:
    """Own and shared materials, newest first."""
    return lab.materials.page(who, **query.model_dump())


@router.post("", status_code=201, response_model=MaterialAnswer, responses=answers(409, 413))
def create_material(body: MaterialBody, lab: Lab, who: Writer) -> Any:
    """Make a material; adding a structure makes its material by itself."""
    return lab.materials.create(
        body.formula, who, name=body.name, notes=body.notes, shared=body.shared
    )


@router.get("/{material_id}", response_model=MaterialAnswer, responses=answers(404))
def get_material(material_id: uuid.UUID, lab: Lab, who: Reader) -> Any:
    """One material."""
    return lab.materials.get(material_id, who)


@router.patch("/{material_id}", response_model=MaterialAnswer, responses=answers(404, 413))
def change_material(material_id: uuid.UUID, body: MaterialChange, lab: Lab, who: Writer) -> Any:
    """Change name, notes or sharing."""
    return lab.materials.update(material_id, who, **body.changes())


@router.delete("/{material_id}", status_code=204, responses=answers(404, 409))
def delete_material(material_id: uuid.UUID, context: Context, who: Writer) -> None:
    """Delete a material with its structures and all that hangs on them."""
    context.services.materials.delete(material_id, who)
    context.services.predictions.forget()
