"""What became of a stream of rows: counted while they pass by."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np

from nanoos.core.errors import InvalidInputError
from nanoos.core.records import LevelOfTheory
from nanoos.datasets.dataset import TargetStatistics, hash_targets, target_statistics
from nanoos.datasets.rows import DatasetRow, RefusedRow, RowStream

KEPT_REFUSALS: Final = 100
_KEPT_DUPLICATES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSummary:
    """What became of a stream of rows.

    Attributes:
        name: Of the data set.
        sha256: Hash of the data set, as :attr:`Dataset.sha256`.
        n_rows: Rows that went in.
        units: Unit of each target.
        level_of_theory: What the numbers mean, where that is known.
        statistics: Of each target.
        columns: Property name to the source's own name.
        n_refused: Rows that did not go in.
        refusals: Error code to number of rows.
        refused: The first of them, with row and reason.
        n_duplicates: Rows whose structure an earlier row has; they went in.
        duplicates: The first of them, as pairs (id of the earlier row, id).
        elements: Element to number of rows with it.
        splits: ``train``, ``val``, ``test`` to number of rows, empty without a given split.
    """

    name: str
    sha256: str
    n_rows: int
    units: Mapping[str, str]
    level_of_theory: Mapping[str, LevelOfTheory]
    statistics: Mapping[str, TargetStatistics]
    columns: Mapping[str, str]
    n_refused: int
    refusals: Mapping[str, int]
    refused: tuple[RefusedRow, ...]
    n_duplicates: int
    duplicates: tuple[tuple[str, str], ...]
    elements: Mapping[str, int]
    splits: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """JSON types."""
        document = {name: getattr(self, name) for name in self.__slots__}
        return document | {
            "level_of_theory": {name: asdict(one) for name, one in self.level_of_theory.items()},
            "statistics": {name: one.as_dict() for name, one in self.statistics.items()},
            "refused": [row.as_dict() for row in self.refused],
            "duplicates": [list(pair) for pair in self.duplicates],
        }


@dataclass(slots=True, kw_only=True)
class Tally:
    """Everything that is counted while rows pass by."""

    stream: RowStream
    hashes: Any = field(default_factory=hashlib.sha256)
    first_with: dict[bytes, str] = field(default_factory=dict)
    values: dict[str, list[float]] = field(default_factory=dict)
    elements: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    refused: list[RefusedRow] = field(default_factory=list)
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    n_duplicates: int = 0
    n_rows: int = 0

    def refuse(self, row: RefusedRow) -> None:
        """Count a row that does not go in."""
        self.refusals[row.error.error_code] += 1
        if len(self.refused) < KEPT_REFUSALS:
            self.refused.append(row)

    def admit(self, row: DatasetRow) -> None:
        """Count a row that goes in. Raises InvalidInputError as :func:`check_levels`."""
        check_levels(self.stream, row)
        content = bytes.fromhex(row.structure.content_hash)
        self.hashes.update(content)
        if content in self.first_with:
            self.n_duplicates += 1
            if len(self.duplicates) < _KEPT_DUPLICATES:
                self.duplicates.append((self.first_with[content], row.id))
        else:
            self.first_with[content] = row.id
        for name in self.stream.units:
            self.values.setdefault(name, []).append(row.targets.get(name, np.nan))
        self.elements.update(set(row.structure.species))
        if row.split is not None:
            self.splits[row.split] += 1
        self.n_rows += 1

    def summary(self, name: str) -> ImportSummary:
        """Everything counted so far; once, at the end."""
        targets = {n: np.array(self.values.get(n, []), np.float64) for n in self.stream.units}
        hash_targets(self.hashes, targets, self.stream.units)
        return ImportSummary(
            name=name,
            sha256=self.hashes.hexdigest(),
            n_rows=self.n_rows,
            units=dict(self.stream.units),
            level_of_theory=dict(self.stream.level_of_theory),
            statistics={
                n: target_statistics(values, unit=self.stream.units[n])
                for n, values in targets.items()
            },
            columns=dict(self.stream.columns),
            n_refused=self.refusals.total(),
            refusals=dict(self.refusals.most_common()),
            refused=tuple(self.refused),
            n_duplicates=self.n_duplicates,
            duplicates=tuple(self.duplicates),
            elements=dict(self.elements.most_common()),
            splits=dict(self.splits),
        )


def check_levels(stream: RowStream, row: DatasetRow) -> None:
    """Refuse to pool numbers that mean different things.

    Raises:
        InvalidInputError: code ``unlike_levels``; ends the whole import.
    """
    for name, level in row.level_of_theory.items():
        known = stream.level_of_theory.get(name)
        if known is not None and known != level:
            raise InvalidInputError(
                f"{name} of row {row.id} is {describe_level(level)}, of the others "
                f"{describe_level(known)}: unlike numbers are never pooled.",
                hint="Import each level of theory as a data set of its own.",
                details={"target": name, "levels": [asdict(known), asdict(level)]},
                code="unlike_levels",
            )


def describe_level(level: LevelOfTheory) -> str:
    """A level of theory in a few words."""
    return f"{level.functional}, corrections {level.corrections}, reference {level.reference}"
