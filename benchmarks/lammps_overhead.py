"""What the LAMMPS engine adds to a bare ``lmp`` run of the same input.

Usage: python benchmarks/lammps_overhead.py [--repeats 5] [--cases 3] [--json]

Each case is run alternately through the engine (input written, supervised, thermo and trajectory
read, averages, radial distribution, diffusion and plots) and as ``lmp -in in.lammps`` on the very
input folder that the engine wrote. Best of the repeats each; one process, one thread. The aim is
3 % plus 0.3 s. Run it on a quiet machine: the engine reads the trajectory while LAMMPS runs, so a
second core that is busy shows here.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from nanoos.engines import get_engine
from nanoos.engines.lammps.program import find_program
from nanoos.structures import Structure

RELATIVE, ABSOLUTE_S = 0.03, 0.3
CASES = {
    "Cu 500 atoms, 2,000 steps": (5, 2_000, "Cu_mishin1.eam.alloy"),
    "Cu 500 atoms, 20,000 steps": (5, 20_000, "Cu_mishin1.eam.alloy"),
    "Cu 4,000 atoms, 5,000 steps": (10, 5_000, "Cu_mishin1.eam.alloy"),
}


def copper() -> Structure:
    sites = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    return Structure(lattice=3.615 * np.eye(3), species=("Cu",) * 4, frac_coords=sites)


def measure(repeats: int, size: int, steps: int, potential: str) -> tuple[float, float]:
    """Seconds of the engine and of the bare program, best of the repeats."""
    engine, program = get_engine("LAMMPS")(), find_program()
    parameters = {"potential": potential, "num_steps": steps, "repeats": [size] * 3}
    with_engine, bare = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            engine.run(copper(), parameters, Path(folder), timeout=86_400)
            with_engine.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            subprocess.run(
                [*program.command, "-in", "in.lammps", "-screen", "none"],
                cwd=Path(folder) / "input",
                env=program.environment(),
                check=True,
                stdout=subprocess.DEVNULL,
            )
            bare.append(time.perf_counter() - begun)
    return min(with_engine), min(bare)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cases", type=int, default=len(CASES), help="the first so many")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    measure(1, 2, 100, "Cu_mishin1.eam.alloy")  # modules loaded, the program asked once
    rows = []
    for name, (size, steps, potential) in list(CASES.items())[: given.cases]:
        engine_s, bare_s = measure(given.repeats, size, steps, potential)
        allowed = RELATIVE * bare_s + ABSOLUTE_S
        rows.append(
            {
                "case": name,
                "engine_s": engine_s,
                "lmp_s": bare_s,
                "overhead_s": engine_s - bare_s,
                "allowed_s": allowed,
                "met": engine_s - bare_s <= allowed,
            }
        )
        if not given.json:
            print(
                f"{name}: lmp {bare_s:.2f} s, engine {engine_s:.2f} s, "
                f"overhead {engine_s - bare_s:.2f} s (allowed {allowed:.2f} s)"
            )
    if given.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
