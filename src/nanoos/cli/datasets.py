"""``nanoos datasets``: structures with known properties, for training and comparison."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from nanoos.cli import options
from nanoos.cli.dataset_views import dataset_facts, mean_column, print_targets, show_import
from nanoos.cli.documents import page_document, print_document
from nanoos.cli.opening import confirmed, local_user, services
from nanoos.cli.output import STANDARD_OUTPUT, refuse_both_on_stdout, writable, write_bytes
from nanoos.cli.render import (
    Column,
    print_facts,
    print_table,
    progress,
    say,
    say_next,
    short_id,
)
from nanoos.core.errors import InvalidInputError

if TYPE_CHECKING:
    from nanoos.services.dataset_records import ImportOptions

app = typer.Typer(
    name="datasets",
    help="Import, list, show, split, plot, export and delete data sets.",
    no_args_is_help=True,
)

SOME_REFUSED: Final = 3
_FORMATS: Final = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
}

Named = Annotated[str, typer.Argument(help="Its name, its id, or the beginning of its id.")]
Pairs = Annotated[
    list[str] | None,
    typer.Option("--target", help="PROPERTY=COLUMN, again for each; default: known columns."),
]

_COLUMNS = (
    Column(title="id", of=lambda one: short_id(one.id)),
    Column(title="name", of=lambda one: one.name),
    Column(title="rows", of=lambda one: one.n_rows, right=True),
    Column(title="targets", of=lambda one: ", ".join(one.targets), shrinks=True),
    Column(title="from", of=lambda one: one.source.get("name"), shrinks=True),
    Column(title="made, UTC", of=lambda one: one.created_at),
)


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    """``NAME=VALUE`` options as a mapping. Raises InvalidInputError for anything else."""
    found = {}
    for text in given or []:
        name, sign, value = text.partition("=")
        if not sign or not name.strip() or not value.strip():
            raise InvalidInputError(
                f"{option} {text!r} is not NAME=VALUE.", hint=f"For example {option} bandgap=gap."
            )
        found[name.strip()] = value.strip()
    return found


@app.command("import")
def import_dataset(
    source: Annotated[
        str,
        typer.Argument(
            help="A file, a CGCNN folder, matbench:TASK, jarvis:dft_3d, mp:CONDITIONS, "
            "or simulations."
        ),
    ],
    *,
    name: Annotated[str, typer.Option("--name", "-n", help="Name of the data set; unique.")],
    target: Pairs = None,
    unit: Annotated[
        list[str] | None, typer.Option(help="PROPERTY=UNIT of its column, where needed.")
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="COLUMN=VALUE: only rows where it is so.")
    ] = None,
    structure_column: Annotated[str | None, typer.Option(help="Column with structures.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Column with ids.")] = None,
    split_column: Annotated[str | None, typer.Option(help="Column with train, val, test.")] = None,
    functional: Annotated[
        str | None, typer.Option(help="What the numbers mean: PBE, HSE06, ...")
    ] = None,
    corrections: Annotated[str | None, typer.Option(help="MP2020, ...; default none.")] = None,
    reference: Annotated[
        str | None, typer.Option(help="What energies are measured from; default none.")
    ] = None,
    engine: Annotated[str, typer.Option(help="Of simulations.")] = "MLIP",
    workflow: Annotated[str, typer.Option(help="Of simulations: relax, ...")] = "relax",
    potential: Annotated[str | None, typer.Option(help="Of simulations.")] = None,
    made_by: Annotated[
        str | None,
        typer.Option(help="Of simulations: in their producer, version or level of theory."),
    ] = None,
    shared: Annotated[bool, typer.Option("--shared", help="Visible to all users.")] = False,
    as_json: options.Json = False,
) -> None:
    """Import rows with structures and numbers; bad rows are reported and stop nothing.

    Takes parquet, CSV, JSON lines, JSON (JARVIS, matbench), extended XYZ and CGCNN folders;
    ``matbench:...``, ``jarvis:...`` and ``mp:...`` need a network; ``simulations`` takes results
    of this laboratory. Exit code 0 when all rows went in, 3 when some were refused.

    JSON: the data set's fields.
    """
    from nanoos.services.dataset_records import ImportOptions, SimulationRows

    words = {
        "structure_column": structure_column,
        "id_column": id_column,
        "split_column": split_column,
        "functional": functional,
        "corrections": corrections,
        "reference": reference,
    }
    given = _checked(
        ImportOptions,
        targets=_pairs(target, "--target"),
        units=_pairs(unit, "--unit"),
        where=_pairs(where, "--where"),
        **{key: word for key, word in words.items() if word is not None},
    )
    common: dict[str, Any] = {"name": name, "options": given, "shared": shared}
    with services() as lab, progress(f"importing {source}") as report:

        def tell(fraction: float | None, message: str) -> None:
            report(fraction or 0.0, message)

        if source == "simulations":
            rows = SimulationRows(
                engine=engine, workflow=workflow, potential=potential, made_by=made_by
            )
            record = lab.datasets.import_simulations(rows, local_user(), report=tell, **common)
        elif _is_database(source):
            record = lab.datasets.import_database(source, local_user(), report=tell, **common)
        else:
            record = lab.datasets.import_file(
                Path(source), local_user(), trusted=True, report=tell, **common
            )
    show_import(record, as_json=as_json)
    if record.source["n_refused"]:
        raise typer.Exit(SOME_REFUSED)


def _is_database(source: str) -> bool:
    from nanoos.datasets.readers.databases import is_database

    return is_database(source) and not Path(source).exists()


def _checked(model: "type[ImportOptions]", **fields: Any) -> "ImportOptions":
    from pydantic import ValidationError

    try:
        return model(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = " ".join(str(part) for part in first["loc"])
        raise InvalidInputError(f"The options do not fit: {place} {first['msg']}.") from error


@app.command("list")
def list_datasets(
    *, limit: options.Limit = 50, cursor: options.Cursor = None, as_json: options.Json = False
) -> None:
    """List data sets, newest first. JSON: {"items": [data set], "total", "next"}."""
    with services() as lab:
        page = lab.datasets.page(local_user(), cursor=cursor, limit=limit)
    if as_json:
        print_document(page_document(page))
        return
    print_table(
        _COLUMNS, page.items, empty="No data sets. 'nanoos datasets import FILE --name NAME'"
    )
    say_next(page, len(page.items))


@app.command()
def show(dataset: Named, *, as_json: options.Json = False) -> None:
    """Show a data set: its targets, their statistics, what was refused. JSON: its fields."""
    with services() as lab:
        record = lab.datasets.find(dataset, local_user())
    if as_json:
        print_document(record)
        return
    print_facts(dataset_facts(record))
    print_targets(record)


@app.command()
def split(
    dataset: Named,
    *,
    method: Annotated[
        str, typer.Option(help="composition (no formula in two parts), random or given.")
    ] = "composition",
    fractions: Annotated[
        str, typer.Option(help="Of train, val and test, together 1.")
    ] = "0.8,0.1,0.1",
    seed: Annotated[int, typer.Option(min=0, help="Of the random order.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="CSV file with row, id, formula and part."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Show how a data set would be divided; training takes the same split by the same numbers.

    JSON: {"dataset", "method", "seed", "sha256", "parts": {name: {"rows", "formulas",
    "statistics"}}}.
    """
    from nanoos.datasets.splits import split_train_val

    refuse_both_on_stdout(output, as_json=as_json)
    with services() as lab:
        rows = lab.datasets.load(lab.datasets.find(dataset, local_user()).id, local_user())
    found = split_train_val(rows, method=method, fractions=_fractions(fractions), seed=seed)  # type: ignore[arg-type]
    parts = {name: rows.select(indices) for name, indices in found.parts().items()}
    if output is not None:
        lines = ["row,id,formula,part"]
        lines += [
            f'{row},"{rows.ids[row]}",{rows.reduced_formulas[row]},{name}'
            for name, indices in found.parts().items()
            for row in indices.tolist()
        ]
        write_bytes(output, ("\n".join(lines) + "\n").encode())
    if as_json:
        print_document(
            {
                "dataset": rows.name,
                "method": found.method,
                "seed": found.seed,
                "sha256": found.sha256,
                "parts": {
                    name: {
                        "rows": len(part),
                        "formulas": len(set(part.reduced_formulas)),
                        "statistics": part.statistics(),
                    }
                    for name, part in parts.items()
                },
            }
        )
        return
    columns = (
        Column(title="part", of=lambda item: item[0]),
        Column(title="rows", of=lambda item: len(item[1]), right=True),
        Column(title="formulas", of=lambda item: len(set(item[1].reduced_formulas)), right=True),
        *(mean_column(name, rows.units[name]) for name in rows.targets),
    )
    if output != STANDARD_OUTPUT:
        print_table(columns, list(parts.items()), empty="No parts.")


