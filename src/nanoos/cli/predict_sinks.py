"""Where predictions go: JSON lines, a CSV file, or a table for people."""

import csv
import json
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Protocol, Self

from nanoos.cli.documents import print_document, to_document
from nanoos.cli.output import open_for_writing
from nanoos.cli.predictions import PredictionLine
from nanoos.cli.render import Column, cell_text, print_table, say

TABLE_ROWS: Final = 200
"""Rows that are held until their table is printed: memory stays flat for any input."""

_PER_PROPERTY: Final = ("sigma", "lower", "upper", "level", "confidence", "out_of_domain")


class Sink(Protocol):
    """Takes lines in order; a context manager."""

    def write(self, document: dict[str, Any], line: PredictionLine) -> None:
        """Take one line, as its document and as it was."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...


class JsonSink:
    """One JSON object on each line of a file, or of standard output."""

    def __init__(self, path: Path | None) -> None:
        self._file: IO[str] | None = None if path is None else open_for_writing(path)

    def write(self, document: dict[str, Any], line: PredictionLine) -> None:
        """Write it at once."""
        del line
        if self._file is None:
            print_document(document)
        else:
            self._file.write(json.dumps(to_document(document), ensure_ascii=False) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._file is not None:
            self._file.close()


class CsvSink:
    """One row for each structure; the unit of each property stands in the head of its column.

    The columns are known with the first prediction: lines before it wait for it.
    """

    def __init__(self, path: Path) -> None:
        self._file = open_for_writing(path)
        self._waiting: list[dict[str, Any]] = []
        self._writer: Any = None
        self._names: list[str] = []

    def write(self, document: dict[str, Any], line: PredictionLine) -> None:
        """Write it, or keep it until the columns are known."""
        del line
        self._waiting.append(document)
        if document["properties"] and self._writer is None:
            self._begin(document["properties"])
        if self._writer is not None:
            self._flush()

    def _begin(self, properties: dict[str, Any]) -> None:
        self._names = list(properties)
        heads = ["file", "index", "id", "formula", "model", "model_version"]
        for name in self._names:
            heads.append(f"{name} ({properties[name]['unit']})")
            heads += [f"{name} {what}" for what in _PER_PROPERTY]
        self._writer = csv.writer(self._file)
        self._writer.writerow([*heads, "error_code", "error_message"])

    def _flush(self) -> None:
        for document in self._waiting:
            cells = [
                document[name]
                for name in ("file", "index", "id", "formula", "model", "model_version")
            ]
            for name in self._names:
                value = document["properties"].get(name, {})
                cells += [value.get(what) for what in ("value", *_PER_PROPERTY)]
            error = document["error"] or {}
            self._writer.writerow([*cells, error.get("code"), error.get("message")])
        self._waiting.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._writer is None:
            self._begin({})
        self._flush()
        self._file.close()


class TableSink:
    """A table on standard output; refusals and notes beside it on standard error."""

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []
        self._notes: dict[str, None] = {}

    def write(self, document: dict[str, Any], line: PredictionLine) -> None:
        """Keep a row for the next table; tell a refusal at once."""
        if line.error is not None:
            say(f"{line.file} [{line.index}]: {line.error.message}")
            if line.error.hint:
                say(f"    {line.error.hint}")
            return
        if line.prediction is not None:
            self._notes |= dict.fromkeys(line.prediction.notes)
        self._rows.append(document)
        if len(self._rows) >= TABLE_ROWS:
            self._print()

    def _print(self) -> None:
        if not self._rows:
            return
        units = {
            name: value["unit"] for row in self._rows for name, value in row["properties"].items()
        }
        columns = [
            Column(title="file", of=_file_text, shrinks=True),
            Column(title="formula", of=lambda row: row["formula"]),
            *(_property_column(name, unit) for name, unit in units.items()),
            Column(title="flags", of=_flags),
        ]
        print_table(columns, self._rows, empty="Nothing was predicted.")
        reasons = [
            {"row": row, "property": name, **one}
            for row in self._rows
            for name, one in row.get("explanations", {}).items()
        ]
        if reasons:
            print_table(_REASONS, reasons, empty="")
        self._rows.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        if kind is None:
            self._print()
            for note in self._notes:
                say(f"Note: {note}")


def _file_text(row: dict[str, Any]) -> str:
    name = Path(row["file"]).name
    return f"{name} [{row['index']}]" if row["index"] else name


def _elements_text(reason: dict[str, Any]) -> str:
    return ", ".join(
        f"{symbol} {contribution:+.3g}" for symbol, contribution in reason["elements"].items()
    )


_REASONS: Final = (
    Column(title="file", of=lambda reason: _file_text(reason["row"]), shrinks=True),
    Column(title="property", of=lambda reason: reason["property"].replace("_", " ")),
    Column(title="networks say", of=lambda reason: reason["value"], right=True),
    Column(title="unit", of=lambda reason: reason["unit"]),
    Column(title="of the baseline", of=lambda reason: reason["baseline"], right=True),
    Column(title="contributions of the elements", of=_elements_text),
)


def _property_column(name: str, unit: str) -> Column:
    title = name.replace("_", " ")
    shown = "" if unit in {"", "1"} else f", {unit}"

    def text(row: dict[str, Any]) -> str | None:
        value = row["properties"].get(name)
        if value is None or value["value"] is None:
            return None
        sigma = value["sigma"]
        number = cell_text(value["value"])
        return number if sigma is None else f"{number} ± {cell_text(sigma)}"

    return Column(title=f"{title}{shown}", of=text, right=True)


def _flags(row: dict[str, Any]) -> str | None:
    flags = [
        f"{name.replace('_', ' ')} out of domain"
        for name, value in row["properties"].items()
        if value["out_of_domain"]
    ]
    if row.get("not_for_decisions"):
        flags.append("not for decisions")
    return ", ".join(flags)
