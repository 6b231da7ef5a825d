"""What a caller says about a source of rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nanoos.core.records import LevelOfTheory


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How to understand a source; every field has a sensible default.

    Attributes:
        targets: Target name to column; empty: columns with well-known names.
        units: Target name to the unit of its column, where the name does not say it.
        structure_column: Column with the structure; guessed by default.
        id_column: Column with the id; guessed by default.
        split_column: Column with ``train``, ``val`` or ``test``; guessed by default.
        where: Column to value: only rows where the cell equals it, as text without regard to
            case (``in_bench40``: ``true``).
        level_of_theory: What the numbers mean, of all targets; known for well-known sources.
    """

    targets: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    structure_column: str | None = None
    id_column: str | None = None
    split_column: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    level_of_theory: LevelOfTheory | None = None