def _fractions(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidInputError(
            f"--fractions {text!r} are no numbers.", hint="For example 0.8,0.1,0.1."
        ) from None


@app.command()
def plot(
    dataset: Named,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG to write; - for stdout.")],
    as_json: options.Json = False,
) -> None:
    """Draw the targets as histograms and the elements on a periodic table. JSON: {"file"}."""
    refuse_both_on_stdout(output, as_json=as_json)
    with services() as lab:
        record = lab.datasets.find(dataset, local_user())
        write_bytes(output, lab.datasets.plot(record.id, local_user()))
    if as_json:
        print_document({"file": output, "dataset": record.name})
    elif output != STANDARD_OUTPUT:
        say(f"Written to {output}.")


@app.command()
def export(
    dataset: Named,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; - for stdout.")],
    format_: Annotated[
        str | None, typer.Option("--format", help="parquet, csv or extxyz; default by the name.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write all rows to a file that can be imported again. JSON: {"file", "dataset", "rows"}."""
    refuse_both_on_stdout(output, as_json=as_json)
    kind = format_ or _FORMATS.get(output.suffix.lower())
    if kind is None:
        raise InvalidInputError(
            f"The name {output.name!r} does not say which format to write.",
            hint="Give --format parquet, csv or extxyz.",
        )
    with services() as lab:
        record = lab.datasets.find(dataset, local_user())
        chunks, _ = lab.datasets.export(record.id, local_user(), kind)
        if output == STANDARD_OUTPUT:
            for chunk in chunks:
                write_bytes(output, chunk)
        else:
            part = output.with_name(f".{output.name}.part")
            try:
                with writable(output):
                    with part.open("wb") as file:
                        file.writelines(chunks)
                    part.replace(output)
            finally:
                part.unlink(missing_ok=True)
    if as_json:
        print_document({"file": output, "dataset": record.name, "rows": record.n_rows})
    elif output != STANDARD_OUTPUT:
        say(f"{record.n_rows:,} rows written to {output}.")


@app.command()
def delete(dataset: Named, *, yes: options.Yes = False, as_json: options.Json = False) -> None:
    """Delete a data set; models trained on it stay. JSON: {"deleted": id}."""
    with services() as lab:
        record = lab.datasets.find(dataset, local_user())
        if not confirmed(f"Delete the data set {record.name!r} ({record.n_rows:,} rows)?", yes=yes):
            raise typer.Exit(1)
        lab.datasets.delete(record.id, local_user())
    if as_json:
        print_document({"deleted": record.id})
    else:
        say(f"The data set {record.name!r} is deleted.")
