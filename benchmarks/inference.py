"""Predictions a second, end to end from structures in memory, on one thread; and the cold start.

    python benchmarks/inference.py [--count 500] [--data ../shared/data]

Each model predicts the same crystals of the split ``test``: all of its properties with intervals,
graphs included; CGCNN also formation energies alone, as the published code does. CHGNet's energies are computed in batches and one by one. The published CGCNN
(loader and network, structures read from CIF) takes about 24 ms a structure on this kind of
machine. The cold start is the wall time of `nanoos predict` for one CIF file, median of five.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

from nanoos.models import get_model
from nanoos.potentials import get_potential
from nanoos.potentials.runtime import set_threads
from nanoos.structures import Structure, write_structures
from nanoos.structures.elements import SYMBOLS

PUBLISHED_MS = 24.0


def crystals(data: Path, count: int) -> list[Structure]:
    """Every n-th test crystal of at most 40 sites."""
    table = pd.read_parquet(data / "mp_crystals" / "mp_crystals.parquet")
    table = table[(table["split"] == "test") & table["in_bench40"]]
    table = table.iloc[:: max(1, len(table) // count)].head(count)
    found = []
    for text in table["structure"]:
        raw = json.loads(text)
        found.append(
            Structure(
                lattice=np.array(raw["lattice"]),
                species=tuple(SYMBOLS[z] for z in raw["atomic_numbers"]),
                frac_coords=np.array(raw["frac_coords"]),
            )
        )
    return found


def timed(run: Callable[[], object]) -> float:
    """Seconds."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    given = parser.parse_args()
    set_threads(1)
    structures = crystals(given.data, given.count)
    atoms = sum(s.n_sites for s in structures)
    print(f"{len(structures)} crystals, {atoms / len(structures):.1f} atoms each")
    wanted: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("CGCNN", ("formation_energy",)),
        ("CGCNN", ()),
        ("ALIGNN", ()),
    )
    for name, only in wanted:
        model = get_model(name)
        if only:
            model = model.narrowed(only)
        if not model.info().available:
            print(f"{name}: no checkpoint")
            continue
        model.predict(structures[:8])
        seconds = timed(lambda model=model: model.predict(structures))
        each = 1e3 * seconds / len(structures)
        print(
            f"{name}, {', '.join(only) or 'all'}: {each:.2f} ms a structure, {1e3 / each:.0f} a second, "
            f"{PUBLISHED_MS / each:.1f} times the published CGCNN"
        )
        few = structures[:40]
        alone = timed(lambda model=model, few=few: [model.predict([s]) for s in few])
        print(f"  one at a time: {1e3 * alone / len(few):.2f} ms")
    potential = get_potential("CHGNet")
    some = structures[:100]
    potential.energies(some[:4])
    together = timed(lambda: potential.energies(some))
    alone = timed(lambda: [potential.energies([s]) for s in some])
    print(
        f"CHGNet energies: {1e3 * together / len(some):.1f} ms batched, "
        f"{1e3 * alone / len(some):.1f} ms one by one"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "crystal.cif"
        write_structures([structures[0]], path)
        command = [sys.executable, "-m", "nanoos", "predict", str(path), "--json"]
        walls = [
            timed(lambda: subprocess.run(command, check=True, capture_output=True))
            for _ in range(5)
        ]
    print(f"cold start of `nanoos predict one.cif`: {statistics.median(walls):.2f} s")


if __name__ == "__main__":
    main()
