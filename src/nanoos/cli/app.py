"""The ``nanoos`` command: its table of commands and its one error handler."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from typer.main import get_command

from nanoos import __version__
from nanoos.cli.lazy import LazyCommand, LazyGroup, PipeClosedError
from nanoos.cli.problems import report_defect, report_error, report_usage
from nanoos.core.errors import NanoosError
from nanoos.core.folders import set_data_dir

INTERRUPTED = 130
PIPE_CLOSED = 141

_CRYSTALS, _SEARCH, _LAB = "Crystals and properties", "Discovery and jobs", "The laboratory"

COMMANDS: tuple[LazyCommand, ...] = tuple(
    LazyCommand(name=name, target=f"nanoos.cli.{target}", help=text, panel=panel)
    for panel, rows in {
        _CRYSTALS: (
            ("predict", "predict:app", "Predict properties of the crystals in files or folders."),
            ("features", "features:app", "Crystal graphs and scalars of the crystals in files."),
            ("kpoints", "kpoints:app", "The k-point mesh at which energies of crystals converge."),
            ("converge", "converge:app", "The k-point mesh of a crystal by calculation, as a job."),
            ("relax", "relax:app", "Relax a crystal with a universal potential, symmetry kept."),
            ("structures", "structures:app", "Import, list, show, export and delete structures."),
            ("show", "show:app", "Every prediction and result of a structure, with its origin."),
            ("export", "export:app", "Write the structures that a query finds to one file."),
            ("train", "train:app", "Train a property model from a YAML file."),
            ("datasets", "datasets:app", "Structures with known properties: import, split, plot."),
            ("models", "models:app", "Which models and potentials there are, and how good."),
        ),
        _SEARCH: (
            ("discover", "discover:app", "Run a discovery campaign from a YAML file."),
            ("campaigns", "campaigns:app", "List, show, pause, continue and export campaigns."),
            ("simulate", "simulate:app", "Simulate a structure as a job."),
            ("templates", "templates:app", "Simulations under a name: list, show, keep, delete."),
            ("analyze", "analyze:app", "Structure, diffusion and vibrations of a trajectory."),
            ("potentials", "potentials:app", "Potential files that LAMMPS can run."),
            ("jobs", "jobs:app", "List, follow, cancel and retry jobs."),
        ),
        _LAB: (
            ("init", "init:app", "Make the data folder and the database."),
            ("serve", "serve:app", "Serve the API and the page, with a worker."),
            ("worker", "worker:app", "Run jobs of some queues."),
            ("users", "users:app", "Create, list and disable accounts."),
            ("keys", "keys:app", "Create, list and revoke API keys."),
            ("config", "config:app", "Show the settings and where each comes from."),
            ("db", "db:app", "Migrate the database."),
            ("tools", "tools:app", "Programs in environments of their own: install, remove."),
            ("pseudos", "pseudos:app", "Pseudopotential families for DFT: install, list, remove."),
            ("doctor", "doctor:app", "Say what is installed, what works and what is missing."),
        ),
    }.items()
    for name, target, text in rows
)
"""Name, module, one line; the help is shown from here without importing anything."""

_root = typer.Typer(
    name="nanoos",
    cls=LazyGroup,
    rich_markup_mode=None,  # plain text: a third of the start-up time would be rich
    no_args_is_help=True,
    help="NANO-OS: autonomous materials discovery. Suggest, predict, choose, simulate, learn.",
    epilog="Exit codes: 0 done, 1 defect, 2 bad input, 3 some structures refused, 5 not found, "
    "6 conflict, 8 something is missing, 9 simulation failed, 130 interrupted.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"nanoos {__version__}")
        raise typer.Exit


@_root.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and leave."
        ),
    ] = False,
) -> None:
    """Options of ``nanoos`` itself."""


def command_group() -> LazyGroup:
    """The root command, with every command in it and none imported."""
    group = cast("LazyGroup", get_command(_root))
    group.add_lazy(COMMANDS)
    return group


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code, never a traceback for a user's mistake.

    Args:
        argv: Arguments after the program's name; None: those of this process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in arguments
    set_data_dir(_configured_data_dir)
    try:
        answer: Any = command_group().main(
            args=arguments, prog_name="nanoos", standalone_mode=False
        )
        sys.stdout.flush()
    except NanoosError as error:
        return report_error(error, as_json=as_json)
    except typer.TyperException as error:
        return report_usage(error, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except (PipeClosedError, BrokenPipeError):
        return _pipe_closed()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(bool(leaving.code))
    except Exception as error:  # noqa: BLE001 - the last edge: a defect shows as one line
        return report_defect(error, as_json=as_json)
    if answer == INTERRUPTED:
        return _interrupted()
    return answer if isinstance(answer, int) else 0


def _configured_data_dir() -> Path:
    from nanoos.config import load_settings

    return load_settings().data_dir


def _interrupted() -> int:
    print("Interrupted.", file=sys.stderr)  # noqa: T201
    return INTERRUPTED


def _pipe_closed() -> int:
    """Leave quietly: what Python would still write at its end has no reader."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PIPE_CLOSED
