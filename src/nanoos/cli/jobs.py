"""``nanoos jobs``: what runs, what waits, what failed and why."""

import sys
import time
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nanoos.cli import options
from nanoos.cli.documents import page_document, print_document, to_document
from nanoos.cli.opening import local_user, services
from nanoos.cli.render import Column, print_facts, print_table, say, say_next, short_id

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Mapping

    from nanoos.services.container import Services
    from nanoos.services.jobs import Job, JobEvent

app = typer.Typer(name="jobs", help="List, follow, cancel and retry jobs.", no_args_is_help=True)

FOLLOW_INTERVAL_S = 0.5
ENDED = ("completed", "failed", "cancelled")


def _message(job: "Job") -> str | None:
    if job.error is not None:
        return str(job.error["message"])
    return "cancelling" if job.cancel_requested and job.state == "running" else job.message


_COLUMNS = (
    Column(title="job", of=lambda job: short_id(job.id)),
    Column(title="kind", of=lambda job: job.kind),
    Column(title="queue", of=lambda job: job.queue),
    Column(title="state", of=lambda job: job.state, states=True),
    Column(title="done, %", of=lambda job: f"{100 * job.progress:.0f}", right=True),
    Column(title="attempt", of=lambda job: job.attempt, right=True),
    Column(title="made, UTC", of=lambda job: job.created_at),
    Column(title="message", of=_message, shrinks=True),
)


def find_job(lab: "Services", text: str) -> "uuid.UUID":
    """The id of the job that ``text`` names."""
    from nanoos.services.lookup import resolve_id

    return resolve_id(lab.database, "job", text, local_user())


