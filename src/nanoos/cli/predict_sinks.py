"""Where predictions go: JSON lines, a CSV file, or a table for people."""

import csv
import json
import math
import textwrap
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Protocol, Self

from nanoos.cli.documents import print_document, to_document
from nanoos.cli.output import open_for_writing
from nanoos.cli.predictions import PredictionLine
from nanoos.cli.render import Column, fitting, print_table, say
from nanoos.core.properties import ordered
from nanoos.core.records import OUTSIDE_NOTE

TABLE_ROWS: Final = 200
"""Rows that are held until their table is printed: memory stays flat for any input."""

_FIRST: Final = (
    "bandgap",
    "formation_energy",
    "stability_score",
    "bulk_modulus",
    "shear_modulus",
)
"""Properties that a narrow terminal shows rather than others."""

_OUTSIDE_MARK: Final = "!"
_FEW_WARNINGS: Final = 8
_TITLE_WIDTH: Final = 12
_MOST_DECIMALS: Final = 3

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
        self._warnings: list[str] = []
        self._n_warnings = 0
        self._hidden: dict[str, None] = {}
        self._flagged = False

    def write(self, document: dict[str, Any], line: PredictionLine) -> None:
        """Keep a row for the next table; tell a refusal at once."""
        if line.error is not None:
            say(f"{line.file} [{line.index}]: {line.error.message}")
            if line.error.hint:
                say(f"    {line.error.hint}")
            return
        for note in line.prediction.notes if line.prediction is not None else ():
            if not note.startswith(OUTSIDE_NOTE):
                self._notes[note] = None
                continue
            self._n_warnings += 1
            if self._n_warnings <= _FEW_WARNINGS:
                self._warnings.append(f"{_file_text(document)}: {note}")
        self._rows.append(document)
        if len(self._rows) >= TABLE_ROWS:
            self._print()

    def _print(self) -> None:
        if not self._rows:
            return
        units = ordered(
            {name: value["unit"] for row in self._rows for name, value in row["properties"].items()}
        )
        fixed = [
            Column(title="file", of=_file_text, shrinks=True),
            Column(title="formula", of=lambda row: row["formula"]),
        ]
        if any(row.get("not_for_decisions") for row in self._rows):
            fixed.append(Column(title="flags", of=_flag))
        first = sorted(units, key=lambda name: name not in _FIRST)
        able = {name: _property_column(name, units[name]) for name in first}
        room = fitting(fixed, list(able.values()), self._rows)
        self._hidden |= dict.fromkeys(first[room:])
        columns = [able[name] for name in units if name in first[:room]]
        print_table([*fixed, *columns], self._rows, empty="Nothing was predicted.")
        self._flagged |= any(
            value["out_of_domain"] for row in self._rows for value in row["properties"].values()
        )
        reasons = [
            {"row": row, "property": name, **one}
            for row in self._rows
            for name, one in row.get("explanations", {}).items()
        ]
        if reasons:
            print_table(_REASONS, reasons, empty="")
        self._rows.clear()

    def _say_notes(self) -> None:
        """What to read beside the numbers; reasons of flags only where they are few."""
        if self._flagged:
            say(f"{_OUTSIDE_MARK} marks a number that is outside the domain of its model.")
        for note in self._notes:
            say(f"Note: {note}")
        if self._n_warnings > _FEW_WARNINGS:
            say(f"{self._n_warnings} reasons for that: 'notes' of --json and --output.")
        else:
            for warning in self._warnings:
                say(warning)
        if self._hidden:
            names = ", ".join(name.replace("_", " ") for name in ordered(self._hidden))
            say(f"Not shown for want of room: {names}. Ask with --property, --csv or --json.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        if kind is None:
            self._print()
            self._say_notes()


def _file_text(row: dict[str, Any]) -> str:
    name = Path(row["file"]).name
    return f"{name} [{row['index']}]" if row["index"] else name


def _flag(row: dict[str, Any]) -> str | None:
    return "not for decisions" if row.get("not_for_decisions") else None


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
    lines = textwrap.wrap(name.replace("_", " "), _TITLE_WIDTH)
    lines += [] if unit in {"", "1"} else [unit]

    def text(row: dict[str, Any]) -> str | None:
        value = row["properties"].get(name)
        if value is None or value["value"] is None:
            return None
        mark = _OUTSIDE_MARK if value["out_of_domain"] else " "
        return _number_text(value["value"], value["sigma"]) + mark

    return Column(title="\n".join(lines), of=text, right=True)


def _number_text(value: float, sigma: float | None) -> str:
    """A number with as many digits as its sigma supports, or four without one; at most 3 decimals.

    Args:
        value: The number.
        sigma: One standard deviation, None where it is not known.
    """
    scale, digits = (abs(value), 4) if sigma is None else (sigma, 2)
    whole = math.floor(math.log10(scale)) + 1 if scale > 0 else 0
    decimals = min(max(digits - whole, 0), _MOST_DECIMALS)
    number = f"{value:.{decimals}f}"
    if sigma is None:
        return number
    smallest = 10.0**-decimals
    spread = f"{sigma:.{decimals}f}" if sigma >= smallest / 2 else f"<{smallest:.{decimals}f}"
    return f"{number} ± {spread}"
