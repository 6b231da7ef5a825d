"""``nanoos export``: the structures that a query finds, in one file."""

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from nanoos.cli import options
from nanoos.cli.documents import print_document
from nanoos.cli.finding import QUERY_HELP, query_structures
from nanoos.cli.opening import services
from nanoos.cli.output import refuse_both_on_stdout, write_output
from nanoos.cli.render import say
from nanoos.core.errors import NotFoundError

app = typer.Typer(name="export")


@app.command()
def export(
    *,
    query: Annotated[str, typer.Option("--query", "-q", help=QUERY_HELP)] = "",
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; - for stdout.")],
    format_: Annotated[
        str | None,
        typer.Option("--format", help="cif, poscar, extxyz, json or zip; default by the name."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="The newest so many; default all.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write every structure that a query finds (all without one) to one file.

    JSON: {"file", "structures": number, "ids"}.
    """
    refuse_both_on_stdout(output, as_json=as_json)
    with services() as lab:
        found = query_structures(lab, query)
        ids = [record.id for record in islice(found, limit)]
        if not ids:
            raise NotFoundError(f"No structure meets {query!r}.", hint=QUERY_HELP)
        written = write_output(lab, ids, output, format_)
    if as_json:
        print_document({"file": output, "structures": written, "ids": ids})
    else:
        say(f"{written} structures written to {output}.")
