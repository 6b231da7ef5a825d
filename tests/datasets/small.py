"""A small data set, and rows to make one of."""

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np

from nanoos.core.records import LevelOfTheory
from nanoos.datasets import (
    Dataset,
    DatasetRow,
    PackedStructures,
    RefusedRow,
    RowSource,
    RowStream,
)
from nanoos.structures import Structure
from nanoos.testing.crystals import rocksalt

PBE = LevelOfTheory(functional="PBE", corrections="none", reference="none")
HSE = LevelOfTheory(functional="HSE06", corrections="none", reference="none")
CATIONS = ("Mg", "Ca", "Sr", "Ba", "Fe", "Co", "Ni", "Mn", "Cd", "Zn")


def salt(n: int) -> Structure:
    """One of ten oxides, every lattice parameter another."""
    return rocksalt(4.2 + 0.001 * n, CATIONS[n % len(CATIONS)])


@cache
def _salts(n_rows: int) -> PackedStructures:
    return PackedStructures.from_structures(salt(n) for n in range(n_rows))


def small_dataset(
    formulas: Sequence[str] | int = 40,
    *,
    targets: dict[str, Sequence[float]] | None = None,
    split: Sequence[str] | None = None,
) -> Dataset:
    """Rows of rocksalt oxides; ``formulas`` replaces their own where given."""
    n_rows = formulas if isinstance(formulas, int) else len(formulas)
    structures = _salts(max(n_rows, 64))[:n_rows]
    values = {"bandgap": np.arange(n_rows, dtype=float)} if targets is None else targets
    return Dataset(
        name="small",
        structures=structures,
        ids=tuple(f"row-{n}" for n in range(n_rows)),
        targets={name: np.array(v, dtype=float) for name, v in values.items()},
        units=dict.fromkeys(values, "eV"),
        sources=tuple(RowSource(kind="file", name="small", row=n) for n in range(n_rows)),
        level_of_theory=dict.fromkeys(values, PBE),
        reduced_formulas=tuple(salt(n).formula for n in range(n_rows))
        if isinstance(formulas, int)
        else tuple(formulas),
        given_split=None if split is None else tuple(split),
    )


def row(n: int, **changes: object) -> DatasetRow:
    fields = {
        "structure": salt(n),
        "targets": {"bandgap": float(n)},
        "source": RowSource(kind="file", name="x", row=n),
        "id": f"row-{n}",
    }
    return DatasetRow(**(fields | changes))


def stream(rows: Iterable[DatasetRow | RefusedRow], **changes: object) -> RowStream:
    return RowStream(**({"name": "x", "rows": iter(rows), "units": {"bandgap": "eV"}} | changes))
