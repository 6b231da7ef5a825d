"""The measured figures of the shipped checkpoints as tables: ``python benchmarks/accuracy.py``.

Reads the cards, which ``benchmarks/shipped_models.py`` wrote when it measured each checkpoint on
the rows of ``test``; measures nothing itself. `--groups` adds coverage by kind of material,
crystal system and quarter of predicted sigma.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nanoos.models
from nanoos.models.checkpoints import Header, read_header

WEIGHTS = Path(nanoos.models.__file__).parent / "weights"


def errors(headers: list[Header]) -> Iterator[str]:
    """Mean absolute errors, all rows and those of the benchmark."""
    yield "| checkpoint | property | rows | mean absolute error | 95 % interval | random forest |"
    yield "|---|---|---:|---:|---:|---:|"
    for header in headers:
        for target in header.targets:
            found = header.metrics[target.name]
            if "mae_interval" not in found:
                continue
            for source, part in (("", found), (", at most 40 sites", found.get("in_bench40"))):
                if part:
                    low, high = part["mae_interval"]
                    forest = "" if source else f"{found['baseline']['mae']:.3g}"
                    yield (
                        f"| {header.name} | {target.name}, {target.unit}{source} | {part['n']:,} "
                        f"| {part['mae']:.4g} | {low:.4g} to {high:.4g} | {forest} |"
                    )


def uncertainty(headers: list[Header]) -> Iterator[str]:
    """Coverage, width, and how sigma ranks errors."""
    yield "| checkpoint | property | at 0.8 | at 0.9 | at 0.95 | width at 0.9 | Spearman | AUSE (random) |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for header in headers:
        for target in header.targets:
            found = header.metrics[target.name].get("uncertainty")
            if not found:
                continue
            levels = {row["level"]: row for row in found["coverage"]}
            cells = [coverage(levels[level]) for level in (0.8, 0.9, 0.95)]
            yield (
                f"| {header.name} | {target.name} | {' | '.join(cells)} "
                f"| {levels[0.9]['mean_width']:.3g} | {found['spearman']:.2f} "
                f"| {found['ause']:.2f} ({found['ause_random']:.2f}) |"
            )


def coverage(row: dict[str, Any]) -> str:
    """Observed coverage; bold where chance does not explain it."""
    low, high = row["expected"]
    text = f"{row['observed']:.3f}"
    return text if low <= row["observed"] <= high else f"**{text}**"


def groups(headers: list[Header]) -> Iterator[str]:
    """Observed less nominal coverage, in points, of each group."""
    yield "| checkpoint | property | by | group | rows | at 0.8 | at 0.9 | at 0.95 | width at 0.9 |"
    yield "|---|---|---|---|---:|---:|---:|---:|---:|"
    for header in headers:
        for target in header.targets:
            found = header.metrics[target.name].get("uncertainty", {})
            for kind, members in found.get("by_group", {}).items():
                for member, rows in members.items():
                    levels = {row["level"]: row for row in rows}
                    cells = [
                        f"{100 * (levels[level]['observed'] - level):+.1f}"
                        for level in (0.8, 0.9, 0.95)
                    ]
                    yield (
                        f"| {header.name} | {target.name} | {kind} | {member} | {rows[0]['n']} "
                        f"| {' | '.join(cells)} | {levels[0.9]['mean_width']:.3g} |"
                    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--groups", action="store_true")
    parser.add_argument("checkpoints", nargs="*", type=Path, help="instead of the shipped ones")
    given = parser.parse_args()
    headers = [
        read_header(path) for path in given.checkpoints or sorted(WEIGHTS.glob("*.safetensors"))
    ]
    tables = [errors, uncertainty, *([groups] if given.groups else [])]
    print("\n\n".join("\n".join(table(headers)) for table in tables))


if __name__ == "__main__":
    main()
