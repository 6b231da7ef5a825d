"""Data sets out again: pandas, parquet, CSV, extended XYZ; what goes out can come in."""

import csv
import io
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.datasets.dataset import Dataset
from nanoos.structures import Structure

if TYPE_CHECKING:
    import pandas as pd

FORMATS: Final = {
    "parquet": "application/vnd.apache.parquet",
    "csv": "text/csv",
    "extxyz": "chemical/x-xyz",
}
"""Format to media type."""

_UNIT_NAMES: Final = {
    "eV": "eV",
    "eV/atom": "eV_per_atom",
    "meV/atom": "meV_per_atom",
    "GPa": "GPa",
    "cm^-1": "cm-1",
    "eV/Å": "eV_per_A",
    "Å^3": "A3",
    "Å": "A",
    "K": "K",
    "μB": "muB",
}
_ROWS_PER_CHUNK: Final = 200


def column_name(target: str, unit: str) -> str:
    """The column of a target, with its unit: ``bandgap_eV``; our readers understand it."""
    return f"{target}_{_UNIT_NAMES[unit]}" if unit in _UNIT_NAMES else target


def structure_text(structure: Structure) -> str:
    """A structure as compact JSON: lattice (Å), frac_coords, atomic_numbers (and spins, charges)."""
    document = structure.as_dict()
    del document["species"]
    document["atomic_numbers"] = structure.atomic_numbers.tolist()
    return json.dumps(document, separators=(",", ":"))


def export_dataset_to_pandas(dataset: Dataset, *, structures: bool = True) -> "pd.DataFrame":
    """One row for each row, in order; units in the names of the columns and in ``attrs``.

    Args:
        dataset: What to export.
        structures: Whether to add the structures as JSON text, the largest part by far.

    Returns:
        Columns ``id, formula, nsites, [structure], targets..., [split], source``; ``source`` is
        JSON. ``attrs`` holds name, sha256, units and level of theory.

    Raises:
        UnavailableError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise UnavailableError(
            "This needs pandas, which is not installed.", hint="pip install 'nanoos[ml]'"
        ) from error
    columns: dict[str, Any] = {
        "id": list(dataset.ids),
        "formula": list(dataset.reduced_formulas),
        "nsites": [structure.n_sites for structure in dataset.structures],
    }
    if structures:
        columns["structure"] = [structure_text(structure) for structure in dataset.structures]
    for name, values in dataset.targets.items():
        columns[column_name(name, dataset.units[name])] = values
    if dataset.given_split is not None:
        columns["split"] = list(dataset.given_split)
    columns["source"] = [json.dumps(source.as_dict()) for source in dataset.sources]
    frame = pd.DataFrame(columns)
    frame.attrs = {
        "name": dataset.name,
        "sha256": dataset.sha256,
        "units": dict(dataset.units),
        "level_of_theory": {
            name: {
                "functional": level.functional,
                "corrections": level.corrections,
                "reference": level.reference,
            }
            for name, level in dataset.level_of_theory.items()
        },
    }
    return frame


def export_chunks(dataset: Dataset, kind: str) -> Iterator[bytes]:
    """A file in pieces, made while it is read.

    Args:
        dataset: What to export.
        kind: ``parquet``, ``csv`` or ``extxyz``.

    Raises:
        InvalidInputError: another kind.
    """
    if kind == "csv":
        return _csv(dataset)
    if kind == "extxyz":
        return _extxyz(dataset)
    if kind == "parquet":
        return _parquet(dataset)
    raise InvalidInputError(f"There is no format {kind!r}.", hint=f"Use {', '.join(FORMATS)}.")


def _parquet(dataset: Dataset) -> Iterator[bytes]:
    buffer = io.BytesIO()
    export_dataset_to_pandas(dataset).to_parquet(buffer, index=False, compression="zstd")
    yield buffer.getvalue()


def _numbers(dataset: Dataset, row: int) -> dict[str, float | None]:
    found = {}
    for name, values in dataset.targets.items():
        value = float(values[row])
        found[column_name(name, dataset.units[name])] = None if np.isnan(value) else value
    return found


def _csv(dataset: Dataset) -> Iterator[bytes]:
    names = [column_name(name, dataset.units[name]) for name in dataset.targets]
    has_split = dataset.given_split is not None
    header = ["id", "formula", "nsites", "structure", *names, *(["split"] if has_split else [])]
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow([*header, "source"])
    for row, structure in enumerate(dataset.structures):
        writer.writerow(
            [
                dataset.ids[row],
                dataset.reduced_formulas[row],
                structure.n_sites,
                structure_text(structure),
                *_numbers(dataset, row).values(),
                *([dataset.given_split[row]] if dataset.given_split is not None else []),
                json.dumps(dataset.sources[row].as_dict()),
            ]
        )
        if (row + 1) % _ROWS_PER_CHUNK == 0:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


def _extxyz(dataset: Dataset) -> Iterator[bytes]:
    frames: list[str] = []
    for row, structure in enumerate(dataset.structures):
        info: dict[str, Any] = {"id": dataset.ids[row], **_numbers(dataset, row)}
        if dataset.given_split is not None and dataset.given_split[row]:
            info["split"] = dataset.given_split[row]
        frames.append(_frame(structure, info))
        if len(frames) == _ROWS_PER_CHUNK:
            yield "".join(frames).encode()
            frames.clear()
    yield "".join(frames).encode()


def _frame(structure: Structure, info: dict[str, Any]) -> str:
    lattice = " ".join(f"{number:.10g}" for number in structure.lattice.ravel())
    keys = " ".join(f"{key}={_quoted(value)}" for key, value in info.items() if value is not None)
    spins = structure.spins
    columns = "species:S:1:pos:R:3" + (":initial_magmoms:R:1" if spins is not None else "")
    lines = [str(structure.n_sites), f'Lattice="{lattice}" Properties={columns} {keys} pbc="T T T"']
    for site, (symbol, xyz) in enumerate(
        zip(structure.species, structure.cart_coords.tolist(), strict=True)
    ):
        line = f"{symbol} {xyz[0]:.10f} {xyz[1]:.10f} {xyz[2]:.10f}"
        lines.append(line if spins is None else f"{line} {spins[site]:.6f}")
    return "\n".join(lines) + "\n"


def _quoted(value: object) -> str:
    text = str(value)
    plain = text and not any(c in text for c in " \"'={}[]\\")
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
