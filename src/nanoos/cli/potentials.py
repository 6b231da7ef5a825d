"""``nanoos potentials``: the files that LAMMPS can run, and which elements each covers."""

from typing import Annotated

import typer

from nanoos.cli import options
from nanoos.cli.documents import print_document
from nanoos.cli.render import Column, print_table, say

app = typer.Typer(
    name="potentials", help="Potential files that LAMMPS can run.", no_args_is_help=True
)

_COLUMNS = (
    Column(title="potential", of=lambda row: row["name"]),
    Column(title="style", of=lambda row: row["style"]),
    Column(title="elements", of=lambda row: row["elements"]),
    Column(title="citation", of=lambda row: row["citation"], shrinks=True),
)


@app.callback()
def group() -> None:
    """Potential files that LAMMPS can run."""


@app.command("list")
def list_potentials(
    *,
    elements: Annotated[
        str | None,
        typer.Option("--elements", help="Only those that cover all of these: Cu or Si-C."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """List potential files, your own first.

    JSON: {"potentials": [{"name", "style", "elements", "units", "citation"}], "own_folder"}.
    """
    from nanoos.config import load_settings
    from nanoos.engines.lammps.catalogue import list_potential_files
    from nanoos.engines.lammps.program import own_potential_dir, set_program

    settings = load_settings()
    set_program(settings.lammps_command, settings.lammps_potential_dir)
    wanted = elements.replace(",", "-").split("-") if elements else []
    rows = [
        {
            "name": file.name,
            "style": file.pair_style,
            "elements": list(file.elements),
            "units": file.units,
            "citation": file.citation,
        }
        for file in list_potential_files()
        if not file.coverage.missing(wanted)
    ]
    if as_json:
        print_document({"potentials": rows, "own_folder": str(own_potential_dir())})
        return
    print_table(_COLUMNS, rows, empty="No potential file covers that.")
    say(f"Your own files go into {own_potential_dir()}.")
    say("Universal potentials (CHGNet, SevenNet, ...) run too: nanoos models list")
