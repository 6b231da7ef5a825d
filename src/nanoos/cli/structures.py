"""``nanoos structures``: crystals in and out of the laboratory."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nanoos.cli import options
from nanoos.cli.documents import page_document, print_document, to_document
from nanoos.cli.finding import find_structure
from nanoos.cli.opening import confirmed, local_user, services
from nanoos.cli.output import refuse_both_on_stdout, write_output
from nanoos.cli.render import (
    Column,
    print_facts,
    print_table,
    progress,
    say,
    say_next,
    short_id,
)

if TYPE_CHECKING:
    from nanoos.services.structure_records import ImportLine, StructureRecord

app = typer.Typer(
    name="structures",
    help="Import, list, show, export and delete structures.",
    no_args_is_help=True,
)

SOME_REFUSED = 3
"""Exit code when some of many structures could not be used."""

COLUMNS = (
    Column(title="id", of=lambda record: short_id(record.id)),
    Column(title="formula", of=lambda record: record.formula),
    Column(title="sites", of=lambda record: record.n_sites, right=True),
    Column(title="space group", of=lambda record: record.space_group, right=True),
    Column(title="system", of=lambda record: record.crystal_system),
    Column(title="volume, Å³", of=lambda record: f"{record.volume_a3:.2f}", right=True),
    Column(title="density, g/cm³", of=lambda record: f"{record.density_g_cm3:.3f}", right=True),
    Column(title="from", of=lambda record: source_text(record.source), shrinks=True),
)


def source_text(source: Any) -> str:
    """Where a structure came from, in a few words."""
    named = source.get("file") or source.get("campaign") or source.get("name")
    return f"{source.get('kind', 'unknown')} {named}" if named else str(source.get("kind", "-"))


def structure_document(record: "StructureRecord", *, with_sites: bool = True) -> dict[str, Any]:
    """A structure's fields; without lattice and sites in lists."""
    document: dict[str, Any] = to_document(record)
    if not with_sites:
        document.pop("structure")
    return document


@app.command("import")
def import_files(
    paths: options.Paths,
    *,
    shared: Annotated[bool, typer.Option("--shared", help="Visible to all users.")] = False,
    as_json: options.Json = False,
) -> None:
    """Import CIF, POSCAR, extended XYZ, XSF and JSON files, folders and zip archives.

    One bad file stops nothing. Exit code 0 when all went in (imported or duplicate), 3 when some
    were refused.

    JSON, one line for each structure: {"file", "index", "status": "imported|duplicate|refused",
    "id", "formula", "error": null | {"code", "message"}}.
    """
    from nanoos.structures import iter_paths

    counts: Counter[str] = Counter()
    with services() as lab, progress("importing", kind="count") as report:
        for line in lab.structures.import_outcomes(iter_paths(paths), local_user(), shared=shared):
            counts[line.status] += 1
            report(0.0, f"{counts.total()} structures, {counts['refused']} refused")
            if as_json:
                print_document(_line_document(line))
            elif line.error is not None:
                say(f"refused: {line.file} [{line.index}]: {line.error['message']}")
                if line.error.get("hint"):
                    say(f"         {line.error['hint']}")
    if not as_json:
        print_facts([(status, counts[status]) for status in ("imported", "duplicate", "refused")])
    if counts["refused"]:
        raise typer.Exit(SOME_REFUSED)


def _line_document(line: "ImportLine") -> dict[str, Any]:
    error = line.error
    return {
        "file": line.file,
        "index": line.index,
        "status": line.status,
        "id": line.id,
        "formula": line.formula,
        "error": error and {"code": error["code"], "message": error["message"]},
    }


