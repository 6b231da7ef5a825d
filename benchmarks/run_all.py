"""Every figure of docs/benchmarks.md, one after another: ``make bench`` (about an hour).

Run it on a machine that does nothing else.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

FOLDER = Path(__file__).parent
SCRIPTS = (
    ("jobs.py",),
    ("relaxations.py",),
    ("import_cifs.py",),
    ("graphs.py",),
    ("api.py",),
    ("schemathesis_run.py",),
    ("bayesian_optimisation.py",),
    ("inference.py",),
    ("training.py",),
    ("memory.py",),
    ("lammps_overhead.py",),
    ("discovery.py", "--data-dir"),
)


def main() -> int:
    failed = []
    with tempfile.TemporaryDirectory(prefix="nanoos-bench-") as scratch:
        for name, *arguments in SCRIPTS:
            print(f"\n## {name}\n", flush=True)
            began = time.monotonic()
            extra = [scratch] if arguments else []
            command = [sys.executable, str(FOLDER / name), *arguments, *extra]
            if subprocess.run(command, check=False).returncode:
                failed.append(name)
            print(f"\ntook {time.monotonic() - began:.0f} s", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
