"""Who looks at a page: the cookie of a login, and forms that came from elsewhere."""

from typing import Final
from urllib.parse import urlsplit

from fastapi import Request

from nanoos.core.errors import ForbiddenError, UnauthorizedError
from nanoos.services.access import Principal
from nanoos.services.container import Services

COOKIE: Final = "nanoos_session"


def visitor(services: Services, request: Request) -> Principal | None:
    """Who is logged in; None for a stranger."""
    token = request.cookies.get(COOKIE)
    if token is None:
        return None
    try:
        return services.users.sessions.principal(token, use="web")
    except UnauthorizedError:
        return None


def refuse_foreign(request: Request) -> None:
    """A form of another site must do nothing here. Raises ForbiddenError."""
    origin = request.headers.get("origin")
    if origin not in {None, "null"} and urlsplit(origin).netloc != request.headers.get("host"):
        raise ForbiddenError("This form came from another site.", code="foreign_origin")