@app.command("list")
def list_structures(
    *,
    elements: Annotated[str | None, typer.Option(help="All of these must be in it: Li,O.")] = None,
    formula: Annotated[str | None, typer.Option(help="In any order and multiple: Mg2O2.")] = None,
    min_sites: Annotated[int | None, typer.Option(min=1, help="At least so many sites.")] = None,
    max_sites: Annotated[int | None, typer.Option(min=1, help="At most so many sites.")] = None,
    space_group: Annotated[int | None, typer.Option(help="International number, 1-230.")] = None,
    crystal_system: Annotated[str | None, typer.Option(help="cubic, hexagonal, ...")] = None,
    source: Annotated[
        str | None, typer.Option(help="Kind of source (file, campaign) or part of a file name.")
    ] = None,
    limit: options.Limit = 50,
    cursor: options.Cursor = None,
    as_json: options.Json = False,
) -> None:
    """List structures, newest first.

    JSON: {"items": [structure without lattice and sites], "total", "next"}.
    """
    with services() as lab:
        page = lab.structures.page(
            local_user(),
            elements=[part for part in (elements or "").split(",") if part.strip()],
            formula=formula,
            min_sites=min_sites,
            max_sites=max_sites,
            space_group=space_group,
            crystal_system=crystal_system,
            source=source,
            cursor=cursor,
            limit=limit,
        )
    if as_json:
        print_document(page_document(page, lambda r: structure_document(r, with_sites=False)))
        return
    print_table(COLUMNS, page.items, empty="No structures. 'nanoos structures import FILE...'")
    say_next(page, len(page.items))


@app.command()
def show(
    structure: Annotated[str, typer.Argument(help="Id, beginning of it, or formula.")],
    *,
    as_json: options.Json = False,
) -> None:
    """Show one structure with its cell and sites. JSON: the structure's fields."""
    with services() as lab:
        record = find_structure(lab, structure)
    if as_json:
        print_document(structure_document(record))
        return
    print_facts(structure_facts(record))
    crystal = record.structure
    sites = list(zip(crystal.species, crystal.frac_coords.tolist(), strict=True))
    columns = (
        Column(title="element", of=lambda site: site[0]),
        Column(title="x, fractional", of=lambda site: f"{site[1][0]:.5f}", right=True),
        Column(title="y, fractional", of=lambda site: f"{site[1][1]:.5f}", right=True),
        Column(title="z, fractional", of=lambda site: f"{site[1][2]:.5f}", right=True),
    )
    print_table(columns, sites, empty="No sites.")


def structure_facts(record: "StructureRecord") -> list[tuple[str, Any]]:
    """What there is to say of a structure beside its sites."""
    crystal = record.structure
    lengths = ", ".join(f"{length:.4f}" for length in crystal.lengths)
    angles = ", ".join(f"{angle:.2f}" for angle in crystal.angles)
    group = f"{record.space_group} ({record.crystal_system})" if record.space_group else None
    return [
        ("structure", record.id),
        ("formula", record.formula),
        ("name", crystal.label),
        ("sites", record.n_sites),
        ("a, b, c, Å", lengths),
        ("α, β, γ, °", angles),
        ("volume, Å³", record.volume_a3),
        ("density, g/cm³", record.density_g_cm3),
        ("space group", group),
        ("dimensionality", record.dimensionality),
        ("from", source_text(record.source)),
        ("stored, UTC", record.created_at),
    ]


@app.command()
def export(
    structures: Annotated[list[str], typer.Argument(help="Ids, beginnings of ids or formulas.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; - for stdout.")],
    format_: Annotated[
        str | None,
        typer.Option("--format", help="cif, poscar, extxyz, json or zip; default by the name."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write structures to one file. JSON: {"file", "structures": number, "ids"}."""
    refuse_both_on_stdout(output, as_json=as_json)
    with services() as lab:
        ids = [find_structure(lab, text).id for text in structures]
        written = write_output(lab, ids, output, format_)
    if as_json:
        print_document({"file": output, "structures": written, "ids": ids})
    else:
        say(f"{written} structures written to {output}.")


@app.command()
def delete(
    structure: Annotated[str, typer.Argument(help="Id, beginning of it, or formula.")],
    *,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Delete a structure with its predictions and results. JSON: {"deleted": id}."""
    with services() as lab:
        record = find_structure(lab, structure)
        question = f"Delete {record.formula} {short_id(record.id)} with all predictions, results?"
        if not confirmed(question, yes=yes):
            raise typer.Exit(1)
        lab.structures.delete(record.id, local_user())
    if as_json:
        print_document({"deleted": record.id})
    else:
        say(f"{record.formula} {short_id(record.id)} is deleted.")
