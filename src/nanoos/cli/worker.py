"""``nanoos worker``: runs jobs."""

from typing import Annotated

import typer

from nanoos.cli.opening import settings_and_services
from nanoos.cli.render import say

app = typer.Typer(name="worker")


@app.command()
def worker(
    *,
    queue: Annotated[
        list[str] | None,
        typer.Option("--queue", "-q", help="A queue to serve; may be repeated. Default: all."),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", "-c", min=1, help="Jobs at once; default: one a core."),
    ] = None,
) -> None:
    """Run jobs until told to stop; running ones are given back and go on elsewhere.

    Polls the database, or waits for the broker where NANO_OS_BROKER_URL names one.
    """
    from nanoos.cli.queues import checked_queues
    from nanoos.worker import run_worker

    queues = checked_queues(queue)
    with settings_and_services() as (settings, lab):
        at_once = concurrency or settings.resolved_concurrency
        say(f"Serving {', '.join(queues)}, {at_once} jobs at once. Ctrl-C stops.")
        code = run_worker(settings, lab, queues=queues, concurrency=at_once)
    raise typer.Exit(code)
