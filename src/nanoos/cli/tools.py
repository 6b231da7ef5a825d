"""``nanoos tools``: programs that live in environments of their own."""

import time
from dataclasses import dataclass
from typing import Annotated

import typer

from nanoos.cli import options
from nanoos.cli.documents import print_document
from nanoos.cli.opening import confirmed
from nanoos.cli.render import Column, print_table, progress, say
from nanoos.core.errors import UnavailableError

app = typer.Typer(
    name="tools",
    help="Programs that cannot share the main environment, each in its own.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="'nanoos tools list' shows them.")]

_COLUMNS = (
    Column(title="tool", of=lambda tool: tool.name),
    Column(title="available", of=lambda tool: tool.available),
    Column(title="version", of=lambda tool: tool.version),
    Column(title="MB", of=lambda tool: round(tool.size_mb), right=True),
    Column(title="license", of=lambda tool: tool.license),
    Column(title="what is missing", of=lambda tool: tool.problem),
    Column(title="what it is for", of=lambda tool: tool.purpose, shrinks=True),
)
_CHECK_COLUMNS = (
    Column(title="tool", of=lambda check: check.name),
    Column(title="state", of=lambda check: check.status, states=True),
    Column(title="version", of=lambda check: check.version),
    Column(title="Python", of=lambda check: check.python),
    Column(title="imports in, s", of=lambda check: check.import_s, right=True),
    Column(title="found", of=lambda check: check.message, shrinks=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCheck:
    """How a tool did when it was run.

    Attributes:
        name: The tool.
        status: ``ok``: works, or is not needed; ``warning``: not installed; ``failed``: installed
            and does not work.
        version: Of the tool.
        python: Version of its Python.
        import_s: How long its modules took to import, s.
        message: What was found.
        hint: The command that mends it.
    """

    name: str
    status: str
    message: str
    version: str | None = None
    python: str | None = None
    import_s: float | None = None
    hint: str | None = None


@app.command("list")
def list_tools(*, as_json: options.Json = False) -> None:
    """List the tools, which are installed, and what those that are not take.

    JSON: {"tools": [{"name", "purpose", "license", "requirements", "size_mb", "available",
    "origin": "nanoos|variable|null", "version", "python", "shared", "installed_at", "problem",
    "command", "variable"}]}.
    """
    from nanoos.bootstrap import set_machine
    from nanoos.config import load_settings
    from nanoos.services.doctor import used_instead
    from nanoos.tools import tool_environments

    set_machine(load_settings())
    states = tool_environments().states()
    if as_json:
        print_document({"tools": states})
        return
    print_table(_COLUMNS, states, empty="No tools.")
    for state in states:
        if instead := used_instead(state.name):
            say(f"{state.name}: not needed, {instead} is run")
        elif state.command:
            say(f"{state.name}: {state.command}")


@app.command()
def install(
    name: Name,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Install again over one that is there.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Install a tool into an environment of its own, with pip as it is configured here.

    JSON: the tool as 'tools list' shows it.
    """
    from nanoos.tools import tool_environments

    environments = tool_environments()
    before = environments.state(name)
    if before.available and not force:
        if as_json:
            print_document(before)
        else:
            say(f"{before.name} is there already ({before.version or before.python}).")
        return
    say(f"Installing {before.name}, about {before.size_mb:.0f} MB: takes some minutes.")
    begun = time.monotonic()
    with progress(f"installing {before.name}", kind="count") as report:
        state = environments.install(name, force=force, progress=report)
    if as_json:
        print_document(state)
    else:
        say(
            f"{state.name} {state.version} installed: {state.size_mb:.0f} MB, "
            f"{time.monotonic() - begun:.0f} s."
        )


@app.command()
def remove(name: Name, *, yes: options.Yes = False, as_json: options.Json = False) -> None:
    """Delete a tool's environment.

    JSON: {"name", "freed_mb"}.
    """
    from nanoos.tools import tool_environments

    environments = tool_environments()
    state = environments.state(name)
    if not confirmed(f"Delete the environment of {state.name}?", yes=yes or as_json):
        return
    freed = environments.remove(name)
    if as_json:
        print_document({"name": state.name, "freed_mb": freed})
    else:
        say(f"{state.name} removed: {freed:.0f} MB freed.")


@app.command()
def doctor(*, as_json: options.Json = False) -> None:
    """Run every installed tool's own check, which imports all it needs.

    Exit code 8 when one that is installed does not work.
    JSON: {"tools": [{"name", "status": "ok|warning|failed", "message", "version", "python",
    "import_s", "hint"}], "failed": number}.
    """
    from nanoos.bootstrap import set_machine
    from nanoos.config import load_settings
    from nanoos.tools import TOOLS

    set_machine(load_settings())
    names = TOOLS.names()
    checks = []
    with progress("checking tools") as report:
        for number, name in enumerate(names):
            report(number / len(names), name)
            checks.append(_checked(name))
    failed = sum(check.status == "failed" for check in checks)
    if as_json:
        print_document({"tools": checks, "failed": failed})
    else:
        print_table(_CHECK_COLUMNS, checks, empty="No tools.")
        for check in checks:
            if check.hint:
                say(f"{check.name}: {check.hint}")
    if failed:
        raise typer.Exit(UnavailableError.exit_code)


def _checked(name: str) -> ToolCheck:
    from nanoos.services.doctor import used_instead
    from nanoos.tools import tool_environments

    environments = tool_environments()
    state = environments.state(name)
    if state.origin is None and (instead := used_instead(name)):
        return ToolCheck(name=state.name, status="ok", message=f"not needed: {instead} is run")
    if state.origin is None:
        return ToolCheck(
            name=state.name,
            status="warning",
            message=state.problem or "not installed",
            hint=state.command,
        )
    try:
        found = environments.check(name)
    except UnavailableError as error:
        return ToolCheck(name=state.name, status="failed", message=error.message, hint=error.hint)
    return ToolCheck(
        name=state.name,
        status="ok",
        message=str(state.python),
        version=found.version,
        python=found.python,
        import_s=found.seconds,
    )
