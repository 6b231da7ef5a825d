"""``nanoos kpoints``: the k-point mesh of crystals in files; no account, server or network."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from nanoos.cli import options
from nanoos.cli.documents import print_document
from nanoos.cli.kpoint_inputs import InputFolder
from nanoos.cli.render import Column, print_table, progress, say
from nanoos.cli.structures import SOME_REFUSED
from nanoos.core.errors import NanoosError

if TYPE_CHECKING:
    from nanoos.kpoints import KpointModel, KpointPrediction
    from nanoos.structures import ReadOutcome

app = typer.Typer(name="kpoints")

BATCH_STRUCTURES: Final = 64
BATCH_SITES: Final = 2000
TABLE_ROWS: Final = 200
"""Rows that are held until their table is printed: memory stays flat for any input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KpointLine:
    """What became of one structure; ``prediction`` is None where there is an error."""

    read: "ReadOutcome"
    prediction: "KpointPrediction | None"
    error: NanoosError | None
    written: Path | None = None


@app.command()
def kpoints(
    paths: options.Paths,
    *,
    model: Annotated[str, typer.Option("--model", "-m", help="RF or ALIGNN.")] = "RF",
    confidence: Annotated[
        float, typer.Option("--confidence", "-c", help="0.85, 0.9 or 0.95.")
    ] = 0.95,
    write_input: Annotated[
        bool,
        typer.Option(
            "--write-input",
            help="Also write a complete Quantum ESPRESSO input of each structure, and the "
            "pseudopotentials.",
        ),
    ] = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the inputs.")] = Path(),
    family: Annotated[
        str | None,
        typer.Option(
            "--family", help="Pseudopotentials of the inputs; default: the standard ones."
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """The k-point mesh at which the energy of each crystal is converged, with its confidence.

    The mesh is that of the lower bound of the spacing. One that cannot be predicted gives a line
    with its error; the exit code is 3 then.

    JSON, one line for each structure in input order: {"file", "index", "id", "formula", "model",
    "level", "kdist", "kdist_lower", "kdist_upper", "mesh": [n1, n2, n3], "out_of_domain",
    "error": null | {"code", "message"}, "interval_level", "model_version", "shift", "vacuum",
    "mesh_median", "measured_coverage", "reasons", "criterion", "input": null | file}; spacings are in Å^-1, with
    the 2π.
    """
    from nanoos.config import load_settings
    from nanoos.kpoints import kpoint_model
    from nanoos.potentials.installed_weights import set_weights_folder
    from nanoos.pseudopotentials import set_pseudo_folder
    from nanoos.structures import iter_paths

    settings = load_settings()
    set_weights_folder(settings.resolved_models_dir)
    set_pseudo_folder(settings.resolved_pseudo_dir)
    chosen = kpoint_model(model)
    name = chosen.info().name
    inputs = InputFolder(output, family) if write_input else None
    rows: list[dict[str, Any]] = []
    failed = done = written = 0
    with progress("predicting", kind="count") as report:
        for line in kpoint_lines(iter_paths(paths), chosen, confidence):
            found = line if inputs is None else _with_input(line, inputs)
            done += 1
            written += found.written is not None
            failed += found.error is not None
            document = line_document(found, name, confidence)
            if as_json:
                print_document(document)
            else:
                _collect(document, found, rows)
            report(0.0, f"{done} structures, {failed} without a mesh")
    if not as_json:
        _print(rows)
    if written:
        count = f"{written} input{'' if written == 1 else 's'}"
        say(f"{count} written to {output}, pseudopotentials to {output / 'pseudos'}.")
    if failed:
        raise typer.Exit(SOME_REFUSED)


def kpoint_lines(
    outcomes: "Iterable[ReadOutcome]", model: "KpointModel", confidence: float
) -> Iterator[KpointLine]:
    """A line for each structure read, in order; one that fails never fails the rest."""
    from nanoos.services.kpoints import predict_each

    model.predict([], confidence=confidence)  # a level that is not calibrated is no line's error
    for batch in _batches(outcomes):
        structures = [one.structure for one in batch if one.structure is not None]
        answers = iter(predict_each(model, structures, confidence=confidence))
        for read in batch:
            answer = read.error if read.structure is None else next(answers)
            if answer is None or isinstance(answer, NanoosError):
                yield KpointLine(read=read, prediction=None, error=answer)
            else:
                yield KpointLine(read=read, prediction=answer, error=None)


def _batches(outcomes: "Iterable[ReadOutcome]") -> "Iterator[list[ReadOutcome]]":
    batch: list[ReadOutcome] = []
    sites = 0
    for outcome in outcomes:
        size = outcome.structure.n_sites if outcome.structure is not None else 0
        if batch and (len(batch) >= BATCH_STRUCTURES or sites + size > BATCH_SITES):
            yield batch
            batch, sites = [], 0
        batch.append(outcome)
        sites += size
    if batch:
        yield batch


def _with_input(line: KpointLine, inputs: InputFolder) -> KpointLine:
    """The line with the input that was written, or with why there is none."""
    structure, prediction = line.read.structure, line.prediction
    if structure is None or prediction is None:
        return line
    try:
        path = inputs.write(line.read, structure, prediction.mesh)
    except NanoosError as error:
        return replace(line, error=error)
    return replace(line, written=path)


def line_document(line: KpointLine, model: str, confidence: float) -> dict[str, Any]:
    """The line as ``nanoos kpoints --json`` prints it."""
    read, found, error = line.read, line.prediction, line.error
    coverage = found.coverage if found is not None else None
    return {
        "file": read.file,
        "index": read.index,
        "id": read.source_id,
        "formula": None if read.structure is None else read.structure.formula,
        "model": model,
        "level": confidence,
        "kdist": found and found.kdist,
        "kdist_lower": found and found.kdist_lower,
        "kdist_upper": found and found.kdist_upper,
        "mesh": found and list(found.mesh.divisions),
        "out_of_domain": found and found.out_of_domain,
        "error": error and {"code": error.error_code, "message": error.message},
        "interval_level": found and found.interval_level,
        "model_version": found and found.version,
        "shift": found and list(found.mesh.shift),
        "vacuum": found and list(found.mesh.vacuum),
        "mesh_median": found and list(found.mesh_median.divisions),
        "measured_coverage": coverage and coverage.observed,
        "reasons": found and list(found.reasons),
        "criterion": found and found.criterion,
        "input": line.written and str(line.written),
    }


def _collect(document: dict[str, Any], line: KpointLine, rows: list[dict[str, Any]]) -> None:
    """Keep a row for the next table; tell a refusal at once."""
    if line.error is not None:
        say(f"{line.read.file} [{line.read.index}]: {line.error.message}")
        if line.error.hint:
            say(f"    {line.error.hint}")
    if line.prediction is None:
        return
    rows.append(document)
    if len(rows) >= TABLE_ROWS:
        _print(rows)


def _print(rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    times = Counter(Path(file).name for file in {row["file"] for row in rows})
    for row in rows:
        name = Path(row["file"]).name
        place = f" [{row['index']}]" if row["index"] else ""
        row["shown"] = (name if times[name] == 1 else row["file"]) + place
    print_table(_COLUMNS, rows, empty="")
    inside = [row for row in rows if not row["out_of_domain"]]
    first = (inside or rows)[0]
    measured = first["measured_coverage"]
    said = f"{first['model']}, intervals at {first['interval_level']:g}"
    if inside and measured is not None:
        said += f" (held for {measured:.1%} of held-out compositions, all kinds together)"
    say(f"{said}. Converged: {first['criterion']}.")
    if any(row["out_of_domain"] for row in rows):
        say(
            "Outside the domain the interval is that at 0.95 or wider; how often it holds was not measured."
        )
    rows.clear()


def _mesh_text(divisions: list[int]) -> str:
    return " × ".join(str(n) for n in divisions)


_COLUMNS: Final = (
    Column(title="file", of=lambda row: row["shown"], shrinks=True),
    Column(title="formula", of=lambda row: row["formula"]),
    Column(title="spacing, Å⁻¹", of=lambda row: row["kdist"], right=True),
    Column(title="lower", of=lambda row: row["kdist_lower"], right=True),
    Column(title="upper", of=lambda row: row["kdist_upper"], right=True),
    Column(title="mesh", of=lambda row: _mesh_text(row["mesh"])),
    Column(title="mesh of the median", of=lambda row: _mesh_text(row["mesh_median"])),
    Column(title="flags", of=lambda row: "; ".join(row["reasons"])),
)
