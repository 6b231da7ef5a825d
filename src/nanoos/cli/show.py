"""``nanoos show``: all that is known of a structure, and where each number came from."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nanoos.cli import options
from nanoos.cli.documents import print_document
from nanoos.cli.finding import find_structures
from nanoos.cli.opening import local_user, services
from nanoos.cli.predictions import value_document
from nanoos.cli.render import Column, named_number, print_facts, print_table, say, short_id
from nanoos.cli.structures import structure_document, structure_facts

if TYPE_CHECKING:
    from nanoos.services.container import Services
    from nanoos.services.prediction_records import PredictionRecord
    from nanoos.services.simulations import Simulation
    from nanoos.services.structure_records import StructureRecord

app = typer.Typer(name="show")

_MOST_SIMULATIONS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Number:
    """One number of a structure, predicted or simulated."""

    what: str
    value: Any
    sigma: float | None
    unit: str
    kind: str
    origin: str
    theory: str | None
    made: Any


_COLUMNS = (
    Column(title="property", of=lambda number: number.what),
    Column(title="value", of=lambda number: number.value, right=True),
    Column(title="±", of=lambda number: number.sigma, right=True),
    Column(title="unit", of=lambda number: number.unit),
    Column(title="is a", of=lambda number: number.kind),
    Column(title="from", of=lambda number: number.origin),
    Column(title="made, UTC", of=lambda number: number.made),
    Column(title="level of theory", of=lambda number: number.theory, shrinks=True),
)


@app.command()
def show(
    text: Annotated[str, typer.Argument(help="A formula, an id or the beginning of one.")],
    *,
    level: Annotated[float, typer.Option(help="Of the intervals in the JSON, 0 to 1.")] = 0.9,
    as_json: options.Json = False,
) -> None:
    """Show every prediction and every result of the structures meant, and where each came from.

    JSON, one line for each structure: {"structure", "predictions": [{"id", "model",
    "model_version", "properties", "metadata", "created_at"}], "simulations": [simulation]}.
    """
    with services() as lab:
        for record in find_structures(lab, text):
            predictions = lab.predictions.history(record.id, local_user())
            simulations = _simulations(lab, record)
            if as_json:
                print_document(
                    {
                        "structure": structure_document(record),
                        "predictions": [_prediction_document(p, level) for p in predictions],
                        "simulations": simulations,
                    }
                )
            else:
                _print(record, predictions, simulations)


def _simulations(lab: "Services", record: "StructureRecord") -> "list[Simulation]":
    page = lab.simulations.page_of_structure(record.id, local_user(), limit=_MOST_SIMULATIONS)
    return list(page.items)


def _prediction_document(prediction: "PredictionRecord", level: float) -> dict[str, Any]:
    return {
        "id": prediction.id,
        "model": prediction.model_name,
        "model_version": prediction.model_version,
        "properties": {
            name: value_document(value, level) for name, value in prediction.values.items()
        },
        "metadata": prediction.metadata,
        "created_at": prediction.created_at,
    }


def _print(
    record: "StructureRecord",
    predictions: "list[PredictionRecord]",
    simulations: "list[Simulation]",
) -> None:
    print_facts(structure_facts(record))
    numbers = [number for prediction in predictions for number in _predicted(prediction)]
    numbers += [number for simulation in simulations for number in _simulated(simulation)]
    print_table(_COLUMNS, numbers, empty=f"Nothing is predicted or simulated of {record.formula}.")
    for simulation in simulations:
        if simulation.state != "completed":
            what = f"{simulation.workflow} with {simulation.engine}"
            say(f"{what} is {simulation.state} (job {short_id(simulation.job_id)}).")
    notes = dict.fromkeys(note for p in predictions for note in p.metadata.get("notes", ()))
    for note in notes:
        say(f"Note: {note}")


def _predicted(prediction: "PredictionRecord") -> list[_Number]:
    numbers = []
    for name, value in prediction.values.items():
        theory = value.level_of_theory
        parts = (theory.functional, theory.corrections, theory.reference) if theory else ()
        numbers.append(
            _Number(
                what=name.replace("_", " "),
                value=value.value,
                sigma=value.sigma,
                unit=value.unit,
                kind="prediction",
                origin=f"{prediction.model_name} {prediction.model_version}",
                theory="; ".join(part for part in parts if part != "none"),
                made=prediction.created_at,
            )
        )
    return numbers


def _simulated(simulation: "Simulation") -> list[_Number]:
    source = (simulation.record or {}).get("provenance", {})
    origin = " ".join(
        str(part)
        for part in (
            simulation.engine,
            simulation.parameters.get("potential"),
            source.get("version"),
            simulation.workflow,
        )
        if part
    )
    rows = (named_number(name, value) for name, value in (simulation.values or {}).items())
    return [
        _Number(
            what=what,
            value=value,
            sigma=None,
            unit=unit,
            kind="result",
            origin=origin,
            theory=None,
            made=simulation.finished_at,
        )
        for what, value, unit in rows
    ]
