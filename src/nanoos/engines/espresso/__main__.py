"""Repeat a run by hand: ``python -m nanoos.engines.espresso INPUT_DIR OUTPUT_DIR``."""

import argparse
import sys
from pathlib import Path

from nanoos.core.errors import NanoosError
from nanoos.engines.espresso.engine import EspressoEngine


def main(arguments: list[str] | None = None) -> int:
    """Run what the input folder says; the exit code is that of the error, 0 when all is well."""
    parser = argparse.ArgumentParser(prog="python -m nanoos.engines.espresso", description=__doc__)
    parser.add_argument("input_dir", type=Path, help="holds structure.json and parameters.json")
    parser.add_argument("output_dir", type=Path, help="where the results go")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds (default 3600)")
    given = parser.parse_args(arguments)
    try:
        outcome = EspressoEngine().execute(
            given.input_dir,
            given.output_dir,
            timeout=given.timeout,
            progress=lambda fraction, message: print(f"{100 * fraction:3.0f} % {message}"),  # noqa: T201
        )
        if outcome.error is not None:
            raise outcome.error
    except NanoosError as error:
        print(error.message, error.hint or "", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
