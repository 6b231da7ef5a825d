"""What the routes of one server process share."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from nanoos.api.events import EventHub
from nanoos.api.flights import Flights
from nanoos.api.inference import Inference
from nanoos.api.metrics import Metrics
from nanoos.api.rendering import PredictionRenderer
from nanoos.config import Settings
from nanoos.services.container import Services
from nanoos.services.idempotency import IdempotencyService
from nanoos.services.login_limits import LoginLimiter


@dataclass(frozen=True, kw_only=True)
class ApiContext:
    """Settings, services and the few things that live as long as the process."""

    settings: Settings
    services: Services
    login_limiter: LoginLimiter
    idempotency: IdempotencyService
    inference: Inference
    rendered: PredictionRenderer
    flights: Flights
    events: EventHub
    metrics: Metrics


async def _context(request: Request) -> ApiContext:
    context: ApiContext = request.app.state.context
    return context


async def _services(request: Request) -> Services:
    context: ApiContext = request.app.state.context
    return context.services


Context = Annotated[ApiContext, Depends(_context)]
Lab = Annotated[Services, Depends(_services)]
"""All services."""
