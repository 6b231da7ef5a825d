"""``nanoos simulate``: a simulation as a job, followed to its end if asked."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nanoos.cli import options
from nanoos.cli.documents import print_document
from nanoos.cli.finding import find_structure
from nanoos.cli.job_output import copy_job_files
from nanoos.cli.opening import local_user, settings_and_services
from nanoos.cli.render import (
    Column,
    named_number,
    print_facts,
    print_table,
    progress,
    say,
    short_id,
)
from nanoos.core.errors import CancelledError, EngineError, InvalidInputError

if TYPE_CHECKING:
    import uuid

    from nanoos.config import Settings
    from nanoos.services.container import Services
    from nanoos.services.simulations import Simulation
    from nanoos.services.structure_records import StructureRecord

app = typer.Typer(name="simulate")

POLL_S = 0.3
_ENDED = ("completed", "failed", "cancelled")


@app.command()
def simulate(
    what: Annotated[str, typer.Argument(help="A file with one structure, an id or a formula.")],
    *,
    engine: Annotated[
        str | None, typer.Option("--engine", "-e", help="Engine. Default: MLIP.")
    ] = None,
    workflow: Annotated[
        str | None,
        typer.Option(
            "--workflow",
            "-w",
            help="relax, equation_of_state, MD_NVT_LAMMPS, ... Default: the engine's own.",
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            help="A template instead of engine and workflow ('nanoos templates list'); --set "
            "replaces or joins its parameters."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A parameter: potential=SevenNet; may be repeated."),
    ] = None,
    priority: Annotated[int, typer.Option(help="Higher ones run first.")] = 0,
    wait: Annotated[
        bool, typer.Option("--wait", help="Run a worker here until it has ended; show progress.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="With --wait: copy inputs, results and plots to this folder."
        ),
    ] = None,
    write_input: Annotated[
        Path | None,
        typer.Option(
            "--write-input", help="Only write the input files to this folder; nothing is submitted."
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Submit a simulation. The same work is never done twice: it gives the one that is there.

    One that failed or was cancelled is tried again.

    JSON: the simulation's fields ("id", "job_id", "state", "values", ...); with --write-input:
    {"folder", "files"}.
    """
    from nanoos.engines import get_engine

    if output is not None and not wait:
        raise InvalidInputError(
            "There are no files before it has run.",
            hint="Add --wait, or copy them later: nanoos jobs files JOB.",
        )
    parameters = dict(given_parameter(text) for text in set_ or ())
    with settings_and_services() as (settings, lab):
        if template is not None:
            engine, workflow, parameters = _of_template(lab, template, engine, workflow, parameters)
        engine = engine or "MLIP"
        workflow = workflow or get_engine(engine).default_workflow
        if write_input is not None:
            parameters["workflow"] = workflow
            _write_input(lab, what, engine, parameters, write_input, as_json)
            return
        record = stored_structure(lab, what)
        simulation = lab.simulations.submit(
            record.id,
            local_user(),
            engine=engine,
            workflow=workflow,
            parameters=parameters,
            priority=priority,
        )
        if wait:
            simulation = followed(settings, lab, simulation.id)
        if output is not None:
            copy_job_files(lab, simulation.job_id, output)
    if as_json:
        print_document(simulation)
    else:
        _print(simulation, record.formula)
        if wait:
            shown = output or f"nanoos jobs files {short_id(simulation.job_id)}"
            say(f"Its files: {shown}")
    if wait:
        require_completed(simulation)


def _of_template(
    lab: "Services",
    template: str,
    engine: str | None,
    workflow: str | None,
    overrides: dict[str, Any],
) -> tuple[str, str, dict[str, Any]]:
    if engine is not None or workflow is not None:
        raise InvalidInputError(
            "A template says engine and workflow.", hint="Leave --engine and --workflow out."
        )
    found = lab.templates.get(template, local_user())
    return found.engine, found.workflow, {**found.parameters, **overrides}


def _write_input(
    lab: "Services",
    what: str,
    engine: str,
    parameters: dict[str, Any],
    folder: Path,
    as_json: bool,
) -> None:
    from nanoos.core.folders import existing_path
    from nanoos.engines import get_engine
    from nanoos.structures import read_structure

    path = existing_path(what)
    if path is None or not path.is_file():
        structure = find_structure(lab, what).structure
    else:
        structure = read_structure(path)
    written = get_engine(engine)().prepare_input(structure, parameters, folder)
    files = sorted(file.name for file in written.iterdir())
    if as_json:
        print_document({"folder": str(written), "files": files})
    else:
        say(f"Wrote {written}: {', '.join(files)}.")


