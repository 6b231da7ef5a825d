"""How data sets look in the terminal."""

from typing import TYPE_CHECKING, Any

from nanoos.cli.documents import print_document
from nanoos.cli.render import Column, print_facts, print_table, say

if TYPE_CHECKING:
    from nanoos.services.dataset_records import DatasetRecord


def show_import(record: "DatasetRecord", *, as_json: bool) -> None:
    """What came of an import: refusals, facts and targets."""
    if as_json:
        print_document(record)
        return
    for row in record.source["refused"]:
        place = row.get("id") or (f"row {row['row']}" if "row" in row else row["name"])
        say(f"refused: {place}: {row['message']}")
    hidden = record.source["n_refused"] - len(record.source["refused"])
    if hidden:
        say(f"refused: {hidden} more")
    print_facts(dataset_facts(record))
    print_targets(record)


def dataset_facts(record: "DatasetRecord") -> list[tuple[str, Any]]:
    """Name and value of what is known of a data set."""
    source = record.source
    splits = ", ".join(f"{name} {count:,}" for name, count in source["splits"].items())
    refusals = ", ".join(f"{code} {count:,}" for code, count in source["refusals"].items())
    return [
        ("data set", record.name),
        ("id", record.id),
        ("rows", f"{record.n_rows:,}"),
        ("refused", refusals or 0),
        ("same structure as an earlier row", source["n_duplicates"]),
        ("split of the source", splits or None),
        ("elements", len(source["elements"])),
        ("from", source["name"]),
        ("size, MB", f"{record.size_bytes / 1e6:.2f}"),
        ("sha256", record.sha256),
        ("made, UTC", record.created_at),
    ]


def print_targets(record: "DatasetRecord") -> None:
    """A table of the targets with their statistics."""
    columns = (
        Column(title="target", of=lambda name: name),
        Column(title="unit", of=lambda name: record.units[name]),
        Column(title="column", of=record.source["columns"].get),
        *(_statistic(record, key) for key in ("count", "missing", "mean", "std", "min", "max")),
        Column(title="level of theory", of=lambda name: _level(record, name), shrinks=True),
    )
    print_table(columns, record.targets, empty="No targets.")


def _statistic(record: "DatasetRecord", key: str) -> Column:
    return Column(title=key, of=lambda name: _number(record.statistics[name][key]), right=True)


def _number(value: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _level(record: "DatasetRecord", target: str) -> str:
    level = record.level_of_theory.get(target)
    if level is None:
        return "not known"
    return ", ".join(part for part in level.values() if part != "none")


def mean_column(target: str, unit: str) -> Column:
    """The mean of a target over each part of a split: of rows (name, part)."""
    return Column(
        title=f"mean {target}" if unit == "1" else f"mean {target}, {unit}",
        of=lambda item: _number(item[1].statistics()[target].mean),
        right=True,
    )