@app.command("list")
def list_jobs(
    *,
    state: Annotated[
        str | None,
        typer.Option(help="Only queued, running, completed, failed or cancelled ones."),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Only simulation, campaign, ... ones.")] = None,
    limit: options.Limit = 20,
    cursor: options.Cursor = None,
    as_json: options.Json = False,
) -> None:
    """List jobs, newest first. JSON: {"items": [job], "total", "next"}."""
    from nanoos.core.errors import InvalidInputError

    states = ("queued", "running", *ENDED)
    if state is not None and state not in states:
        raise InvalidInputError(
            f"There is no state {state!r}.", hint=f"States: {', '.join(states)}."
        )
    with services() as lab:
        page = lab.jobs.page(local_user(), state=state, kind=kind, cursor=cursor, limit=limit)
    if as_json:
        print_document(page_document(page))
        return
    print_table(_COLUMNS, page.items, empty="No jobs.")
    say_next(page, len(page.items))


@app.command()
def show(job: options.IdOrPrefix, *, as_json: options.Json = False) -> None:
    """Show one job and its files. JSON: the job's fields and "files": [{"name", "size_bytes"}]."""
    with services() as lab:
        job_id = find_job(lab, job)
        record = lab.jobs.get(job_id, local_user())
        files = list(lab.job_files.names(job_id, local_user()))
    if as_json:
        print_document({**to_document(record), "files": files})
        return
    facts: list[tuple[str, Any]] = [
        ("job", record.id),
        ("kind", record.kind),
        ("queue", record.queue),
        ("state", record.state),
        ("done, %", f"{100 * record.progress:.0f}"),
        ("attempt", record.attempt),
        ("made, UTC", record.created_at),
        ("started, UTC", record.started_at),
        ("ended, UTC", record.finished_at),
        ("worker", record.worker_host),
        ("message", record.message),
        *_flat("work: ", record.payload),
        *_flat("result: ", record.result or {}),
        *(("file", f"{file.name} ({file.size_bytes} bytes)") for file in files),
    ]
    print_facts(facts)
    if record.error is not None:
        say(f"Error: {record.error['message']}")
        if record.error.get("hint"):
            say(f"Hint: {record.error['hint']}")


@app.command()
def files(
    job: options.IdOrPrefix,
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder to copy to. Default: job-ID."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Copy the files of a job to a folder: inputs, results, plots, trajectories, logs.

    JSON: {"job_id", "folder", "files": [name]}.
    """
    from nanoos.cli.job_output import copy_job_files

    with services() as lab:
        job_id = find_job(lab, job)
        folder = output or Path(f"job-{short_id(job_id)}")
        names = [path.relative_to(folder) for path in copy_job_files(lab, job_id, folder)]
    if as_json:
        print_document(
            {"job_id": job_id, "folder": str(folder), "files": [name.as_posix() for name in names]}
        )
    elif names:
        say(f"Copied {len(names)} files to {folder}.")
    else:
        say("The job has no files.")


def _flat(prefix: str, document: "Mapping[str, Any]") -> "Iterator[tuple[str, Any]]":
    """A document as facts, one for each number or word in it."""
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _flat(prefix, value)
        else:
            yield f"{prefix}{name}", value


@app.command()
def log(
    job: options.IdOrPrefix,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Print what the job and its programs wrote, of long outputs the end.

    JSON: {"job_id", "log"}, of now.
    """
    with services() as lab:
        job_id = find_job(lab, job)
        if as_json:
            text = lab.job_files.log(job_id, local_user()).decode(errors="replace")
            print_document({"job_id": job_id, "log": text})
            return
        offset = 0
        while True:
            ended = lab.jobs.get(job_id, local_user()).state in ENDED
            chunk = lab.job_files.log(job_id, local_user(), offset=offset)
            offset += len(chunk)
            sys.stdout.write(chunk.decode(errors="replace"))
            sys.stdout.flush()
            if ended or not follow:
                break
            time.sleep(FOLLOW_INTERVAL_S)
    if not offset:
        say("The job has written nothing.")


@app.command()
def events(
    job: options.IdOrPrefix,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")
    ] = False,
    after: Annotated[int, typer.Option(min=0, help="Only those with a higher number.")] = 0,
    as_json: options.Json = False,
) -> None:
    """Print what happened to a job. JSON: one event on each line."""
    with services() as lab:
        job_id = find_job(lab, job)
        last = after
        while True:
            ended = lab.jobs.get(job_id, local_user()).state in ENDED
            new = lab.jobs.events(job_id, local_user(), after=last)
            for event in new:
                last = event.number
                if as_json:
                    print_document(event)
                else:
                    print_event(event)
            if not new and (ended or not follow):
                return
            if not new:
                time.sleep(FOLLOW_INTERVAL_S)


def print_event(event: "JobEvent") -> None:
    """One event as a line for people."""
    when = event.created_at.astimezone(UTC).strftime("%H:%M:%S")
    facts = ", ".join(f"{name}: {_short(value)}" for name, value in event.data.items())
    sys.stdout.write(f"{when}  {event.number:>4}  {event.kind}  {facts}".rstrip() + "\n")
    sys.stdout.flush()


def _short(value: Any) -> Any:
    return value.get("message", value) if isinstance(value, dict) else value


@app.command()
def cancel(job: options.IdOrPrefix, *, as_json: options.Json = False) -> None:
    """Cancel a job: at once where it waits, within seconds where it runs. JSON: the job."""
    with services() as lab:
        record = lab.jobs.cancel(find_job(lab, job), local_user())
    if as_json:
        print_document(record)
    elif record.state == "cancelled":
        say(f"Job {short_id(record.id)} is cancelled.")
    else:
        say(f"Job {short_id(record.id)} is asked to stop.")


@app.command()
def retry(job: options.IdOrPrefix, *, as_json: options.Json = False) -> None:
    """Queue a failed or cancelled job again; it goes on from what it saved. JSON: the job."""
    with services() as lab:
        record = lab.jobs.retry(find_job(lab, job), local_user())
    if as_json:
        print_document(record)
    else:
        say(f"Job {short_id(record.id)} waits again, in queue {record.queue!r}.")
