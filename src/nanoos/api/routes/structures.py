"""Structures: upload, bulk import, list, export, delete, and their simulations."""

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from nanoos.api.context import Context, Lab
from nanoos.api.downloads import download
from nanoos.api.errors import answers
from nanoos.api.schemas.common import PageAnswer, PageQuery
from nanoos.api.schemas.crystals import (
    AddedStructure,
    ExportFormat,
    ImportAnswer,
    ImportFields,
    StructureAnswer,
    StructureBody,
    StructureQuery,
    StructureSummary,
    UploadFields,
)
from nanoos.api.schemas.work import SimulationAnswer
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
from nanoos.services.structure_records import StructureRecord
from nanoos.structures import ReadOutcome, read_structures_from_bytes
from nanoos.structures.io import MEDIA_TYPES

router = APIRouter(
    prefix="/structures", tags=["structures"], responses=answers(401, 403, 422, 500, 503)
)

_ONE = {
    **json_documentation(StructureBody),
    **form_documentation(UploadFields, "file", several=False),
}
_MANY = form_documentation(ImportFields, "files", several=True)


@router.post(
    "",
    status_code=201,
    response_model=AddedStructure,
    responses={
        200: {"model": AddedStructure, "description": "It was there already."},
        **answers(404, 409, 413),
    },
    openapi_extra={"requestBody": {"required": True, "content": _ONE}},
)
async def add_structure(request: Request, response: Response, lab: Lab, who: Writer) -> Any:
    """Add one structure: a file (CIF, POSCAR, extended XYZ, XSF, JSON) or JSON."""
    fields: UploadFields | StructureBody
    if media_type(request) == "multipart/form-data":
        async with read_form(request, "file") as (form, files):
            fields = form_fields(form, UploadFields, "file")
            name, data = upload_name(files[0]), await files[0].read()
    else:
        body = await json_body(request, StructureBody)
        fields, name, data = body, "structure.json", json.dumps(body.structure).encode()
    structure = await run_in_threadpool(only_one, name, data)
    source = {"kind": "upload", "file": name}
    record, is_new = await run_in_threadpool(
        lab.structures.add,
        structure,
        who,
        source=source,
        shared=fields.shared,
        material_id=fields.material_id,
        as_given=fields.as_given,
    )
    response.status_code = 201 if is_new else 200
    features = not is_new and bool(await run_in_threadpool(lab.features.with_features, [record.id]))
    return _with(record, duplicate=not is_new, features=features)


@router.post(
    "/import",
    response_model=ImportAnswer,
    responses=answers(404, 409, 413),
    openapi_extra={"requestBody": {"required": True, "content": _MANY}},
)
async def import_structures(request: Request, lab: Lab, who: Writer) -> Any:
    """Import many: files of any known format and zips of them; one answer for each structure."""
    async with read_form(request, "files", several=True) as (form, files):
        fields = form_fields(form, ImportFields, "files")
        lines = await run_in_threadpool(
            lambda: list(
                lab.structures.import_outcomes(_outcomes(files), who, shared=fields.shared)
            )
        )
    counts = Counter(line.status for line in lines)
    names = ("imported", "duplicate", "refused")
    return {"items": lines, **{name: counts[name] for name in names}}


@router.get("", response_model=PageAnswer[StructureSummary])
def list_structures(query: Annotated[StructureQuery, Query()], lab: Lab, who: Reader) -> Any:
    """Own and shared structures, newest first."""
    filters = query.model_dump(exclude={"elements", "nsites"})
    if query.nsites is not None:
        filters |= {"min_sites": query.nsites, "max_sites": query.nsites}
    elements = tuple(query.elements.split(",")) if query.elements else ()
    page = lab.structures.page(who, elements=elements, **filters)
    known = lab.features.with_features([record.id for record in page.items])
    items = [_with(record, features=record.id in known) for record in page.items]
    return {"items": items, "total": page.total, "next": page.next}


@router.get("/{structure_id:uuid}", response_model=StructureAnswer, responses=answers(404))
def get_structure(structure_id: uuid.UUID, lab: Lab, who: Reader) -> Any:
    """One structure."""
    record = lab.structures.get(structure_id, who)
    return _with(record, features=bool(lab.features.with_features([structure_id])))


@router.get(
    "/{structure_id}/export",
    response_class=Response,
    responses={
        200: {
            "content": {kind: {} for kind in sorted(set(MEDIA_TYPES.values()))},
            "description": "The file.",
        },
        **answers(404),
    },
)
def export_structure(
    structure_id: uuid.UUID,
    lab: Lab,
    who: Reader,
    format: Annotated[ExportFormat, Query()] = "cif",  # noqa: A002 - the contract's name
) -> Response:
    """One structure as a file."""
    return download(*lab.structures.export([structure_id], who, format))


@router.delete("/{structure_id:uuid}", status_code=204, responses=answers(404, 409))
def delete_structure(structure_id: uuid.UUID, context: Context, who: Writer) -> None:
    """Delete a structure of one's own with its predictions and simulations."""
    context.services.structures.delete(structure_id, who)
    context.services.predictions.forget()


@router.get(
    "/{structure_id}/simulations",
    response_model=PageAnswer[SimulationAnswer],
    responses=answers(404),
)
def list_simulations(
    structure_id: uuid.UUID, query: Annotated[PageQuery, Query()], lab: Lab, who: Reader
) -> Any:
    """Simulations of a structure, newest first."""
    return lab.simulations.page_of_structure(
        structure_id, who, cursor=query.cursor, limit=query.limit
    )


def _outcomes(files: list[UploadFile]) -> Iterator[ReadOutcome]:
    for file in files:
        yield from read_structures_from_bytes(upload_name(file), file.file.read())


def _with(record: StructureRecord, **more: Any) -> dict[str, Any]:
    return {**{name: getattr(record, name) for name in record.__slots__}, **more}
