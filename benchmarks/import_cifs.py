"""Import of 1,000 CIF files: seconds, and processor time for each file by phase.

    python benchmarks/import_cifs.py [--count 1000] [--crystals PARQUET] [--database URL]

Without --crystals the files are prototypes with all elements that fit (2 to 14 sites, mostly of
high symmetry); with it, every n-th crystal of a table with a column "structure" (JSON: lattice,
frac_coords, atomic_numbers). One process, one thread. The import is run twice: into an empty
database, then the same crystals again in another cell, where each is a duplicate that only the
comparison of structures can find.
"""

import argparse
import itertools
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nanoos.core.errors import NanoosError
from nanoos.db import Database
from nanoos.db.migrate import upgrade
from nanoos.services import structure_import, structure_records
from nanoos.services.access import LOCAL_PRINCIPAL
from nanoos.services.structures import StructureService
from nanoos.structures import Structure, iter_structures, write_structures
from nanoos.structures.generate import build_prototype
from nanoos.structures.prototypes import PROTOTYPES

PHASES = {
    "symmetry": (structure_records, "analyze_symmetry"),
    "dimensionality": (structure_records, "dimensionality"),
    "stored duplicate?": (structure_import, "find_equal"),
    "duplicate in batch?": (structure_import, "find_same_crystal"),
    "storing": (structure_import, "insert_structures"),
}


def prototypes(count: int) -> list[Structure]:
    """``count`` crystals, the prototypes in turn; some are equal with their elements exchanged."""

    def members(name: str) -> Iterator[Structure]:
        roles = tuple(dict.fromkeys(role for role, _ in PROTOTYPES[name].sites))
        for elements in itertools.permutations(ELEMENTS, len(roles)):
            try:
                yield build_prototype(name, dict(zip(roles, elements, strict=True)))
            except NanoosError:
                continue

    rows = zip(*(members(name) for name in PROTOTYPES), strict=False)
    return list(itertools.islice(itertools.chain.from_iterable(rows), count))


ELEMENTS = ("Mg", "O", "Ca", "S", "Ti", "Se", "Sr", "F", "Zr", "Cl", "Ba", "N", "Al", "Te", "Zn")


def table(path: Path, count: int) -> list[Structure]:
    """Every n-th crystal of a table."""
    import pandas as pd

    rows = pd.read_parquet(path, columns=["structure"])["structure"]
    chosen = rows.iloc[:: max(1, len(rows) // count)][:count]
    return [Structure.from_dict(json.loads(text)) for text in chosen]


def another_cell(structure: Structure) -> Structure:
    """The same crystal: vectors permuted, origin moved, sites reversed."""
    order = [1, 2, 0]
    return Structure(
        lattice=structure.lattice[order],
        species=structure.species[::-1],
        frac_coords=(structure.frac_coords[:, order] + 0.123)[::-1],
    )


@contextmanager
def timed(seconds: dict[str, float]) -> Iterator[None]:
    """Add up the processor time spent in each phase."""

    def wrapped(function: Callable, phase: str) -> Callable:
        def run(*args, **kwargs):
            start = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                seconds[phase] += time.process_time() - start

        return run

    originals = {phase: getattr(module, name) for phase, (module, name) in PHASES.items()}
    for phase, (module, name) in PHASES.items():
        setattr(module, name, wrapped(originals[phase], phase))
    try:
        yield
    finally:
        for phase, (module, name) in PHASES.items():
            setattr(module, name, originals[phase])


def timed_reading(outcomes: Iterator, seconds: dict[str, float]) -> Iterator:
    while True:
        start = time.process_time()
        outcome = next(outcomes, None)
        seconds["reading"] += time.process_time() - start
        if outcome is None:
            return
        yield outcome


def measure(title: str, service: StructureService, structures: list[Structure]) -> None:
    """Write the files, import them, print."""
    structure_records.structure_facts.cache_clear()
    with tempfile.TemporaryDirectory() as folder:
        for number, structure in enumerate(structures):
            write_structures([structure], Path(folder) / f"{number:05}.cif")
        seconds: dict[str, float] = defaultdict(float)
        start, cpu = time.perf_counter(), time.process_time()
        with timed(seconds):
            outcomes = timed_reading(iter_structures(folder), seconds)
            lines = list(service.import_outcomes(outcomes, LOCAL_PRINCIPAL))
        total, cpu = time.perf_counter() - start, time.process_time() - cpu
    statuses = [line.status for line in lines]
    counts = ", ".join(f"{statuses.count(status)} {status}" for status in sorted(set(statuses)))
    sites = np.array([structure.n_sites for structure in structures])
    print(f"\n{title}: {len(lines)} files, {sites.mean():.1f} sites on average; {counts}")
    print(f"  {total:.1f} s, {cpu:.1f} s of processor, {1e3 * total / len(lines):.1f} ms a file")
    for phase, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"  {phase:20} {1e3 * spent / len(lines):7.2f} ms a file")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--crystals", type=Path, help="a parquet table of crystals")
    parser.add_argument("--database", help="URL of an empty database; default: SQLite in /tmp")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    crystals = (
        table(options.crystals, options.count) if options.crystals else prototypes(options.count)
    )
    with tempfile.TemporaryDirectory() as folder:
        database = Database(options.database or f"sqlite:///{folder}/nanoos.db")
        upgrade(database)
        service = StructureService(database)
        service.add(another_cell(crystals[0]), LOCAL_PRINCIPAL, source={"kind": "warm-up"})
        measure("New crystals", service, crystals)
        measure("The same in another cell", service, [another_cell(s) for s in crystals])
        database.dispose()


if __name__ == "__main__":
    main()
