"""The 12 nearest neighbours within 8 Å of 2,000 crystals in memory: milliseconds a structure.

    python benchmarks/graphs.py [--count 2000] [--peers 200] [--crystals PARQUET]

Ours (packed graphs, and the neighbours alone) beside the bare neighbour lists of vesin and
pymatgen, which hold every pair within 8 Å and choose nothing, over all crystals; and beside what
the published CGCNN's loader does (pymatgen's get_all_neighbors, sorted, the first 12), which is so
slow that it is run on every n-th of the crystals, ours once more on the same. One process, one
thread, processor time; the ways in turn, three rounds, the fastest round counts. The distances of
ours and of the loader must agree before anything is timed. Two minutes on a quiet machine.

Without --crystals the table of the shared data folder is taken: a column "structure" (JSON:
lattice, frac_coords, atomic_numbers), every n-th row.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from nanoos.features import PackedGraphs
from nanoos.features.neighbors import nearest_neighbors
from nanoos.structures import Structure

TABLE = Path(__file__).parents[2] / "shared" / "data" / "mp_crystals" / "mp_crystals.parquet"
NEIGHBORS, CUTOFF_A, ROUNDS = 12, 8.0, 3


def crystals(path: Path, count: int) -> list[Structure]:
    """Every n-th crystal of a table."""
    import pandas as pd

    rows = pd.read_parquet(path, columns=["structure"])["structure"]
    chosen = rows.iloc[:: max(1, len(rows) // count)][:count]
    return [Structure.from_dict(json.loads(text)) for text in chosen]


def as_the_published_loader(structure) -> tuple[np.ndarray, np.ndarray]:
    """Neighbour indices and distances, (n_atoms, 12), as ``CIFData`` of the published code."""
    every = structure.get_all_neighbors(CUTOFF_A, include_index=True)
    every = [sorted(neighbors, key=lambda x: x[1]) for neighbors in every]
    index, distances = [], []
    for neighbors in every:
        lacking = NEIGHBORS - len(neighbors)
        nearest = neighbors[:NEIGHBORS]
        index.append([x[2] for x in nearest] + [0] * max(0, lacking))
        distances.append([x[1] for x in nearest] + [CUTOFF_A + 1.0] * max(0, lacking))
    return np.array(index), np.array(distances)


def bare_pymatgen(structure: Structure) -> object:
    from pymatgen.optimization.neighbors import find_points_in_spheres

    positions = np.ascontiguousarray(structure.cart_coords)
    return find_points_in_spheres(
        positions,
        positions,
        r=CUTOFF_A,
        pbc=np.ones(3, dtype=np.int64),
        lattice=np.array(structure.lattice),
        tol=1e-8,
    )


def bare_vesin() -> Callable[[Structure], object] | None:
    try:
        from vesin import NeighborList
    except ModuleNotFoundError:
        return None
    calculator = NeighborList(cutoff=CUTOFF_A, full_list=True)
    return lambda structure: calculator.compute(
        points=structure.cart_coords, box=structure.lattice, periodic=True, quantities="ijSd"
    )


def check(ours: list[Structure], theirs: list) -> None:
    """Both give the same distances, or the figures mean nothing."""
    for structure, other in list(zip(ours, theirs, strict=True))[::5]:
        packed = PackedGraphs.from_structures([structure], k=NEIGHBORS, cutoff=CUTOFF_A)
        _, distances = as_the_published_loader(other)
        nearest = packed.distances[:, :NEIGHBORS]
        found = np.where(np.isinf(nearest), CUTOFF_A + 1.0, nearest)
        np.testing.assert_allclose(found, distances, atol=2e-4, err_msg=structure.formula)


def fastest(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of the fastest round of each way, the ways in turn."""
    seconds = dict.fromkeys(ways, float("inf"))
    for number in range(ROUNDS):
        for name, run in ways.items():
            start = time.process_time()
            run()
            seconds[name] = min(seconds[name], time.process_time() - start)
            told(f"round {number + 1} of {ROUNDS}: {name}")
    return seconds


def told(text: str) -> None:
    """A word on the terminal, at once."""
    print(text, file=sys.stderr, flush=True)


def table(title: str, ours: str, seconds: dict[str, float], count: int) -> None:
    """Milliseconds a structure and the ratio to ``ours``."""
    print(title)
    for name, spent in seconds.items():
        each = 1e3 * spent / count
        print(f"  {name:34} {each:8.3f} ms   {spent / seconds[ours]:6.2f} x ours", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--peers", type=int, default=200, help="crystals for the slow loader")
    parser.add_argument("--crystals", type=Path, default=TABLE, help="a parquet table of crystals")
    options = parser.parse_args()
    if not options.crystals.exists():
        told("The table of crystals is not here; give one with --crystals.")
        return 2
    ours = crystals(options.crystals, options.count)
    some = ours[:: max(1, len(ours) // options.peers)][: options.peers]
    theirs = [structure.to_pymatgen() for structure in some]
    check(some, theirs)
    told(f"{len(ours)} crystals read; the distances agree")
    packed = "nanoos: packed graphs"
    ways: dict[str, Callable[[], object]] = {
        packed: lambda: PackedGraphs.from_structures(ours, k=NEIGHBORS, cutoff=CUTOFF_A),
        "nanoos: nearest neighbours": lambda: [
            nearest_neighbors(one, NEIGHBORS, CUTOFF_A) for one in ours
        ],
        "bare list, pymatgen": lambda: [bare_pymatgen(one) for one in ours],
    }
    vesin = bare_vesin()
    if vesin is not None:
        ways["bare list, vesin"] = lambda: [vesin(one) for one in ours]
    sites = np.mean([structure.n_sites for structure in ours])
    title = f"{len(ours)} crystals, {sites:.1f} sites on average, one thread, processor time"
    table(title, packed, fastest(ways), len(ours))
    slow: dict[str, Callable[[], object]] = {
        packed: lambda: PackedGraphs.from_structures(some, k=NEIGHBORS, cutoff=CUTOFF_A),
        "get_all_neighbors, sort, take 12": lambda: [as_the_published_loader(o) for o in theirs],
    }
    sites = np.mean([structure.n_sites for structure in some])
    title = f"{len(some)} of them, {sites:.1f} sites on average"
    table(title, packed, fastest(slow), len(some))
    return 0


if __name__ == "__main__":
    sys.exit(main())
