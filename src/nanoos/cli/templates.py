"""``nanoos templates``: workflows with parameters under a name."""

from typing import Annotated

import typer

from nanoos.cli import options
from nanoos.cli.documents import page_document, print_document
from nanoos.cli.opening import local_user, services
from nanoos.cli.render import Column, print_facts, print_table, say, say_next
from nanoos.cli.simulate import given_parameter

app = typer.Typer(
    name="templates",
    help="Simulations under a name: list, show, keep, delete.",
    no_args_is_help=True,
)

Template = Annotated[str, typer.Argument(help="Its name or id.")]

_COLUMNS = (
    Column(title="name", of=lambda one: one.name),
    Column(title="engine", of=lambda one: one.engine),
    Column(title="workflow", of=lambda one: one.workflow),
    Column(title="of", of=lambda one: "nanoos" if one.owner_id is None else "a user"),
    Column(title="what", of=lambda one: one.description, shrinks=True),
)


@app.command("list")
def list_templates(
    *, limit: options.Limit = 20, cursor: options.Cursor = None, as_json: options.Json = False
) -> None:
    """List templates, newest first. JSON: {"items": [template], "total", "next"}."""
    with services() as lab:
        page = lab.templates.page(local_user(), cursor=cursor, limit=limit)
    if as_json:
        print_document(page_document(page))
        return
    print_table(_COLUMNS, page.items, empty="No templates.")
    say_next(page, len(page.items))


@app.command()
def show(template: Template, *, as_json: options.Json = False) -> None:
    """Show a template with its parameters. JSON: its fields."""
    with services() as lab:
        found = lab.templates.get(template, local_user())
    if as_json:
        print_document(found)
        return
    print_facts(
        [
            ("name", found.name),
            ("what", found.description),
            ("runs", f"{found.workflow} with {found.engine}"),
            *((f"  {name}", str(value)) for name, value in found.parameters.items()),
        ]
    )
    say(f"Run it: nanoos simulate STRUCTURE --template {found.name}")


@app.command()
def save(
    name: Annotated[str, typer.Argument(help="One template of each name.")],
    *,
    engine: Annotated[str, typer.Option("--engine", "-e", help="Engine.")],
    workflow: Annotated[str, typer.Option("--workflow", "-w", help="One of the engine's.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A parameter: temperature=600; may be repeated."),
    ] = None,
    description: Annotated[str, typer.Option(help="For people.")] = "",
    shared: Annotated[bool, typer.Option("--shared", help="Every user sees it.")] = False,
    as_json: options.Json = False,
) -> None:
    """Keep a workflow with parameters under a name. JSON: the template's fields."""
    with services() as lab:
        made = lab.templates.create(
            name,
            local_user(),
            engine=engine,
            workflow=workflow,
            parameters=dict(given_parameter(text) for text in set_ or ()),
            description=description,
            shared=shared,
        )
    if as_json:
        print_document(made)
    else:
        say(f"Kept as {made.name}. Run it: nanoos simulate STRUCTURE --template {made.name}")


@app.command()
def delete(template: Template, *, as_json: options.Json = False) -> None:
    """Delete a template; simulations that were run from it stay. JSON: {"deleted"}."""
    with services() as lab:
        lab.templates.delete(template, local_user())
    if as_json:
        print_document({"deleted": template})
    else:
        say(f"Deleted {template}.")
