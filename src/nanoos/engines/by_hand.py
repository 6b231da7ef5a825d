"""Repeating a run by hand: ``python -m nanoos.engines.NAME INPUT_DIR OUTPUT_DIR``."""

import argparse
import sys
from pathlib import Path
from typing import Any

from nanoos.core.errors import NanoosError
from nanoos.engines.base import Engine
from nanoos.engines.time_left import with_time_left


def run_by_hand(engine: Engine[Any], package: str, arguments: list[str] | None = None) -> int:
    """Run what an input folder says; the exit code is that of the error, 0 when all is well.

    Args:
        engine: Runs it.
        package: What stands after ``python -m``.
        arguments: Of the command line; None for those of this process.
    """
    program = f"python -m {package}"
    parser = argparse.ArgumentParser(prog=program, description="Repeat a run by hand.")
    parser.add_argument("input_dir", type=Path, help="of a run: parameters.json and the rest")
    parser.add_argument("output_dir", type=Path, help="where the results go")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds (default 3600)")
    given = parser.parse_args(arguments)
    try:
        execute_aloud(engine, given.input_dir, given.output_dir, timeout=given.timeout)
    except NanoosError as error:
        print(error.message, error.hint or "", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


def execute_aloud(
    engine: Engine[Any], input_dir: Path, output_dir: Path, *, timeout: float
) -> None:
    """Execute a run and print how far it is. Raises what it failed with."""

    def say(fraction: float, message: str) -> None:
        print(f"{100 * fraction:3.0f} % {message}")  # noqa: T201

    outcome = engine.execute(input_dir, output_dir, timeout=timeout, progress=with_time_left(say))
    if outcome.error is not None:
        raise outcome.error
