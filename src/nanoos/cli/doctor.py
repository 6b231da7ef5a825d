"""``nanoos doctor``: what is there, what is not, and what mends it."""

import typer

from nanoos.cli import options
from nanoos.cli.documents import print_document
from nanoos.cli.render import Column, print_table, say
from nanoos.core.errors import UnavailableError

app = typer.Typer(name="doctor")

_COLUMNS = (
    Column(title="area", of=lambda check: check.area),
    Column(title="what", of=lambda check: check.name),
    Column(title="state", of=lambda check: check.status, states=True),
    Column(title="found", of=lambda check: check.message, shrinks=True),
)


@app.command()
def doctor(*, as_json: options.Json = False) -> None:
    """Say what is installed, what works and what is missing, with the command that mends it.

    Changes nothing. Exit code 8 when something failed; what not everybody needs is a warning.
    JSON: {"checks": [{"area", "name", "status": "ok|warning|failed", "message", "hint"}],
    "failed": number, "warnings": number}.
    """
    from nanoos.bootstrap import set_machine
    from nanoos.config import load_settings
    from nanoos.services.doctor import Surroundings, run_checks

    settings = load_settings()
    set_machine(settings)
    surroundings = Surroundings(
        data_dir=settings.data_dir,
        database_url=settings.resolved_database_url,
        broker_url=settings.broker_url,
    )
    checks = list(run_checks(surroundings))
    failed = sum(check.status == "failed" for check in checks)
    warnings = sum(check.status == "warning" for check in checks)
    if as_json:
        print_document({"checks": checks, "failed": failed, "warnings": warnings})
    else:
        print_table(_COLUMNS, checks, empty="Nothing was checked.")
        for check in checks:
            if check.hint:
                say(f"{check.area}, {check.name}: {check.hint}")
        say(f"{failed} failed, {warnings} warnings.")
    if failed:
        raise typer.Exit(UnavailableError.exit_code)
