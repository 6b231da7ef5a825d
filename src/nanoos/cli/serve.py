"""``nanoos serve``: the API and the page, with a worker."""

import contextlib
from typing import Annotated

import typer

from nanoos.cli.opening import settings_and_services
from nanoos.cli.render import say

app = typer.Typer(name="serve")


@app.command()
def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")
    ] = None,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Answer requests only; run no jobs here.")
    ] = False,
) -> None:
    """Serve the API and the page until Ctrl-C, with a worker beside it.

    Without options NANO_OS_HOST and NANO_OS_PORT say where. On a first start an administrator
    is made and the password shown once.
    """
    from nanoos.api.server import serve as run_server

    with settings_and_services() as (settings, lab), contextlib.suppress(KeyboardInterrupt):
        run_server(
            settings,
            lab,
            host=settings.host if host is None else host,
            port=settings.port if port is None else port,
            with_worker=not no_worker,
            announce=say,
        )
    say("Stopped.")
