"""Rows of tables: parquet, CSV, JSON lines and JSON arrays, with a column of structures."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from nanoos.core.errors import InvalidInputError, NanoosError, UnavailableError
from nanoos.core.records import LevelOfTheory
from nanoos.datasets.dataset import SPLIT_NAMES
from nanoos.datasets.property_columns import (
    TargetColumn,
    cell_reader,
    choose_targets,
    normal_name,
    some_values,
)
from nanoos.datasets.readers.cells import refusal_of, structure_of_cell
from nanoos.datasets.readers.json_stream import JsonCursor
from nanoos.datasets.readers.options import ReadOptions
from nanoos.datasets.readers.unpacking import unpacked_text
from nanoos.datasets.rows import DatasetRow, RefusedRow, RowSource, RowStream

_BATCH: Final = 500
_STRUCTURE_COLUMNS: Final = ("structure", "atoms", "cif", "poscar", "crystal", "file", "path")
_ID_COLUMNS: Final = ("id", "material_id", "mp_id", "mpid", "jid", "entry_id", "structure_id")
_SPLIT_COLUMNS: Final = ("split", "given_split", "subset")
_SPLIT_WORDS: Final = {"train": "train", "training": "train", "val": "val", "valid": "val"} | {
    "validation": "val",
    "test": "test",
}
_LONGEST_CELL: Final = 64 << 20

Record = Mapping[str, Any]


def _nothing() -> None:
    """Close nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table that streams.

    Attributes:
        name: Of the file.
        columns: All of them, in order.
        records: One mapping of column to cell for each row, or the error that stands there.
        total: Number of rows, None where it is not known yet.
        folder: Where paths in cells begin; None: a path is no structure.
        close: Closes the file, for those who do not read the records to their end.
    """

    name: str
    columns: Sequence[str]
    records: Iterator["Record | NanoosError"]
    total: int | None = None
    folder: Path | None = None
    close: Callable[[], None] = _nothing


def table_rows(
    table: Table,
    options: ReadOptions,
    *,
    kind: str = "file",
    targets: Sequence[TargetColumn] | None = None,
    levels: Mapping[str, LevelOfTheory] | None = None,
) -> RowStream:
    """Understand a table's columns; its rows come as they are read.

    Args:
        table: The table.
        options: What the caller says of its columns.
        kind: Of the provenance of each row.
        targets: Column to target where the source is a known one; ``options.targets`` win.
        levels: What the numbers mean where that is known; ``options.level_of_theory`` wins.

    Raises:
        InvalidInputError: a column is missing, ambiguous or of an unknown unit.
    """
    chosen = (
        choose_targets(table.columns, options.targets, options.units)
        if options.targets or options.units or targets is None
        else targets
    )
    structure = _column(table, options.structure_column, _STRUCTURE_COLUMNS, "structure")
    if structure is None:
        raise InvalidInputError(
            f"{table.name} has no column of structures.",
            hint="Say which: --structure-column COLUMN. Columns: " + ", ".join(table.columns[:40]),
            code="no_structure_column",
        )
    identifier = _column(table, options.id_column, _ID_COLUMNS, "id")
    split = _column(table, options.split_column, _SPLIT_COLUMNS, "split")
    for column in options.where:
        _column(table, column, (), "condition")
    known = {one.target: (levels or {}).get(one.target) for one in chosen}
    if options.level_of_theory is not None:
        known = dict.fromkeys(known, options.level_of_theory)
    return RowStream(
        name=table.name,
        rows=_rows(table, options.where, kind, chosen, (structure, identifier, split)),
        units={one.target: one.unit for one in chosen},
        level_of_theory={name: level for name, level in known.items() if level is not None},
        columns={one.target: one.column for one in chosen},
        total=table.total,
    )


def _column(table: Table, given: str | None, guesses: Sequence[str], what: str) -> str | None:
    if given is not None:
        if given not in table.columns:
            raise InvalidInputError(
                f"{table.name} has no column {given!r} for the {what}.",
                hint="Columns: " + ", ".join(table.columns[:40]),
            )
        return given
    named = {normal_name(column): column for column in reversed(table.columns)}
    return next((named[guess] for guess in guesses if guess in named), None)


def _rows(
    table: Table,
    where: Mapping[str, str],
    kind: str,
    targets: Sequence[TargetColumn],
    columns: tuple[str, str | None, str | None],
) -> Iterator[DatasetRow | RefusedRow]:
    structure, identifier, split = columns
    read_targets = cell_reader(targets)
    wanted = {column: value.casefold() for column, value in where.items()}
    for number, record in enumerate(table.records):
        source = RowSource(kind=kind, name=table.name, row=number)
        if isinstance(record, NanoosError):
            yield RefusedRow(source=source, error=record)
            continue
        if any(str(record.get(column)).casefold() != value for column, value in wanted.items()):
            continue
        name = record.get(identifier) if identifier else None
        if name is not None and str(name).strip():
            source = RowSource(kind=kind, name=table.name, row=number, id=str(name)[:200])
        try:
            row = DatasetRow(
                structure=structure_of_cell(record.get(structure), folder=table.folder),
                targets=some_values(read_targets(record)),
                source=source,
                id=source.id or f"{table.name}-{number}",
                split=_split_word(record.get(split)) if split else None,
            )
        except Exception as problem:  # noqa: BLE001 - one bad row never fails the rest
            yield RefusedRow(source=source, error=refusal_of(problem))
        else:
            yield row


def _split_word(cell: Any) -> str | None:
    word = _SPLIT_WORDS.get(str(cell).strip().casefold())
    return word if word in SPLIT_NAMES else None


# -- files -----------------------------------------------------------------------------------


def parquet_table(path: Path, *, name: str, folder: Path | None = None) -> Table:
    """A parquet file, some hundred rows in memory at a time.

    Raises:
        UnavailableError: pyarrow is not installed.
        InvalidInputError: it is no parquet file.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise UnavailableError(
            "Reading parquet needs pyarrow, which is not installed.",
            hint="pip install 'nanoos[ml]'",
        ) from error
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InvalidInputError(
            f"{name} is no parquet file: {error}.", hint="Check the file.", code="malformed_file"
        ) from error

    def records() -> Iterator[Record | NanoosError]:
        with file:
            for batch in file.iter_batches(batch_size=_BATCH):
                yield from batch.to_pylist()

    return Table(
        name=name,
        columns=file.schema_arrow.names,
        records=records(),
        total=file.metadata.num_rows,
        folder=folder,
        close=file.close,
    )