def given_parameter(text: str) -> tuple[str, Any]:
    """``name=value``; numbers, true, false, null and lists as in JSON, all else as text."""
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise InvalidInputError(f"{text!r} is no parameter.", hint="Write --set NAME=VALUE.")
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value


def stored_structure(lab: "Services", what: str) -> "StructureRecord":
    """The stored structure that is meant; one from a file is stored first, in the cell of the file."""
    from nanoos.core.folders import existing_path
    from nanoos.structures import read_structure

    path = existing_path(what)
    if path is None or not path.is_file():
        return find_structure(lab, what)
    source = {"kind": "file", "file": what}
    record, _ = lab.structures.add(read_structure(path), local_user(), source=source, as_given=True)
    return record


def followed(settings: "Settings", lab: "Services", simulation_id: "uuid.UUID") -> "Simulation":
    """The simulation when it has ended; a worker in this process takes it unless another does."""
    from nanoos.worker import LocalWorker

    simulation = lab.simulations.get(simulation_id, local_user())
    if simulation.state in _ENDED:
        return simulation
    queue = lab.jobs.get(simulation.job_id, local_user()).queue
    worker = LocalWorker(lab, settings, queues=[queue], concurrency=1)
    worker.start()
    try:
        with progress(f"{simulation.workflow} with {simulation.engine}") as report:
            while simulation.state not in _ENDED:
                time.sleep(POLL_S)
                simulation = lab.simulations.get(simulation_id, local_user())
                report(simulation.progress, simulation.message or simulation.state)
    finally:
        worker.stop()
    return simulation


def require_completed(simulation: "Simulation", *, what: str = "simulation") -> None:
    """Raise EngineError if what was waited for has failed, CancelledError if it was cancelled."""
    if simulation.state == "completed":
        return
    if simulation.state == "cancelled":
        raise CancelledError(
            f"The {what} was cancelled.",
            hint=f"Queue it again: nanoos jobs retry {short_id(simulation.job_id)}",
        )
    error = simulation.error or {}
    raise EngineError(
        f"The {what} failed: {error.get('message', 'no reason was given')}",
        hint=error.get("hint") or f"nanoos jobs log {short_id(simulation.job_id)}",
        code=error.get("code"),
    )


def _used(simulation: "Simulation") -> str | None:
    if simulation.resources is None:
        return None
    used, asked = simulation.resources["used"], simulation.resources["requested"]
    return (
        f"{used['cpu_s']:.1f} s of processor, {used['max_rss_mb']:.0f} MB; "
        f"processes: {asked['processes']}, threads of each: {asked['threads']}"
    )


def _stress(simulation: "Simulation") -> str | None:
    if simulation.stress_gpa is None:
        return None
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = simulation.stress_gpa
    parts = {"xx": xx, "yy": yy, "zz": zz, "yz": yz, "xz": xz, "xy": xy}
    return " ".join(f"{name} {value:.3f}" for name, value in parts.items()) + " (tension positive)"


def _print(simulation: "Simulation", formula: str) -> None:
    print_facts(
        [
            ("simulation", simulation.id),
            ("job", simulation.job_id),
            ("of", f"{formula} {short_id(simulation.structure_id)}"),
            ("what", f"{simulation.workflow} with {simulation.engine}"),
            ("state", simulation.state),
            ("took, s", simulation.wall_time_s),
            ("used", _used(simulation)),
            ("stress, GPa", _stress(simulation)),
        ]
    )
    if simulation.values:
        columns = (
            Column(title="result", of=lambda row: row[0]),
            Column(title="value", of=lambda row: row[1], right=True),
            Column(title="unit", of=lambda row: row[2]),
        )
        rows = [named_number(name, value) for name, value in simulation.values.items()]
        print_table(columns, rows, empty="It gave no numbers.")
    for warning in (simulation.record or {}).get("warnings", ()):
        say(f"Note: {warning}")
    if simulation.state == "queued":
        say(
            f"It waits for a worker. Follow it: nanoos jobs events {short_id(simulation.job_id)} -f"
        )
