"""``nanoos converge``: the k-point mesh of a crystal by calculation, and how the prediction did."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from nanoos.cli import options
from nanoos.cli.documents import print_document
from nanoos.cli.opening import local_user, settings_and_services
from nanoos.cli.output import make_folder, write_bytes
from nanoos.cli.render import Column, print_facts, print_table, say, short_id
from nanoos.cli.simulate import followed, given_parameter, require_completed, stored_structure
from nanoos.core.errors import InvalidInputError, NanoosError

if TYPE_CHECKING:
    from nanoos.services.container import Services
    from nanoos.services.simulations import Simulation

app = typer.Typer(name="converge")

_WRITTEN: Final = ("kpoint_convergence.csv", "kpoint_convergence.png")
_PREDICTION: Final = (
    "predicted_length_a",
    "predicted_kdist_lower_per_a",
    "predicted_kdist_upper_per_a",
    "prediction_holds",
    "predicted_mesh_fine_enough",
    "predicted_points_over_needed",
)


@app.command()
def converge(
    what: Annotated[
        str | None,
        typer.Argument(metavar="STRUCTURE", help="A file with one structure, an id or a formula."),
    ] = None,
    *,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A parameter: tolerance_ev=0.002; may be repeated."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of plot and table.")
    ] = Path(),
    submit: Annotated[
        bool, typer.Option("--submit", help="Only queue the job; a worker elsewhere runs it.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Write every stored study to this file, for training."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Calculate at which k-point mesh the energy of a crystal is converged, with Quantum ESPRESSO.

    SCFs on meshes of 5, 10, 15, ... Å until the energy of the cell changes by less than 1 meV, as
    for the labels of the k-point models. The study is a job: killed and called again, it goes on
    where it was. Energy against length is written as FORMULA_STUDY_kpoints.csv and .png, STUDY
    being the first digits of its id.

    JSON: {"simulation_id", "job_id", "formula", "state", "converged_length_a", "converged_kdist",
    "mesh": [n1, n2, n3], "criterion", "energies": [{"length_a", "mesh", "energy_ev"}, ...],
    "prediction": null | {...}, "warnings", "files": [...]}; with --export {"exported", "file"}.
    """  # fmt: skip
    with settings_and_services() as (settings, lab):
        if export is not None:
            if what is not None:
                raise InvalidInputError(
                    "--export writes the studies that are there and makes none.",
                    hint="Make the study first, then export.",
                )
            _export(lab, export, as_json=as_json)
            return
        if what is None:
            raise InvalidInputError("No structure is named.", hint="nanoos converge Si.cif")
        make_folder(output)
        record = stored_structure(lab, what)
        parameters = dict(given_parameter(text) for text in set_ or ())
        study = lab.kpoint_studies.submit(record.id, local_user(), parameters=parameters)
        if not submit:
            study = followed(settings, lab, study.id)
        files, unwritten = _write(lab, study, output, record.formula)
    document = study_document(study, record.formula, files)
    if as_json:
        print_document(document)
    else:
        _print(document)
    if unwritten is not None:
        raise unwritten
    if not submit:
        require_completed(study, what="study")


def study_document(study: "Simulation", formula: str, files: list[Path]) -> dict[str, Any]:
    """What ``nanoos converge --json`` prints."""
    record = study.record or {}
    values, labels, series = (record.get(key) or {} for key in ("values", "labels", "series"))
    names = ("length_a", "mesh_1", "mesh_2", "mesh_3", "energy_ev")
    rows = zip(*(series.get(name, ()) for name in names), strict=True)
    said = {name: values[name] for name in _PREDICTION if name in values}
    mesh = [int(n) for n in labels.get("converged_mesh", "").split("x") if n]
    return {
        "simulation_id": str(study.id),
        "job_id": str(study.job_id),
        "formula": formula,
        "state": study.state,
        "converged_length_a": values.get("converged_length_a"),
        "converged_kdist": values.get("converged_kdist_per_a"),
        "mesh": mesh or None,
        "criterion": labels.get("criterion"),
        "energies": [
            {"length_a": length, "mesh": [int(n) for n in divisions], "energy_ev": energy}
            for length, *divisions, energy in rows
        ],
        "prediction": {**said, "sentence": labels["prediction"]} if said else None,
        "warnings": list(record.get("warnings", ())),
        "files": [str(path) for path in files],
    }


def _write(
    lab: "Services", study: "Simulation", folder: Path, formula: str
) -> tuple[list[Path], NanoosError | None]:
    """Copy plot and table of a completed study out of its job; the files, and why one is missing."""
    written: list[Path] = []
    if study.state != "completed":
        return written, None
    there = {file.name for file in lab.job_files.names(study.job_id, local_user())}
    for name in _WRITTEN:
        if f"output/{name}" not in there:
            continue
        path = folder / f"{formula}_{short_id(study.id)}_kpoints{Path(name).suffix}"
        try:
            with lab.job_files.open(study.job_id, f"output/{name}", local_user()) as handle:
                write_bytes(path, handle.read())
        except NanoosError as error:
            return written, error
        written.append(path)
    return written, None


def _export(lab: "Services", path: Path, *, as_json: bool) -> None:
    count = lab.kpoint_studies.export(path, local_user())
    if as_json:
        print_document({"exported": count, "file": str(path)})
    else:
        say(f"{count} studies written to {path}.")


def _print(document: dict[str, Any]) -> None:
    rows = _with_changes(document["energies"])
    if rows:
        print_table(_COLUMNS, rows, empty="")
    mesh = document["mesh"]
    print_facts(
        [
            ("study", document["simulation_id"]),
            ("job", document["job_id"]),
            ("of", document["formula"]),
            ("state", document["state"]),
            ("converged at, Å", document["converged_length_a"]),
            ("spacing, Å⁻¹", document["converged_kdist"]),
            ("mesh", " × ".join(str(n) for n in mesh) if mesh else None),
            ("files", ", ".join(document["files"]) or None),
        ]
    )
    if document["criterion"]:
        say(f"Converged: {document['criterion']}.")
    if document["prediction"]:
        say(document["prediction"]["sentence"])
    for warning in document["warnings"]:
        say(f"Note: {warning}")
    if document["state"] == "queued":
        say(f"It waits for a worker: nanoos jobs events {document['job_id'][:8]} -f")


def _with_changes(energies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each mesh once, with what it changed, meV."""
    rows: list[dict[str, Any]] = []
    for one in energies:
        if rows and rows[-1]["mesh"] == one["mesh"]:
            continue
        change = 1e3 * (one["energy_ev"] - rows[-1]["energy_ev"]) if rows else None
        rows.append({**one, "change_mev": change})
    return rows


_COLUMNS: Final = (
    Column(title="length, Å", of=lambda row: row["length_a"], right=True),
    Column(title="mesh", of=lambda row: " × ".join(str(n) for n in row["mesh"])),
    Column(title="energy of the cell, eV", of=lambda row: f"{row['energy_ev']:.6f}", right=True),
    Column(
        title="change, meV",
        of=lambda row: "" if row["change_mev"] is None else f"{row['change_mev']:+.3f}",
        right=True,
    ),
)
