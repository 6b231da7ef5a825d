"""What happens in the laboratory, as server-sent events."""

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from nanoos.api.context import Context
from nanoos.api.errors import answers
from nanoos.api.security import Reader, identify
from nanoos.services.access import Principal

router = APIRouter(prefix="/events", tags=["events"], responses=answers(401, 403, 422, 500, 503))

_STREAM = {200: {"content": {"text/event-stream": {}}, "description": "Server-sent events."}}


@router.get(
    "",
    response_class=StreamingResponse,
    responses={**_STREAM, **answers(429)},  # type: ignore[dict-item]
)
async def follow_laboratory(
    request: Request,
    context: Context,
    who: Reader,
    last_event_id: Annotated[int, Header(ge=0, le=2**31 - 1)] = 0,
) -> StreamingResponse:
    """Events of the laboratory as server-sent events, oldest first; ``Last-Event-ID`` resumes.

    ``model.alert``: a model does worse against results than its card says (model, property, kind,
    message, figures); ``model.alert_resolved``: it no longer does.
    """
    del who

    async def still_allowed() -> Principal:
        return await identify(context.services.users, context.flights, request.headers)

    context.events.admit()
    events = context.events.lab_stream(after=last_event_id, still_allowed=still_allowed)
    return StreamingResponse(events, media_type="text/event-stream")
