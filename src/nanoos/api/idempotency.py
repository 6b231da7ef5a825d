"""``Idempotency-Key``: a repeated POST gets the answer of the first."""

import asyncio
import contextlib
import hashlib
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from tempfile import SpooledTemporaryFile
from typing import Final

from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nanoos.api.errors import error_answer
from nanoos.api.flights import Flights
from nanoos.api.security import identify
from nanoos.core.errors import InvalidInputError, NanoosError
from nanoos.services.idempotency import RENEW_S, IdempotencyService, StoredAnswer
from nanoos.services.users import UserService

HEADER: Final = "Idempotency-Key"
EXCLUDED: Final = "/api/v1/auth/"
"""Answers of these routes hold secrets, which are never stored: the key has no effect there."""

DOCUMENTATION: Final = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Repeating the same request with the same key within 24 h gives the first "
    "answer again and changes nothing.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}
"""The header as an OpenAPI parameter."""

_IN_MEMORY: Final = 1 << 20
_CHUNK: Final = 1 << 16
_KEY: Final = re.compile(r"[!-~]{1,255}")


class IdempotentPosts:
    """ASGI middleware: remembers the answers of successful POSTs that carry the header.

    A request that was refused has changed nothing; its key may be used again. Keys belong to
    the user who sends them.

    Args:
        app: The application.
        users: Say whose key it is.
        store: Remembers answers.
    """

    def __init__(
        self, app: ASGIApp, *, users: UserService, flights: Flights, store: IdempotencyService
    ) -> None:
        self._app = app
        self._users = users
        self._flights = flights
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        key = headers.get(HEADER)
        if key is None or scope["path"].startswith(EXCLUDED):
            await self._app(scope, receive, send)
            return
        try:
            await self._once(key, headers, scope, receive, send)
        except NanoosError as error:
            await error_answer(error)(scope, receive, send)

    async def _once(
        self, key: str, headers: Headers, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if not _KEY.fullmatch(key):
            raise InvalidInputError(
                f"The {HEADER} cannot be used.", hint="1 to 255 printable ASCII characters."
            )
        who = await identify(self._users, self._flights, headers)
        with SpooledTemporaryFile(max_size=_IN_MEMORY) as body:
            async for chunk in _chunks(receive):
                body.write(chunk)
            digest = await run_in_threadpool(_digest, scope, headers, body)
            begun = await run_in_threadpool(self._store.begin, who.user_id, key, digest)
            if isinstance(begun, StoredAnswer):
                await _replay(begun)(scope, receive, send)
                return
            body.seek(0)
            await self._work(begun, body, scope, receive, send)

    async def _work(
        self,
        claim: uuid.UUID,
        body: "SpooledTemporaryFile[bytes]",
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        answer = _Recorder()
        renewing = asyncio.create_task(self._renew(claim))
        try:
            await self._app(scope, _from_file(body, receive), answer.send)
        finally:
            renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewing
            if 200 <= answer.status < 300:  # noqa: PLR2004 - success
                stored = StoredAnswer(status=answer.status, body=answer.text())
                await run_in_threadpool(self._store.finish, claim, stored)
            else:
                await run_in_threadpool(self._store.release, claim)
        for message in answer.messages:
            await send(message)

    async def _renew(self, claim: uuid.UUID) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            with contextlib.suppress(NanoosError):
                await run_in_threadpool(self._store.renew, claim)


class _Recorder:
    """Keeps an answer until it is stored."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self.messages.append(message)

    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.messages).decode()


def _replay(answer: StoredAnswer) -> Response:
    return Response(
        answer.body or None,
        answer.status,
        headers={"Idempotent-Replayed": "true"},
        media_type="application/json" if answer.body else None,
    )


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        yield message.get("body", b"")
        more = message.get("more_body", False)


def _from_file(body: "SpooledTemporaryFile[bytes]", receive: Receive) -> Receive:
    ended = False

    async def replayed() -> Message:
        nonlocal ended
        if ended:
            return await receive()
        chunk = body.read(_CHUNK)
        ended = len(chunk) < _CHUNK
        return {"type": "http.request", "body": chunk, "more_body": not ended}

    return replayed


def _digest(scope: Scope, headers: Headers, body: "SpooledTemporaryFile[bytes]") -> str:
    """Hash of what is asked; the boundary of a form is chosen anew for each request."""
    media_type, _, parameters = headers.get("content-type", "").partition(";")
    digest = hashlib.sha256()
    for part in (scope["path"].encode(), scope["query_string"], media_type.strip().encode()):
        digest.update(part + b"\0")
    boundary = b""
    if media_type.strip().casefold() == "multipart/form-data":
        found = re.search(r'boundary="?([^";]+)', parameters)
        boundary = found[1].encode("latin-1") if found else b""
    body.seek(0)
    for chunk in _without(boundary, body):
        digest.update(chunk)
    return digest.hexdigest()


def _without(word: bytes, file: "SpooledTemporaryFile[bytes]") -> Iterator[bytes]:
    """The file without every occurrence of ``word``, also across the ends of chunks."""
    rest = b""
    while chunk := file.read(_CHUNK):
        rest += chunk
        if word:
            rest = rest.replace(word, b"")
            kept = len(word) - 1
            yield rest[: len(rest) - kept]
            rest = rest[max(0, len(rest) - kept) :]
        else:
            yield rest
            rest = b""
    yield rest
