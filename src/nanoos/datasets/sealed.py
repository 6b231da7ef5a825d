"""Reading a data set that was sealed as one parquet file, into flat arrays."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.core.records import LevelOfTheory
from nanoos.datasets.dataset import Dataset
from nanoos.datasets.packed_structures import FloatArray, PackedStructures
from nanoos.datasets.rows import RowSource

FORMAT: Final = 1
METADATA_KEY: Final = b"nanoos_dataset"
TARGET_PREFIX: Final = "target:"
"""Of the columns that hold targets."""


def arrow() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet. Raises UnavailableError where they are not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise UnavailableError(
            "Data sets need pyarrow, which is not installed.", hint="pip install 'nanoos[ml]'"
        ) from error
    return pa, pq


def is_sealed(path: Path) -> bool:
    """Whether a file is a data set of ours."""
    try:
        _, pq = arrow()
        return METADATA_KEY in (pq.read_metadata(path).metadata or {})
    except Exception:  # noqa: BLE001 - whatever stands in the way, it is none of ours
        return False


def read_sealed(source: Path | IO[bytes], *, name: str | None = None) -> Dataset:
    """A data set that :func:`seal_rows` wrote.

    Args:
        source: Path, or an open binary file.
        name: Another name than the one it was sealed under.

    Raises:
        InvalidInputError: it is none of ours, or of a newer format.
    """
    pa, pq = arrow()
    try:
        with pq.ParquetFile(source) as file:
            metadata = _checked_metadata(file.metadata.metadata or {})
            parts = [_part(file.read_row_group(n), metadata) for n in range(file.num_row_groups)]
    except (pa.ArrowException, OSError) as error:
        raise _no_dataset(str(error)) from error
    return _joined(parts, metadata, name or metadata["name"])


def _checked_metadata(found: Mapping[bytes, bytes]) -> dict[str, Any]:
    if METADATA_KEY not in found:
        raise _no_dataset("it was written by another program")
    metadata: dict[str, Any] = json.loads(found[METADATA_KEY])
    if metadata.get("format") != FORMAT:
        raise InvalidInputError(
            f"This data set has the format {metadata.get('format')}, known is {FORMAT}.",
            hint="Use a newer version of nanoos.",
            code="unknown_format",
        )
    return metadata


def _no_dataset(why: str) -> InvalidInputError:
    return InvalidInputError(
        f"This file is not a sealed data set: {why}.",
        hint="Import it: nanoos datasets import FILE --name NAME.",
        code="not_a_dataset",
    )


def _part(table: Any, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """One row group as numpy arrays and lists."""

    def flat(column: str) -> Any:
        return table[column].combine_chunks().flatten().to_numpy(zero_copy_only=False)

    numbers = flat("numbers")
    counts = table["numbers"].combine_chunks().value_lengths().to_numpy(zero_copy_only=False)
    part: dict[str, Any] = {
        "lattices": flat("lattice").reshape(-1, 3, 3),
        "counts": counts.astype(np.int64),
        "numbers": numbers.astype(np.uint8),
        "frac_coords": flat("frac_coords").reshape(-1, 3),
        "charges": _per_site(table["charges"], counts),
        "spins": _per_site(table["spins"], counts),
        "ids": table["id"].to_pylist(),
        "formulas": table["formula"].to_pylist(),
        "splits": table["split"].to_pylist(),
        "sources": list(
            zip(
                *(table[f"source_{key}"].to_pylist() for key in ("kind", "name", "row", "id")),
                strict=True,
            )
        ),
    }
    for name in metadata["units"]:
        part[TARGET_PREFIX + name] = table[TARGET_PREFIX + name].to_numpy().astype(np.float64)
    return part


def _per_site(column: Any, counts: Any) -> FloatArray | None:
    if column.null_count == len(column):
        return None
    values = column.to_pylist()
    pieces = (
        np.full(n, np.nan) if one is None else np.array(one, np.float64)
        for one, n in zip(values, counts.tolist(), strict=True)
    )
    return np.concatenate(list(pieces))


def _joined(parts: list[dict[str, Any]], metadata: Mapping[str, Any], name: str) -> Dataset:
    counts = np.concatenate([part["counts"] for part in parts])
    structures = PackedStructures(
        lattices=np.concatenate([part["lattices"] for part in parts]),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        numbers=np.concatenate([part["numbers"] for part in parts]),
        frac_coords=np.concatenate([part["frac_coords"] for part in parts]),
        charges=_joined_sites(parts, "charges"),
        spins=_joined_sites(parts, "spins"),
    )
    levels = {n: LevelOfTheory(**one) for n, one in metadata["level_of_theory"].items()}
    return Dataset(
        name=name,
        structures=structures,
        ids=tuple(_chained(parts, "ids")),
        targets={
            n: np.concatenate([p[TARGET_PREFIX + n] for p in parts]) for n in metadata["units"]
        },
        units=metadata["units"],
        sources=tuple(
            RowSource(kind=kind, name=origin, row=row, id=identifier)
            for kind, origin, row, identifier in _chained(parts, "sources")
        ),
        level_of_theory=levels,
        reduced_formulas=tuple(_chained(parts, "formulas")),
        given_split=tuple(one or "" for one in _chained(parts, "splits"))
        if metadata["has_split"]
        else None,
    )


def _joined_sites(parts: list[dict[str, Any]], key: str) -> FloatArray | None:
    if all(part[key] is None for part in parts):
        return None
    return np.concatenate(
        [np.full(len(p["numbers"]), np.nan) if p[key] is None else p[key] for p in parts]
    )


def _chained(parts: list[dict[str, Any]], key: str) -> Iterator[Any]:
    return (value for part in parts for value in part[key])
