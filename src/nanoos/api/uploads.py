"""Bodies that are either a form with files or JSON, checked like any other."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import PurePath
from typing import Any, Final, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from nanoos.core.errors import InvalidInputError
from nanoos.structures import Structure, read_structure_from_bytes

M = TypeVar("M", bound=BaseModel)

MOST_FILES: Final = 10_000
_FORM: Final = "multipart/form-data"
_JSON: Final = "application/json"


@asynccontextmanager
async def read_form(
    request: Request, files: str, *, several: bool = False
) -> AsyncIterator[tuple[FormData, list[UploadFile]]]:
    """The form of a request and the files of its field ``files``, open while the block lasts.

    Raises:
        InvalidInputError: no form, no file, something else where the files belong, or several
            where one is taken.
    """
    if media_type(request) != _FORM:
        raise InvalidInputError(
            f"This route takes {_FORM}.", hint=f"Send the files as the form field {files!r}."
        )
    try:
        form = await request.form(max_files=MOST_FILES, max_fields=100)
    except HTTPException as error:
        raise InvalidInputError(f"The form cannot be read: {error.detail}.") from error
    try:
        given = form.getlist(files)
        uploads = [entry for entry in given if isinstance(entry, UploadFile)]
        if not uploads or len(uploads) != len(given):
            raise InvalidInputError(
                f"The form has no file in the field {files!r}.",
                hint=f"Name the field of the files {files!r}: curl -F {files}=@FILE.",
            )
        if len(uploads) > 1 and not several:
            raise InvalidInputError(
                f"{len(uploads)} files were sent, and this route takes one.",
                hint="Send them one by one.",
                code="several_files",
            )
        yield form, uploads
    finally:
        await form.close()


def form_fields(form: FormData, model: type[M], files: str) -> M:
    """The other fields of a form, checked against ``model``.

    Raises:
        RequestValidationError: they do not fit.
    """
    return checked(model, {k: v for k, v in form.multi_items() if k != files})


async def json_body(request: Request, model: type[M]) -> M:
    """A JSON body, checked against ``model``.

    Raises:
        InvalidInputError: no JSON.
        RequestValidationError: it does not fit.
    """
    if media_type(request) != _JSON:
        raise InvalidInputError(f"This route takes {_JSON} or {_FORM}.")
    try:
        document = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"The body is no JSON: {error}.") from error
    return checked(model, document)


def checked(model: type[M], document: Any) -> M:
    """``document`` as ``model``. Raises RequestValidationError."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise RequestValidationError(
            [{**entry, "loc": ("body", *entry["loc"])} for entry in error.errors()]
        ) from error


def media_type(request: Request) -> str:
    """The type of the body without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().casefold()


def upload_name(file: UploadFile) -> str:
    """What a file is called by who sent it, without folders."""
    return PurePath((file.filename or "structure").replace("\\", "/")).name[:200] or "structure"


def only_one(name: str, data: bytes) -> Structure:
    """The structure of a file that holds one.

    Raises:
        StructureRefusedError: it cannot be read, or holds several.
    """
    return read_structure_from_bytes(
        name, data, several="Send it to POST /api/v1/structures/import."
    )


def form_documentation(model: type[BaseModel], files: str, *, several: bool) -> Mapping[str, Any]:
    """OpenAPI content of a form with files and the fields of ``model``."""
    schema = _whole_schema(model)
    file: dict[str, Any] = {"type": "string", "format": "binary"}
    if several:
        file = {"type": "array", "items": file, "minItems": 1}
    schema["properties"] = {files: file, **schema["properties"]}
    schema["required"] = [files, *schema.get("required", [])]
    return {_FORM: {"schema": schema}}


def json_documentation(model: type[BaseModel]) -> Mapping[str, Any]:
    """OpenAPI content of a JSON body."""
    return {_JSON: {"schema": _whole_schema(model)}}


def _whole_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema without references: pydantic's point to where they are not in OpenAPI."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})

    def whole(node: Any) -> Any:
        if isinstance(node, list):
            return [whole(item) for item in node]
        if not isinstance(node, dict):
            return node
        reference = node.get("$ref")
        if isinstance(reference, str):
            node = parts[reference.removeprefix("#/$defs/")] | {
                key: value for key, value in node.items() if key != "$ref"
            }
        return {key: whole(value) for key, value in node.items()}

    return {key: whole(value) for key, value in schema.items()}
