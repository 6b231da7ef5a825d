"""Who asks: bearer tokens and API keys, and the scopes that routes need."""

from functools import partial
from typing import Annotated, Final

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers

from nanoos.api.flights import Flights
from nanoos.core.errors import UnauthorizedError
from nanoos.services.access import Principal
from nanoos.services.api_keys import KEY_PREFIX
from nanoos.services.users import UserService

_BEARER: Final = HTTPBearer(
    auto_error=False,
    scheme_name="bearer",
    description="The access token of a login, or an API key (`nk_...`).",
)
_API_KEY: Final = APIKeyHeader(
    name="X-API-Key", auto_error=False, scheme_name="api_key", description="An API key (`nk_...`)."
)


async def identify(users: UserService, flights: Flights, headers: Headers) -> Principal:
    """Who the request's credentials belong to; the database is asked only where memory is old.

    Raises:
        UnauthorizedError: no credentials, or credentials that do not hold.
    """
    credential = credential_of(headers)
    if credential is None:
        raise UnauthorizedError(
            "This needs credentials.",
            hint="Send 'Authorization: Bearer TOKEN' (POST /api/v1/auth/login) or 'X-API-Key'.",
        )
    service = users.api_keys if credential.startswith(KEY_PREFIX) else users.sessions
    who = service.remembered(credential)
    if who is not None:
        return who
    return await flights.join(("who", credential), partial(service.principal, credential))


def credential_of(headers: Headers) -> str | None:
    """The token or key of a request, None where there is none."""
    key = headers.get("x-api-key")
    if key:
        return key
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.casefold() == "bearer" else None


class _Needs:
    """A dependency: the principal, who must carry a scope."""

    def __init__(self, scope: str) -> None:
        self._scope = scope

    async def __call__(
        self,
        request: Request,
        _bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)] = None,
        _api_key: Annotated[str | None, Security(_API_KEY)] = None,
    ) -> Principal:
        context = request.app.state.context
        who = await identify(context.services.users, context.flights, request.headers)
        who.require(self._scope)
        return who


Reader = Annotated[Principal, Depends(_Needs("read"))]
"""Whoever may read."""

Writer = Annotated[Principal, Depends(_Needs("write"))]
"""Whoever may make, change and delete."""

Admin = Annotated[Principal, Depends(_Needs("admin"))]
"""An administrator with credentials of the admin scope."""
