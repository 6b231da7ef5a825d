"""The pages: what goes on, logging in, k-points, and the reference of the API."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.templating import Jinja2Templates
from starlette.staticfiles import StaticFiles

from nanoos import __version__
from nanoos.core.errors import NanoosError
from nanoos.services.container import Services
from nanoos.services.login_limits import LoginLimiter
from nanoos.web.kpoints import Infer, KpointPage
from nanoos.web.overview import overview
from nanoos.web.reference import reference
from nanoos.web.visitors import COOKIE, refuse_foreign, visitor

_HERE: Final = Path(__file__).parent
_SEE_OTHER: Final = 303


def make_pages(
    services: Services,
    *,
    login_limiter: LoginLimiter,
    infer: Infer,
    api_document: Callable[[], Mapping[str, Any]],
) -> APIRouter:
    """Routes of all pages; none is part of the API's document.

    Args:
        services: What the pages show.
        login_limiter: Shared with the API, so that the page is no way around it.
        infer: Runs a model; shared with the API, which runs one at a time.
        api_document: Gives the OpenAPI document that ``/docs`` shows.
    """
    router = APIRouter(include_in_schema=False)
    templates = Jinja2Templates(_HERE / "templates")
    templates.env.globals["version"] = __version__
    router.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")

    def show(request: Request, name: str, status: int = 200, **values: Any) -> Response:
        answer = templates.TemplateResponse(request, name, values, status_code=status)
        answer.headers["cache-control"] = "no-store"
        return answer

    @router.get("/")
    def start(request: Request) -> Response:
        who = visitor(services, request)
        if who is None:
            return RedirectResponse("/login", _SEE_OTHER)
        return show(request, "start.html", who=who, now=overview(services, who))

    @router.get("/overview")
    def refreshed(request: Request) -> Response:
        """The part of the start page that changes."""
        who = visitor(services, request)
        if who is None:
            return Response(status_code=401)
        return show(request, "overview.html", who=who, now=overview(services, who))

    @router.get("/login")
    def login_form(request: Request) -> Response:
        return show(request, "login.html", who=None, problem=None)

    @router.post("/login")
    def login(
        request: Request,
        username: Annotated[str, Form(max_length=150)] = "",
        password: Annotated[str, Form(max_length=512)] = "",
    ) -> Response:
        refuse_foreign(request)
        address = request.client.host if request.client else "unknown"
        try:
            login_limiter.check(address, username)
            token, life = services.users.sessions.login_web(username, password)
        except NanoosError as error:
            return show(request, "login.html", error.http_status, who=None, problem=error)
        answer = RedirectResponse("/", _SEE_OTHER)
        answer.set_cookie(
            COOKIE,
            token,
            max_age=int(life.total_seconds()),
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return answer

    @router.post("/logout")
    def logout(request: Request) -> Response:
        refuse_foreign(request)
        if visitor(services, request) is not None:
            services.users.sessions.logout(request.cookies[COOKIE])
        answer = RedirectResponse("/login", _SEE_OTHER)
        answer.delete_cookie(COOKIE)
        return answer

    @router.get("/docs")
    def documentation(request: Request) -> Response:
        who = visitor(services, request)
        return show(request, "reference.html", who=who, areas=reference(api_document()))

    KpointPage(services, show, infer).add_to(router)
    return router
