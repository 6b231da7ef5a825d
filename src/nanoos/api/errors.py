"""The one error shape, and the one place where errors become answers."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from nanoos.core.errors import (
    InvalidInputError,
    NanoosError,
    NotFoundError,
    RateLimitedError,
    TooLargeError,
)

log = structlog.get_logger(__name__)

_SHOWN_PROBLEMS: Final = 20


class ErrorDetail(BaseModel):
    """What went wrong and what to do about it."""

    code: str
    """For programs; does not change."""
    message: str
    """What happened."""
    hint: str | None
    """What to do about it."""
    details: dict[str, Any]
    """Facts for programs; depends on the code."""


class ErrorAnswer(BaseModel):
    """The body of every answer with a status of 400 or more."""

    error: ErrorDetail


_MEANINGS: Final[Mapping[int, str]] = {
    401: "No credentials, or credentials that do not hold.",
    403: "The credentials do not allow this.",
    404: "Not there, or not yours.",
    409: "The state of things does not allow this now; or the Idempotency-Key is in use.",
    413: "Larger than the server accepts.",
    422: "Malformed or out of range.",
    429: "Too many requests; Retry-After says when to come back.",
    500: "A defect of the server; `details.error_id` names it in the server's log.",
    503: "Something that this needs is missing or does not answer now.",
}


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI documentation of error answers, for ``responses=``."""
    return {status: {"model": ErrorAnswer, "description": _MEANINGS[status]} for status in statuses}


def error_answer(error: NanoosError) -> JSONResponse:
    """An error as an answer, with the headers that go with its status."""
    headers: dict[str, str] = {}
    if error.http_status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="nanoos"'
    if isinstance(error, RateLimitedError):
        headers["Retry-After"] = str(error.retry_after_s)
    elif "retry_after_s" in error.details:
        headers["Retry-After"] = str(error.details["retry_after_s"])
    elif error.http_status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "5"
    if isinstance(error, TooLargeError):
        headers["Connection"] = "close"  # the rest of the body is not worth reading
    return JSONResponse({"error": error.as_dict()}, error.http_status, headers=headers)


def defect_answer(error_id: str) -> JSONResponse:
    """The answer to a defect: no trace, only an id that names it in the log."""
    return JSONResponse(
        {
            "error": {
                "code": "internal_error",
                "message": "The server met a defect.",
                "hint": "Report it with the error id; the server's log has the rest.",
                "details": {"error_id": error_id},
            }
        },
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )


def install_error_handlers(app: FastAPI) -> None:
    """Give ``app`` its handlers."""

    @app.exception_handler(NanoosError)
    async def on_nanoos_error(request: Request, error: NanoosError) -> JSONResponse:
        if error.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.warning(
                "request failed", path=request.url.path, code=error.error_code, error=str(error)
            )
        return error_answer(error)

    @app.exception_handler(RequestValidationError)
    async def on_validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
        del request
        return error_answer(_from_validation(error))

    @app.exception_handler(HTTPException)
    async def on_http_exception(request: Request, error: HTTPException) -> JSONResponse:
        cause = error.__cause__
        if isinstance(cause, NanoosError):  # raised while the body was read
            return error_answer(cause)
        if error.status_code == HTTPStatus.NOT_FOUND:
            return error_answer(_unknown_route(request))
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            answer = error_answer(_wrong_method(request))
            answer.status_code = error.status_code
            answer.headers.update(error.headers or {})
            return answer
        return error_answer(InvalidInputError(f"The request cannot be read: {error.detail}."))


def _unknown_route(request: Request) -> NanoosError:
    return NotFoundError(
        f"There is nothing at {request.url.path}.",
        hint="GET /openapi.json has all routes, /docs shows them.",
        code="unknown_route",
    )


def _wrong_method(request: Request) -> NanoosError:
    return InvalidInputError(
        f"{request.url.path} does not answer {request.method}.",
        hint="The Allow header says what it does answer.",
        code="method_not_allowed",
    )


def _from_validation(error: RequestValidationError) -> InvalidInputError:
    problems = [
        {"where": [str(part) for part in entry["loc"]], "problem": str(entry["msg"])}
        for entry in error.errors()[:_SHOWN_PROBLEMS]
    ]
    first = problems[0]
    where = ".".join(first["where"][1:]) or first["where"][0]
    return InvalidInputError(
        f"{where}: {first['problem']}.",
        hint="The OpenAPI document (/openapi.json) says what this route takes.",
        details={"problems": problems},
        code="malformed_request",
    )
