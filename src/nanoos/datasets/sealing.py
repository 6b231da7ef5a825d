"""Writing a data set as one parquet file while its rows stream in."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Final, Self

import numpy as np

from nanoos.core.errors import InvalidInputError
from nanoos.datasets.import_summary import ImportSummary, Tally
from nanoos.datasets.rows import DatasetRow, RefusedRow, RowStream
from nanoos.datasets.sealed import FORMAT, METADATA_KEY, TARGET_PREFIX, arrow

_ROWS_PER_GROUP: Final = 2000
_REPORT_EVERY: Final = 100

Report = Callable[[float | None, str], None]


def seal_rows(
    stream: RowStream, path: Path, *, name: str, report: Report | None = None
) -> ImportSummary:
    """Write a stream of rows as a data set; memory stays flat but for a few numbers a row.

    Args:
        stream: The rows.
        path: File to write; complete when this returns, removed when it raises.
        name: Of the data set.
        report: Told how far it is: fraction (None where the length is not known) and a message.

    Raises:
        InvalidInputError: no row can be used (``no_rows``), or rows that must not be pooled.
        UnavailableError: pyarrow is not installed.
    """
    tally = Tally(stream=stream)
    try:
        with _Writer(path, list(stream.units)) as writer:
            for number, row in enumerate(stream.rows, start=1):
                if isinstance(row, RefusedRow):
                    tally.refuse(row)
                else:
                    tally.admit(row)
                    writer.add(row)
                if report is not None and number % _REPORT_EVERY == 0:
                    report(
                        number / stream.total if stream.total else None,
                        f"{tally.n_rows} rows, {tally.refusals.total()} refused",
                    )
            _refuse_nothing(stream, tally)
            summary = tally.summary(name)
            writer.finish(_metadata(summary))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return summary


def _refuse_nothing(stream: RowStream, tally: Tally) -> None:
    if tally.n_rows:
        return
    first = tally.refused[0] if tally.refused else None
    why = f" The first one: {first.error.message}" if first else ""
    raise InvalidInputError(
        f"None of the {tally.refusals.total()} rows of {stream.name} can be used.{why}",
        hint=first.error.hint if first else "The source is empty, or the condition fits no row.",
        details={"refusals": dict(tally.refusals), "row": first.source.row if first else None},
        code="no_rows",
    )


def _metadata(summary: ImportSummary) -> dict[str, Any]:
    levels = {name: asdict(one) for name, one in summary.level_of_theory.items()}
    return {
        "format": FORMAT,
        "name": summary.name,
        "sha256": summary.sha256,
        "units": dict(summary.units),
        "columns": dict(summary.columns),
        "level_of_theory": levels,
        "has_split": bool(summary.splits),
    }


class _Writer:
    """Writes rows in groups."""

    def __init__(self, path: Path, targets: list[str]) -> None:
        self._pa, pq = arrow()
        pa = self._pa
        self._targets = targets
        self._schema = pa.schema(
            [
                ("id", pa.string()),
                ("formula", pa.string()),
                ("lattice", pa.list_(pa.float64())),
                ("numbers", pa.list_(pa.uint8())),
                ("frac_coords", pa.list_(pa.float64())),
                ("charges", pa.list_(pa.float64())),
                ("spins", pa.list_(pa.float64())),
                ("split", pa.string()),
                ("source_kind", pa.string()),
                ("source_name", pa.string()),
                ("source_row", pa.int64()),
                ("source_id", pa.string()),
                *((TARGET_PREFIX + name, pa.float64()) for name in targets),
            ]
        )
        self._stream: IO[bytes] = path.open("wb")
        self._writer = pq.ParquetWriter(self._stream, self._schema, compression="zstd")
        self._rows: list[DatasetRow] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._writer.close()
        self._stream.close()

    def add(self, row: DatasetRow) -> None:
        self._rows.append(row)
        if len(self._rows) == _ROWS_PER_GROUP:
            self._flush()

    def finish(self, metadata: Mapping[str, Any]) -> None:
        if self._rows:
            self._flush()
        self._writer.add_key_value_metadata({METADATA_KEY: json.dumps(metadata).encode()})
        self._writer.close()
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        columns: dict[str, list[Any]] = {
            "id": [row.id for row in rows],
            "formula": [row.structure.formula for row in rows],
            "lattice": [row.structure.lattice.ravel() for row in rows],
            "numbers": [row.structure.atomic_numbers.astype(np.uint8) for row in rows],
            "frac_coords": [row.structure.frac_coords.ravel() for row in rows],
            "charges": [row.structure.charges for row in rows],
            "spins": [row.structure.spins for row in rows],
            "split": [row.split for row in rows],
            "source_kind": [row.source.kind for row in rows],
            "source_name": [row.source.name for row in rows],
            "source_row": [row.source.row for row in rows],
            "source_id": [row.source.id for row in rows],
        }
        for name in self._targets:
            columns[TARGET_PREFIX + name] = [row.targets.get(name) for row in rows]
        self._writer.write_table(self._pa.table(columns, schema=self._schema))
