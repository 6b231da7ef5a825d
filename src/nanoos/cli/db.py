"""``nanoos db``: the schema of the database."""

from typing import TYPE_CHECKING, Annotated

import typer

from nanoos.cli import options
from nanoos.cli.documents import print_document
from nanoos.cli.opening import confirmed
from nanoos.cli.render import print_facts

if TYPE_CHECKING:
    from nanoos.services.schema import SchemaState

app = typer.Typer(name="db", help="Migrate the database.", no_args_is_help=True)


def _database_url() -> str:
    from nanoos.config import load_settings

    settings = load_settings()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return settings.resolved_database_url


def _report(state: "SchemaState", *, as_json: bool) -> None:
    if as_json:
        print_document(
            {"current": state.current, "head": state.head, "up_to_date": state.up_to_date}
        )
        return
    print_facts([("database at", state.current or "empty"), ("this version needs", state.head)])


@app.command()
def current(*, as_json: options.Json = False) -> None:
    """Show the schema of the database and the one this version needs.

    JSON: {"current", "head", "up_to_date"}.
    """
    from nanoos.services.schema import schema_state

    _report(schema_state(_database_url()), as_json=as_json)


@app.command()
def upgrade(
    revision: Annotated[str, typer.Argument(help="Where to stop.")] = "head",
    *,
    as_json: options.Json = False,
) -> None:
    """Bring the database to the schema of this version (or to REVISION). JSON as 'current'."""
    from nanoos.services.schema import migrate_up

    _report(migrate_up(_database_url(), revision), as_json=as_json)


@app.command()
def downgrade(
    revision: Annotated[str, typer.Argument(help="A revision, or 'base' for an empty database.")],
    *,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Take the database back to an older schema; what only newer ones hold is lost.

    JSON as 'current'.
    """
    from nanoos.services.schema import migrate_down

    if not confirmed(f"Take the database down to {revision!r}? Data will be lost.", yes=yes):
        raise typer.Exit(1)
    _report(migrate_down(_database_url(), revision), as_json=as_json)