def csv_table(path: Path, *, name: str, folder: Path | None = None) -> Table:
    """A CSV file (``.gz`` too) with names in its first line; ``;`` and tab are understood."""
    stream = unpacked_text(path, name)
    csv.field_size_limit(_LONGEST_CELL)
    with _closed_on_error(stream):
        first = stream.readline()
        delimiter = max(",;\t", key=first.count)
        try:
            columns = next(csv.reader([first], delimiter=delimiter), [])
        except csv.Error as error:
            raise _bad_line(str(error), 1) from error
        if not columns:
            raise InvalidInputError(f"{name} is empty.", hint="The first line names the columns.")

    def records() -> Iterator[Record | NanoosError]:
        with stream:
            reader = csv.reader(stream, delimiter=delimiter)
            while True:
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield _bad_line(str(error), reader.line_num + 1)
                    continue
                if len(cells) == len(columns):
                    yield dict(zip(columns, cells, strict=True))
                elif any(cells):
                    what = f"it has {len(cells)} cells, the first line names {len(columns)}"
                    yield _bad_line(what, reader.line_num + 1)

    return Table(name=name, columns=columns, records=records(), folder=folder, close=stream.close)


def json_lines_table(path: Path, *, name: str, folder: Path | None = None) -> Table:
    """One JSON object on each line (``.gz`` too); the first one names the columns."""
    stream = unpacked_text(path, name)
    with _closed_on_error(stream):
        first = next((line for line in stream if line.strip()), "")
        try:
            columns = list(json.loads(first))
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidInputError(
                f"The first line of {name} is no JSON object: {error}.",
                hint="Give one object on each line.",
                code="malformed_file",
            ) from error

    def records() -> Iterator[Record | NanoosError]:
        with stream:
            yield _object(first, 1)
            for number, line in enumerate(stream, start=2):
                if line.strip():
                    yield _object(line, number)

    return Table(name=name, columns=columns, records=records(), folder=folder, close=stream.close)


