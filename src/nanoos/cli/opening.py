"""Opening the services for a command, and finding what a person names."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nanoos.cli.render import say

if TYPE_CHECKING:
    from nanoos.config import Settings
    from nanoos.services.access import Principal
    from nanoos.services.container import Services


@contextlib.contextmanager
def services() -> Iterator["Services"]:
    """All services over the configured data folder and database, closed at the end."""
    with settings_and_services() as (_, opened):
        yield opened


@contextlib.contextmanager
def settings_and_services() -> Iterator[tuple["Settings", "Services"]]:
    """The same with the settings they were made from."""
    from nanoos.bootstrap import open_services
    from nanoos.core.logs import configure_logging

    settings, opened = open_services()
    configure_logging(settings.log_level)
    try:
        yield settings, opened
    finally:
        opened.close()


def local_user() -> "Principal":
    """Whoever runs a command on this machine."""
    from nanoos.services.access import LOCAL_PRINCIPAL

    return LOCAL_PRINCIPAL


def confirmed(question: str, *, yes: bool) -> bool:
    """Whether to go on: ``yes``, or a person at the terminal agrees."""
    if yes:
        return True
    import typer

    agreed = typer.confirm(question, err=True)
    if not agreed:
        say("Nothing was done.")
    return agreed
