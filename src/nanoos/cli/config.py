"""``nanoos config``: settings and where they come from."""

import typer

from nanoos.cli import options
from nanoos.cli.documents import print_document
from nanoos.cli.render import Column, print_table, say

app = typer.Typer(
    name="config", help="Show the settings and where each comes from.", no_args_is_help=True
)


@app.callback()
def _group() -> None:
    """Settings."""


@app.command()
def show(*, as_json: options.Json = False) -> None:
    """Show every setting, its value in force (secrets masked) and where it comes from.

    JSON: {"file", "settings": {name: {"value", "origin"}}}.
    """
    from nanoos.config import config_file, load_settings, setting_origins

    origins = setting_origins(load_settings())
    if as_json:
        entries = {
            name: {"value": value, "origin": origin} for name, (value, origin) in origins.items()
        }
        print_document({"file": config_file(), "settings": entries})
        return
    columns = (
        Column(title="setting", of=lambda item: item[0]),
        Column(title="value", of=lambda item: item[1][0]),
        Column(title="from", of=lambda item: item[1][1], shrinks=True),
    )
    print_table(columns, list(origins.items()), empty="There are no settings.")
    found = "" if config_file().exists() else " (not there)"
    say(f"File: {config_file()}{found}. Environment variables NANO_OS_... win over it.")
