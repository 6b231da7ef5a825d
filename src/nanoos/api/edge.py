"""The outermost layer: request ids, limits, headers, counting, logging, and defects."""

import re
import secrets
import time
import traceback
from typing import Any, Final

import structlog
from starlette.datastructures import MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nanoos.api.errors import defect_answer
from nanoos.api.metrics import Metrics
from nanoos.core.errors import TooLargeError

log = structlog.get_logger(__name__)

_MIB: Final = 1 << 20
JSON_LIMIT: Final = 32 * _MIB
"""Largest body that is no upload, bytes."""

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_API: Final = "/api/"
_VERSIONED: Final = "/api/v1"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_COMMON_HEADERS: Final = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_API_HEADERS: Final = [
    *_COMMON_HEADERS,
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
_PAGE_HEADERS: Final = [
    *_COMMON_HEADERS,
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
]


class Edge:
    """ASGI middleware around everything.

    An unversioned ``/api/...`` path is answered 308. A body that grows over the limit ends the
    request with 413 while it is read. What nothing else handled becomes a 500 with an id.

    Args:
        app: The application.
        metrics: Counts requests.
        max_upload_bytes: Largest body of an upload (``multipart/form-data``), bytes.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, max_upload_bytes: int) -> None:
        self._app = app
        self._metrics = metrics
        self._max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = _request_id(headers)
        exchange = _Exchange(scope, send, request_id)
        limited = _LimitedBody(receive, headers, self._max_upload_bytes)
        try:
            if scope["path"].startswith(_API) and not _is_versioned(scope["path"]):
                await _redirect(scope)(scope, receive, exchange.send)
            else:
                await self._app(scope, limited.receive, exchange.send)
        except Exception:
            error_id = secrets.token_hex(6)
            log.error(  # noqa: TRY400 - exception() would print the variables
                "defect",
                error_id=error_id,
                request_id=request_id.decode(),
                path=scope["path"],
                trace=traceback.format_exc(),  # without the values of variables: secrets are there
            )
            if exchange.status:
                raise  # the answer has begun; the server closes the connection
            await defect_answer(error_id)(scope, receive, exchange.send)
        finally:
            seconds = time.perf_counter() - started
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.count_request(method, _route(scope), exchange.status, seconds)
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=exchange.status,
                ms=round(seconds * 1000, 1),
                request_id=request_id.decode(),
            )


class _Exchange:
    """Adds the headers to the answer and remembers its status."""

    def __init__(self, scope: Scope, send: Send, request_id: bytes) -> None:
        self._send = send
        self._added = [
            (b"x-request-id", request_id),
            *(_API_HEADERS if scope["path"].startswith(_API) else _PAGE_HEADERS),
        ]
        self._is_api = scope["path"].startswith(_API)
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            headers: list[tuple[bytes, bytes]] = [*message.get("headers", ()), *self._added]
            if self._is_api and "cache-control" not in MutableHeaders(raw=headers):
                headers.append((b"cache-control", b"no-store"))
            message["headers"] = headers
        await self._send(message)


class _LimitedBody:
    """Counts the body while it is read."""

    def __init__(self, receive: Receive, headers: dict[bytes, bytes], max_upload: int) -> None:
        upload = headers.get(b"content-type", b"").startswith(b"multipart/form-data")
        self._limit = max_upload if upload else min(JSON_LIMIT, max_upload)
        declared = headers.get(b"content-length", b"")
        self._declared = int(declared) if declared.isdigit() else 0
        self._receive = receive
        self._read = 0

    async def receive(self) -> Message:
        if self._declared > self._limit:
            raise _too_large(self._limit)
        message = await self._receive()
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            if self._read > self._limit:
                raise _too_large(self._limit)
        return message


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(
        f"The body is larger than {limit // _MIB} MiB.",
        hint="Send less at once, or set NANO_OS_MAX_UPLOAD_MB on the server.",
        details={"limit_bytes": limit},
    )


def _request_id(headers: dict[bytes, bytes]) -> bytes:
    given = headers.get(b"x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return secrets.token_hex(8).encode()


def _is_versioned(path: str) -> bool:
    return path == _VERSIONED or path.startswith(_VERSIONED + "/")


def _redirect(scope: Scope) -> RedirectResponse:
    path = scope.get("raw_path") or scope["path"].encode()
    target = _VERSIONED.encode() + path.partition(b"?")[0].removeprefix(b"/api")
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    answer = RedirectResponse("", status_code=308)
    answer.headers["location"] = target.decode("latin-1")
    return answer


def _route(scope: Scope) -> str:
    route: Any = scope.get("route")
    path = getattr(route, "path", None)
    if not isinstance(path, str):
        return "unknown"
    return _VERSIONED + path if scope["path"].startswith(_VERSIONED) else path
