"""CHGNet relaxations and equations of state per minute: ``python benchmarks/relaxations.py``.

Crystals come from our own prototypes, cells started from tabulated radii, so every relaxation
starts some way from its minimum. One process, one thread. Prints a markdown table.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from nanoos.engines import get_engine
from nanoos.potentials import get_potential
from nanoos.structures.generate import build_prototype

CRYSTALS = {
    "rocksalt": [("Mg", "O"), ("Ti", "C"), ("Ti", "N"), ("Na", "Cl"), ("Zr", "C"), ("Ca", "S")],
    "zincblende": [("Ga", "As"), ("Zn", "S"), ("Si", "C"), ("B", "N"), ("In", "P"), ("Cd", "Te")],
    "wurtzite": [("Zn", "O"), ("Ga", "N"), ("Al", "N"), ("Zn", "S"), ("Cd", "Se"), ("In", "N")],
    "nias": [("Ni", "As"), ("Fe", "S"), ("Co", "Te"), ("Cr", "Sb"), ("V", "S"), ("Ti", "Se")],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=1)
    arguments = parser.parse_args()
    get_potential("CHGNet")
    engine = get_engine("MLIP")()
    crystals = [
        build_prototype(name, {"A": a, "X": x})
        for name, pairs in CRYSTALS.items()
        for a, x in pairs
    ] * arguments.repeat
    print("| workflow | crystals | per minute | median s | slowest s | failed |")
    print("|---|---:|---:|---:|---:|---:|")
    for workflow in ("relax", "equation_of_state"):
        times, failed = [], 0
        for crystal in crystals:
            began = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                try:
                    engine.run(crystal, {"workflow": workflow}, Path(folder))
                except Exception as error:  # noqa: BLE001 - counted and shown
                    failed += 1
                    print(f"<!-- {crystal.formula}: {error} -->")
            times.append(time.perf_counter() - began)
        rate = 60 * len(times) / sum(times)
        print(
            f"| {workflow} | {len(times)} | {rate:.0f} | {statistics.median(times):.2f} "
            f"| {max(times):.2f} | {failed} |"
        )


if __name__ == "__main__":
    main()
