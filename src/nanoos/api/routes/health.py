"""Health, readiness and metrics: unversioned, for machines that watch this one."""

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from nanoos import __version__
from nanoos.api.context import Context
from nanoos.api.errors import answers
from nanoos.core.errors import UnavailableError
from nanoos.services.schema import schema_state

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"
    version: str = __version__


class Ready(BaseModel):
    """The process can do its work."""

    status: Literal["ready"] = "ready"
    schema_revision: str
    """Of the database."""


@router.get("/health", responses=answers(500))
async def health() -> Health:
    """Whether the process answers at all; asks nothing of the database or the threads."""
    return Health()


@router.get("/ready", responses=answers(500, 503))
def ready(context: Context) -> Ready:
    """Whether the database answers and is at the schema of this version."""
    state = schema_state(context.settings.resolved_database_url)
    if not state.up_to_date:
        raise UnavailableError(
            "The database is not at the schema of this version.",
            hint="Run 'nanoos db upgrade' once, on one machine.",
            code="schema_outdated",
        )
    return Ready(schema_revision=state.head)


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {}}, "description": "Numbers for Prometheus."},
        **answers(500, 503),
    },
)
def metrics(context: Context) -> Response:
    """Requests, predictions and jobs by state, in the text format of Prometheus."""
    return Response(context.metrics.text(), media_type="text/plain; version=0.0.4")
