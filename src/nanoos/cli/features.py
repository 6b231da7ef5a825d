"""``nanoos features``: graphs and scalars of crystals in files; no account, server or network."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from nanoos.cli import options
from nanoos.cli.feature_sinks import (
    JsonSink,
    NpzSink,
    ParquetSink,
    Sink,
    TableSink,
    feature_lines,
    line_document,
)
from nanoos.cli.render import progress
from nanoos.cli.structures import SOME_REFUSED
from nanoos.core.errors import InvalidInputError

app = typer.Typer(name="features")


@app.command()
def features(
    paths: options.Paths,
    *,
    cutoff: Annotated[
        float, typer.Option("--cutoff", "-c", help="Radius of neighbours, Å; at most 20.")
    ] = 5.0,
    neighbors: Annotated[
        int | None,
        typer.Option("--neighbors", "-k", help="Only the nearest so many of each atom."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write graphs: a .parquet file, or a folder for .npz files."
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Crystal graph and scalars of every crystal in files, folders and zip archives.

    One that has none gives a line with its error; the exit code is 3 then.

    JSON, one line for each structure in input order: {"file", "index", "id", "formula", "n_atoms",
    "n_bonds", "isolated_atoms", "scalars": {"element_fractions", "mean_mass_u",
    "mean_electronegativity", "mean_radius_a", "volume_per_atom_a3", "density_g_cm3",
    "packing_fraction"}, "output": null | file, "error": null | {"code", "message"}}.
    """
    from nanoos.features import FeatureParameters
    from nanoos.structures import iter_paths

    parameters = FeatureParameters(cutoff_radius=cutoff, max_neighbors=neighbors)
    failed = done = 0
    with contextlib.ExitStack() as stack:
        sinks = [stack.enter_context(sink) for sink in _sinks(output, as_json=as_json)]
        report = stack.enter_context(progress("extracting", kind="count"))
        for line in feature_lines(iter_paths(paths), parameters):
            done += 1
            failed += line.error is not None
            document = line_document(line)
            for sink in sinks:
                sink.write(document, line)
            report(0.0, f"{done} structures, {failed} without features")
    if failed:
        raise typer.Exit(SOME_REFUSED)


def _sinks(output: Path | None, *, as_json: bool) -> list[Sink]:
    """Where the lines go; graphs are written first, so that a line can name their file."""
    sinks: list[Sink] = []
    if output is not None and output.suffix.lower() == ".parquet":
        sinks.append(ParquetSink(output))
    elif output is not None and output.suffix and not output.is_dir():
        raise InvalidInputError(
            f"{output} is neither a parquet file nor a folder.",
            hint="Give --output features.parquet, or the name of a folder for npz files.",
        )
    elif output is not None:
        sinks.append(NpzSink(output))
    sinks.append(JsonSink() if as_json else TableSink())
    return sinks
