"""Rows from whatever a user has: a file or folder of any known layout."""

import tempfile
from pathlib import Path
from typing import Final

from nanoos.core.errors import InvalidInputError, NotFoundError
from nanoos.datasets.dataset import Dataset
from nanoos.datasets.import_summary import ImportSummary
from nanoos.datasets.readers.cgcnn_folder import cgcnn_table, is_cgcnn
from nanoos.datasets.readers.frames import frames_table
from nanoos.datasets.readers.known_files import known_columns
from nanoos.datasets.readers.options import ReadOptions
from nanoos.datasets.readers.tables import (
    Table,
    csv_table,
    json_lines_table,
    json_table,
    parquet_table,
    table_rows,
)
from nanoos.datasets.readers.unpacking import bare_suffix
from nanoos.datasets.rows import RowStream
from nanoos.datasets.sealed import is_sealed, read_sealed
from nanoos.datasets.sealing import Report, seal_rows

LAYOUTS: Final = (
    "parquet, CSV, JSON lines (.jsonl), JSON (.json, as JARVIS and matbench publish), extended "
    "XYZ, or a CGCNN folder (id_prop.csv and CIFs)"
)


def open_rows(
    path: Path,
    options: ReadOptions | None = None,
    *,
    name: str | None = None,
    trusted: bool = True,
) -> RowStream:
    """The rows of a file or folder.

    Args:
        path: A parquet, CSV, JSON lines, JSON or extended XYZ file, packed (``.gz``, ``.xz``,
            ``.zip``) or not, or a CGCNN folder or a zip of one.
        options: What its columns are, where their names do not say it.
        name: Of the file in messages and provenance; its own name by default.
        trusted: Whether cells may name files beside the table. Not of an upload.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: an unknown layout, or columns that are missing, ambiguous or of an
            unknown unit.
        UnavailableError: a package for this layout is not installed.
    """
    options = options or ReadOptions()
    name = name or path.name
    table = _table(path, name, trusted=trusted)
    kind, targets, levels = known_columns(name, table.columns)
    try:
        return table_rows(table, options, kind=kind, targets=targets, levels=levels)
    except BaseException:
        table.close()
        raise


def _table(path: Path, name: str, *, trusted: bool) -> Table:
    if not path.exists():
        raise NotFoundError(f"There is no file or folder {path}.", hint="Check the path.")
    folder = path.parent if trusted else None
    suffix = bare_suffix(name)
    if path.is_dir() or name.lower().endswith(".zip"):
        if is_cgcnn(path, name):
            return cgcnn_table(path, name=name)
        if path.is_dir():
            raise InvalidInputError(
                f"The folder {name} has no id_prop.csv.", hint=f"Known layouts: {LAYOUTS}."
            )
    if suffix in {".parquet", ".pq"}:
        return parquet_table(path, name=name, folder=folder)
    if suffix in {".csv", ".tsv"}:
        return csv_table(path, name=name, folder=folder)
    if suffix in {".jsonl", ".ndjson"}:
        return json_lines_table(path, name=name, folder=folder)
    if suffix in {".xyz", ".extxyz"}:
        return frames_table(path, name=name)
    if suffix in {".json", ""} or name.lower().endswith(".zip"):
        return json_table(path, name=name)
    raise InvalidInputError(
        f"The layout of {name} is not known.", hint=f"Known are {LAYOUTS}.", code="unknown_format"
    )


def load_dataset(
    path: str | Path,
    options: ReadOptions | None = None,
    *,
    name: str | None = None,
    report: Report | None = None,
) -> Dataset:
    """A data set from a file, without a database: a sealed one, or any known layout.

    Args:
        path: What to read.
        options: As :func:`open_rows`; not used for a sealed file.
        name: Of the data set; the file's by default.
        report: Told how far it is.

    Raises:
        NanoosError: as :func:`open_rows`; or no row can be used. Single bad rows are left out:
            :func:`load_with_summary` says which.
    """
    path = Path(path)
    if path.is_file() and is_sealed(path):
        return read_sealed(path, name=name)
    return load_with_summary(path, options, name=name, report=report)[0]


def load_with_summary(
    path: str | Path,
    options: ReadOptions | None = None,
    *,
    name: str | None = None,
    report: Report | None = None,
) -> tuple[Dataset, ImportSummary]:
    """As :func:`load_dataset` for layouts of others, with what was refused and what is double."""
    path = Path(path)
    with tempfile.TemporaryDirectory(prefix="nanoos-") as folder:
        sealed = Path(folder) / "rows.parquet"
        stream = open_rows(path, options)
        summary = seal_rows(stream, sealed, name=name or path.name, report=report)
        return read_sealed(sealed), summary
