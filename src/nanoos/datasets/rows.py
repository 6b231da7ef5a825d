"""One row of a data set on its way in: a structure with numbers, or why there is none."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from nanoos.core.errors import NanoosError
from nanoos.core.records import LevelOfTheory
from nanoos.structures import Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSource:
    """Where a row came from.

    Attributes:
        kind: ``file``, ``simulation``, ``matbench``, ``jarvis``, ``materials_project``.
        name: The file, the data set or the engine.
        row: Position in it from 0, None where rows have no order.
        id: What the source calls the row: a database id, the id of a simulation.
    """

    kind: str
    name: str
    row: int | None = None
    id: str | None = None

    def as_dict(self) -> dict[str, str | int]:
        """JSON types, without what is absent."""
        found = {"kind": self.kind, "name": self.name, "row": self.row, "id": self.id}
        return {key: value for key, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRow:
    """A structure with what is known of it.

    Attributes:
        structure: The crystal.
        targets: Property name to number, in the unit of the stream; absent where unknown.
        source: Where it came from.
        id: Its name, the source's own id where there is one.
        split: ``train``, ``val`` or ``test`` where the source says so.
        level_of_theory: Property to what its number means, where rows differ in that.
    """

    structure: Structure
    targets: Mapping[str, float]
    source: RowSource
    id: str
    split: str | None = None
    level_of_theory: Mapping[str, LevelOfTheory] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRow:
    """A row that cannot be used.

    Attributes:
        source: Where it stands.
        error: Why.
    """

    source: RowSource
    error: NanoosError

    def as_dict(self) -> dict[str, object]:
        """JSON types."""
        return {**self.source.as_dict(), **self.error.as_dict()}


@dataclass(frozen=True, slots=True, kw_only=True)
class RowStream:
    """What a reader gives: rows in order, and what their numbers are.

    Attributes:
        name: Of the file or service.
        rows: One item for each row of the source; consumed once.
        units: Property name to unit; complete before the first row.
        level_of_theory: Property name to what its numbers mean, where it is known for all rows.
        columns: Property name to the source's own name for it.
        total: Number of rows, None where it is not known before the end.
    """

    name: str
    rows: Iterator[DatasetRow | RefusedRow]
    units: Mapping[str, str]
    level_of_theory: Mapping[str, LevelOfTheory] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    total: int | None = None
