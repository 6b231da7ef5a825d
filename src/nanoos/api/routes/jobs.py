"""Jobs: list, follow, cancel, retry, log and files."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from nanoos.api.context import Context, Lab
from nanoos.api.downloads import streamed
from nanoos.api.errors import answers
from nanoos.api.schemas.common import PageAnswer
from nanoos.api.schemas.work import JobAnswer, JobFileList, JobQuery
from nanoos.api.security import Reader, Writer, identify
from nanoos.services.access import Principal

router = APIRouter(prefix="/jobs", tags=["jobs"], responses=answers(401, 403, 422, 500, 503))

_TEXT = {200: {"content": {"text/plain": {}}, "description": "The log."}}
_FILE = {200: {"content": {"application/octet-stream": {}}, "description": "The file."}}
_STREAM = {200: {"content": {"text/event-stream": {}}, "description": "Server-sent events."}}


@router.get("", response_model=PageAnswer[JobAnswer])
def list_jobs(query: Annotated[JobQuery, Query()], lab: Lab, who: Reader) -> Any:
    """One's own jobs, newest first."""
    return lab.jobs.page(who, **query.model_dump())


@router.get("/{job_id}", response_model=JobAnswer, responses=answers(404))
def get_job(job_id: uuid.UUID, lab: Lab, who: Reader) -> Any:
    """One job."""
    return lab.jobs.get(job_id, who)


@router.post("/{job_id}/cancel", response_model=JobAnswer, responses=answers(404, 409))
def cancel_job(job_id: uuid.UUID, lab: Lab, who: Writer) -> Any:
    """Cancel a queued job at once; a running one is asked to end."""
    return lab.jobs.cancel(job_id, who)


@router.post("/{job_id}/retry", response_model=JobAnswer, responses=answers(404, 409))
def retry_job(job_id: uuid.UUID, lab: Lab, who: Writer) -> Any:
    """Queue a failed or cancelled job again; it goes on from what it saved."""
    return lab.jobs.retry(job_id, who)


@router.get(
    "/{job_id}/events",
    response_class=StreamingResponse,
    responses={**_STREAM, **answers(404, 429)},  # type: ignore[dict-item]
)
async def follow_job(
    job_id: uuid.UUID,
    request: Request,
    context: Context,
    who: Reader,
    last_event_id: Annotated[int, Header(ge=0, le=2**31 - 1)] = 0,
) -> StreamingResponse:
    """Events of a job as server-sent events; ``Last-Event-ID`` resumes. Ends with the job."""
    await run_in_threadpool(context.services.jobs.get, job_id, who)

    async def still_allowed() -> Principal:
        return await identify(context.services.users, context.flights, request.headers)

    context.events.admit()
    events = context.events.stream(job_id, who, after=last_event_id, still_allowed=still_allowed)
    return StreamingResponse(events, media_type="text/event-stream")


@router.get("/{job_id}/log", response_class=Response, responses={**_TEXT, **answers(404)})  # type: ignore[dict-item]
def job_log(
    job_id: uuid.UUID,
    lab: Lab,
    who: Reader,
    offset: Annotated[int, Query(ge=0, le=2**53)] = 0,
) -> Response:
    """The log from byte ``offset`` on, also while the job runs."""
    return Response(lab.job_files.log(job_id, who, offset=offset), media_type="text/plain")


@router.get("/{job_id}/files", response_model=JobFileList, responses=answers(404))
def list_job_files(job_id: uuid.UUID, lab: Lab, who: Reader) -> Any:
    """The files of a job, also while it runs."""
    return {"items": lab.job_files.names(job_id, who)}


@router.get(
    "/{job_id}/files/{name:path}",
    response_class=StreamingResponse,
    responses={**_FILE, **answers(404)},  # type: ignore[dict-item]
)
def get_job_file(
    job_id: uuid.UUID,
    name: Annotated[str, Path(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")],
    lab: Lab,
    who: Reader,
) -> StreamingResponse:
    """One file of a job."""
    handle = lab.job_files.open(job_id, name, who)
    return streamed(lab.job_files.iter_chunks(handle), name.rpartition("/")[2])
