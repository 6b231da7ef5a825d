"""The application: routes, middleware, errors and the OpenAPI document."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute

from nanoos import __version__
from nanoos.api import idempotency
from nanoos.api.context import ApiContext
from nanoos.api.edge import Edge
from nanoos.api.errors import install_error_handlers
from nanoos.api.events import EventHub
from nanoos.api.flights import Flights
from nanoos.api.idempotency import IdempotentPosts
from nanoos.api.inference import Inference
from nanoos.api.metrics import Metrics
from nanoos.api.rendering import PredictionRenderer
from nanoos.api.routes import (
    auth,
    campaigns,
    datasets,
    events,
    features,
    health,
    jobs,
    kpoints,
    materials,
    predictions,
    simulation_templates,
    simulations,
    structures,
    training,
    users,
)
from nanoos.config import Settings
from nanoos.core.errors import NanoosError
from nanoos.services.container import Services
from nanoos.services.idempotency import IdempotencyService
from nanoos.services.login_limits import LoginLimiter
from nanoos.web import make_pages

_MIB: Final = 1 << 20
_LOOK_EVERY_S: Final = 0.5
_VERSIONED: Final = (
    auth,
    users,
    materials,
    structures,
    predictions,
    features,
    kpoints,
    training,
    jobs,
    simulation_templates,
    simulations,
    campaigns,
    datasets,
    events,
)
_DESCRIPTION: Final = (
    "Suggest, predict with uncertainty, choose, simulate, learn. Every error has the shape "
    '`{"error": {"code", "message", "hint", "details"}}`; lists have `items, total, next`; '
    "times are UTC, energies eV, lengths Å, moduli GPa."
)


def create_app(settings: Settings, services: Services) -> FastAPI:
    """The ASGI application of one server process.

    Args:
        settings: Limits and lives.
        services: What the routes call; stays the caller's to close.
    """
    context = ApiContext(
        settings=settings,
        services=services,
        login_limiter=LoginLimiter(
            settings.login_attempts_per_minute, broker_url=settings.broker_url
        ),
        idempotency=IdempotencyService(services.database),
        inference=Inference(),
        rendered=PredictionRenderer(),
        flights=Flights(),
        events=EventHub(services.jobs, services.lab_events),
        metrics=Metrics(services.jobs),
    )
    app = FastAPI(
        title="NANO-OS",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,  # the stock pages load their scripts from a CDN; ours is a page of the web
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        generate_unique_id_function=_operation_id,
        separate_input_output_schemas=False,
    )
    app.state.context = context
    install_error_handlers(app)
    app.add_middleware(
        IdempotentPosts,
        users=services.users,
        flights=context.flights,
        store=context.idempotency,
    )
    app.add_middleware(
        Edge, metrics=context.metrics, max_upload_bytes=settings.max_upload_mb * _MIB
    )
    versioned = APIRouter(prefix="/api/v1")
    for area in _VERSIONED:
        versioned.include_router(area.router)
    app.include_router(versioned)
    app.include_router(health.router)
    app.include_router(
        make_pages(
            services,
            login_limiter=context.login_limiter,
            infer=context.inference.run,
            api_document=app.openapi,
        )
    )
    _complete_openapi(app)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: ApiContext = app.state.context
    looking = asyncio.create_task(_look_for_changes(context.services))
    async with context.events.running():
        yield
    looking.cancel()
    context.inference.close()


async def _look_for_changes(services: Services) -> None:
    """Keep remembered predictions young ahead of time, so that no request waits for that."""
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        with contextlib.suppress(NanoosError):  # memory then grows old, and requests say why
            await run_in_threadpool(services.predictions.look_for_changes)


def _operation_id(route: APIRoute) -> str:
    return route.name


def _complete_openapi(app: FastAPI) -> None:
    """Document what routes do not say themselves: the header that every POST takes."""
    generate = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            for path, operations in document["paths"].items():
                if "post" in operations and not path.startswith(idempotency.EXCLUDED):
                    parameters = operations["post"].setdefault("parameters", [])
                    parameters.append(idempotency.DOCUMENTATION)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = complete  # type: ignore[method-assign] # the way FastAPI documents
