"""Runs by hand.

``python -m nanoos.engines.vasp INPUT OUTPUT`` repeats a run, ``--potcar INPUT`` puts its POTCAR
together, ``--read FOLDER`` shows the result of a folder with ``vasprun.xml`` and OUTCAR.
"""

import argparse
import json
import sys
from pathlib import Path

from nanoos.core.errors import NanoosError
from nanoos.engines.by_hand import execute_aloud
from nanoos.engines.vasp.engine import VaspEngine


def main(arguments: list[str] | None = None) -> int:
    """Do what is asked; the exit code is that of the error, 0 when all is well."""
    parser = argparse.ArgumentParser(prog="python -m nanoos.engines.vasp", description=__doc__)
    parser.add_argument("input_dir", type=Path, help="holds structure.json and parameters.json")
    parser.add_argument("output_dir", type=Path, nargs="?", help="where the results go")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds (default 3600)")
    parser.add_argument("--potcar", action="store_true", help="only write INPUT/POTCAR")
    parser.add_argument("--read", action="store_true", help="only read the folder of a run")
    given = parser.parse_args(arguments)
    try:
        if given.potcar:
            print(VaspEngine().write_potcar(given.input_dir))  # noqa: T201
        elif given.read:
            result = VaspEngine().parse_output(given.input_dir)
            print(json.dumps(result.as_dict(), indent=1))  # noqa: T201
        elif given.output_dir is None:
            parser.error("an output folder is needed")
        else:
            execute_aloud(VaspEngine(), given.input_dir, given.output_dir, timeout=given.timeout)
    except NanoosError as error:
        print(error.message, error.hint or "", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