def json_table(path: Path, *, name: str) -> Table:
    """A JSON file (``.gz``, ``.zip`` too): an array of objects, or pandas' split layout.

    The first is how JARVIS publishes (``jdft_3d``), the second how matbench does: ``{"index":
    [...], "columns": [...], "data": [[cell, ...], ...]}``, ``columns`` before ``data``.
    """
    stream = unpacked_text(path, name)
    with _closed_on_error(stream):
        columns, rows = _json_rows(JsonCursor(stream, name), name)
    return Table(name=name, columns=columns, records=_closing(stream, rows), close=stream.close)


def _json_rows(cursor: JsonCursor, name: str) -> tuple[list[str], Iterator[Record | NanoosError]]:
    if cursor.peek() == "{":
        return _split_layout(cursor, name)
    elements = cursor.elements()
    first = next(elements, None)
    if not isinstance(first, Mapping):
        raise InvalidInputError(
            f"{name} does not begin with an array of objects.",
            hint="Give [{...}, ...], or pandas' orient='split'.",
            code="malformed_file",
        )

    def records() -> Iterator[Record | NanoosError]:
        yield first
        for element in elements:
            yield element if isinstance(element, Mapping) else _bad_line("it is no object", None)

    return list(first), records()


def _split_layout(
    cursor: JsonCursor, name: str
) -> tuple[list[str], Iterator[Record | NanoosError]]:
    parts: dict[str, Any] = {}
    cursor.take("{")
    while cursor.peek() == '"':
        key = cursor.value()
        cursor.take(":")
        if key == "data" and "columns" in parts:
            columns = [str(column) for column in parts["columns"]]
            labels = parts.get("index")
            return _with_index(columns, cursor.elements(), labels)
        parts[key] = cursor.value()
        cursor.skip_comma()
    raise InvalidInputError(
        f"{name} is JSON, but no table.",
        hint="Give [{...}, ...], or pandas' orient='split' with columns before data.",
        code="malformed_file",
    )


def _with_index(
    columns: list[str], rows: Iterator[Any], labels: Any
) -> tuple[list[str], Iterator[Record | NanoosError]]:
    """Names in the index (``mb-phonons-0001``) become the column ``id``, numbers do not."""
    named = isinstance(labels, list) and bool(labels) and isinstance(labels[0], str)
    named = named and "id" not in columns

    def records() -> Iterator[Record | NanoosError]:
        for number, cells in enumerate(rows):
            if not isinstance(cells, list) or len(cells) != len(columns):
                yield _bad_line(f"it is no row of {len(columns)} cells", None)
                continue
            record = dict(zip(columns, cells, strict=True))
            if named and number < len(labels):
                record["id"] = labels[number]
            yield record

    return [*columns, "id"] if named else columns, records()


def _closing(
    stream: IO[str], records: Iterator[Record | NanoosError]
) -> Iterator[Record | NanoosError]:
    with stream:
        yield from records


@contextmanager
def _closed_on_error(stream: IO[str]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        stream.close()
        raise


def _object(line: str, number: int) -> Record | NanoosError:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        return _bad_line(str(error), number)
    return found if isinstance(found, Mapping) else _bad_line("it is no object", number)


def _bad_line(what: str, line: int | None) -> InvalidInputError:
    place = "The row" if line is None else f"Line {line}"
    return InvalidInputError(
        f"{place} cannot be read: {what}.", hint="Correct the row.", code="malformed_row"
    )
