"""Data sets: import, list, export, plot, delete."""

import tempfile
import uuid
from pathlib import Path, PurePath
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from nanoos.api.context import Lab
from nanoos.api.downloads import download, streamed
from nanoos.api.errors import answers
from nanoos.api.schemas.common import PageAnswer, PageQuery
from nanoos.api.schemas.datasets import (
    DatasetAnswer,
    DatasetBody,
    DatasetFields,
    DatasetFormat,
    DatasetJob,
)
from nanoos.api.security import Admin, Reader, Writer
from nanoos.api.uploads import (
    form_documentation,
    form_fields,
    json_body,
    json_documentation,
    media_type,
    read_form,
)
from nanoos.services.access import Principal
from nanoos.services.container import Services
from nanoos.services.datasets import SMALL_BYTES

router = APIRouter(
    prefix="/datasets", tags=["data sets"], responses=answers(401, 403, 422, 500, 503)
)

_CHUNK = 1 << 20
_BODY = {
    **json_documentation(DatasetBody),
    **form_documentation(DatasetFields, "file", several=False),
}


@router.post(
    "",
    status_code=201,
    response_model=DatasetAnswer | DatasetJob,
    responses={
        202: {"model": DatasetJob, "description": "It takes a while: a job does it."},
        **answers(404, 409, 413),
    },
    openapi_extra={"requestBody": {"required": True, "content": _BODY}},
)
async def add_dataset(request: Request, response: Response, lab: Lab, who: Writer) -> Any:
    """Import a file, rows of an open database, or simulation results.

    A file is parquet, CSV, JSON, extended XYZ or a zip of a CGCNN folder.
    """
    if media_type(request) == "multipart/form-data":
        async with read_form(request, "file") as (form, files):
            fields = form_fields(form, DatasetFields, "file")
            made = await run_in_threadpool(_from_upload, lab, who, fields, files[0])
    else:
        body = await json_body(request, DatasetBody)
        made = await run_in_threadpool(_from_elsewhere, lab, who, body)
    if isinstance(made, uuid.UUID):
        response.status_code = 202
        return DatasetJob(job_id=made)
    return made


@router.get("", response_model=PageAnswer[DatasetAnswer])
def list_datasets(query: Annotated[PageQuery, Query()], lab: Lab, who: Reader) -> Any:
    """Own and shared data sets, newest first."""
    return lab.datasets.page(who, cursor=query.cursor, limit=query.limit)


@router.get("/{dataset_id:uuid}", response_model=DatasetAnswer, responses=answers(404))
def get_dataset(dataset_id: uuid.UUID, lab: Lab, who: Reader) -> Any:
    """One data set."""
    return lab.datasets.get(dataset_id, who)


@router.get(
    "/{dataset_id}/export",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {}}, "description": "The file."},
        **answers(404),
    },
)
def export_dataset(
    dataset_id: uuid.UUID,
    lab: Lab,
    who: Reader,
    format: Annotated[DatasetFormat, Query()] = "parquet",  # noqa: A002 - the contract's name
) -> Response:
    """All rows as a file."""
    return streamed(*lab.datasets.export(dataset_id, who, format))


@router.get(
    "/{dataset_id}/plot.png",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}, "description": "The picture."}, **answers(404)},
)
def plot_dataset(dataset_id: uuid.UUID, lab: Lab, who: Reader) -> Response:
    """Histograms of the targets, and the elements on a periodic table."""
    return download(lab.datasets.plot(dataset_id, who), "image/png", "dataset.png")


@router.delete("/{dataset_id:uuid}", status_code=204, responses=answers(404))
def delete_dataset(dataset_id: uuid.UUID, lab: Lab, who: Admin) -> None:
    """Delete a data set; models that were trained on it stay."""
    lab.datasets.delete(dataset_id, who)


def _from_upload(lab: Services, who: Principal, fields: DatasetFields, file: UploadFile) -> Any:
    name = PurePath((file.filename or "dataset").replace("\\", "/")).name[:200] or "dataset"
    given: dict[str, Any] = {
        "name": fields.name,
        "options": fields.options,
        "shared": fields.shared,
        "file_name": name,
    }
    lab.datasets.check_name(fields.name)
    with tempfile.TemporaryDirectory(prefix="nanoos-upload-") as folder:
        path = Path(folder) / f"upload{''.join(PurePath(name).suffixes[-2:])}"
        with path.open("wb") as target:
            while chunk := file.file.read(_CHUNK):
                target.write(chunk)
        if path.stat().st_size > SMALL_BYTES:
            return lab.datasets.submit_upload(path, who, **given)
        return lab.datasets.import_file(path, who, **given)


def _from_elsewhere(lab: Services, who: Principal, body: DatasetBody) -> Any:
    given: dict[str, Any] = {"name": body.name, "options": body.options, "shared": body.shared}
    if body.simulations is not None:
        return lab.datasets.import_simulations(body.simulations, who, **given)
    return lab.datasets.submit_database(body.database or "", who, **given)
