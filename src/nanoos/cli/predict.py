"""``nanoos predict``: properties of crystals in files; no account, server or network."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nanoos.cli import options
from nanoos.cli.answering import answering_model
from nanoos.cli.opening import services
from nanoos.cli.predict_sinks import CsvSink, JsonSink, Sink, TableSink
from nanoos.cli.predictions import (
    ModelPredictor,
    Predictor,
    SavingPredictor,
    line_document,
    predict_outcomes,
)
from nanoos.cli.render import progress
from nanoos.cli.structures import SOME_REFUSED
from nanoos.core.errors import InvalidInputError

if TYPE_CHECKING:
    from nanoos.models import PropertyModel

app = typer.Typer(name="predict")


@app.command()
def predict(
    paths: options.Paths,
    *,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Default: the best that is available.")
    ] = None,
    property_: Annotated[
        list[str] | None,
        typer.Option("--property", "-p", help="Only this one; may be repeated."),
    ] = None,
    level: Annotated[float, typer.Option(help="Of the intervals, between 0 and 1.")] = 0.9,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write a table for pandas.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the JSON lines to a file.")
    ] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Keep structures and predictions in the laboratory.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also say what each atom and element contributes.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Predict properties of every crystal in files, folders and zip archives.

    One that cannot be predicted gives a line with its error; the exit code is 3 then.

    JSON, one line for each structure in input order: {"file", "index", "id", "formula",
    "model", "model_version", "properties": {name: {"value", "unit", "sigma", "lower", "upper",
    "level", "confidence", "out_of_domain"}}, "error": null | {"code", "message"}}; where
    there is something to read beside the numbers also "notes": [text]; with --explain also "explanations": {name: {"unit", "value", "baseline", "baseline_kind",
    "atoms": [number], "elements": {symbol: number}}}.
    """
    from nanoos.structures import iter_paths

    if not 0 < level < 1:
        raise InvalidInputError(f"The level is {level}.", hint="Give a number between 0 and 1.")
    failed = done = 0
    with contextlib.ExitStack() as stack:
        answering, properties = answering_model(model, property_)
        if explain:
            _check_explainable(answering)
        asked = ModelPredictor(answering)
        predictor = stack.enter_context(_predictor(model, asked, save=save))
        sinks = _sinks(csv, output, as_json=as_json)
        for sink in sinks:
            stack.enter_context(sink)
        report = stack.enter_context(progress("predicting", kind="count"))
        lines = predict_outcomes(
            iter_paths(paths),
            predictor,
            explained=answering if explain else None,
            properties=properties,
        )
        for line in lines:
            done += 1
            failed += line.error is not None
            document = line_document(line, predictor, properties, level)
            for sink in sinks:
                sink.write(document, line)
            report(0.0, f"{done} structures, {failed} without a prediction")
    if failed:
        raise typer.Exit(SOME_REFUSED)


def _check_explainable(model: "PropertyModel") -> None:
    from nanoos.models.explain import check_explainable

    check_explainable(model)


def _sinks(csv: Path | None, output: Path | None, *, as_json: bool) -> list[Sink]:
    """Where the lines go: files, and standard output unless they only go to files."""
    sinks: list[Sink] = []
    if csv is not None:
        sinks.append(CsvSink(csv))
    if output is not None:
        sinks.append(JsonSink(output))
    sinks.append(JsonSink(None) if as_json else TableSink())
    return sinks


@contextlib.contextmanager
def _predictor(model: str | None, asked: ModelPredictor, *, save: bool) -> Iterator[Predictor]:
    """What predicts; without ``save`` no database is touched."""
    if not save:
        yield asked
        return
    with services() as lab:
        yield SavingPredictor(lab, model, asked)
