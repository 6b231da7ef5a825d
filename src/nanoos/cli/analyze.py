"""``nanoos analyze``: structure, motion and vibrations from a trajectory."""

from pathlib import Path
from typing import Annotated

import typer

from nanoos.cli import options
from nanoos.cli.documents import print_document
from nanoos.cli.render import Column, named_number, print_table, progress, say

app = typer.Typer(name="analyze")


@app.command()
def analyze(
    trajectory: Annotated[
        Path, typer.Argument(help="trajectory.extxyz of a run, or any format that ASE reads.")
    ],
    *,
    which: Annotated[
        list[str] | None,
        typer.Option("--which", help="rdf, msd or vdos; may be repeated. Default: rdf and msd."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of tables and plots. Default: beside it.")
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(help="Time between two frames, fs, where the file does not say it."),
    ] = None,
    start: Annotated[float, typer.Option(help="Leave out the first so many fs.")] = 0.0,
    r_max: Annotated[float, typer.Option(help="Largest distance of the rdf, Å; at most 30.")] = 8.0,
    as_json: options.Json = False,
) -> None:
    """Radial distribution, coordination, diffusion and vibrations of a trajectory.

    JSON: {"values": {name: number}, "warnings": [text], "files": [path]}.
    """
    from nanoos.core.errors import InvalidInputError
    from nanoos.engines.analysis import analyze as run_analysis
    from nanoos.engines.analysis import check_distance, read_trajectory

    check_distance(r_max)
    if not trajectory.is_file():
        raise InvalidInputError(f"There is no file {trajectory}.", hint="Give a trajectory.")
    folder = out or trajectory.with_name(f"{trajectory.stem}-analysis")
    with progress(f"analysing {trajectory.name}") as report:
        frames = read_trajectory(trajectory, interval_fs=interval)
        report(0.5, f"{frames.n_frames} frames of {frames.n_atoms} atoms")
        kept = frames.after(start)
        if kept.n_frames == 0:
            raise InvalidInputError(
                f"No frame lies behind {start:g} fs.", hint="Choose a smaller --start."
            )
        found = run_analysis(kept, folder, which=which or ("rdf", "msd"), r_max_a=r_max)
    files = [str(folder / name) for name in found.files]
    if as_json:
        print_document({"values": found.values, "warnings": found.warnings, "files": files})
        return
    columns = (
        Column(title="result", of=lambda row: row[0]),
        Column(title="value", of=lambda row: row[1], right=True),
        Column(title="unit", of=lambda row: row[2]),
    )
    rows = [named_number(name, value) for name, value in found.values.items()]
    print_table(columns, rows, empty="It gave no numbers.")
    for warning in found.warnings:
        say(f"Note: {warning}")
    for file in files:
        say(file)
