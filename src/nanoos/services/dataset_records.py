"""What the service of data sets takes and hands out."""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nanoos.core.errors import InvalidInputError
from nanoos.core.records import LevelOfTheory
from nanoos.datasets.readers.options import ReadOptions
from nanoos.db import DatasetTable

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
Word = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRecord:
    """A stored data set, without its rows.

    Attributes:
        id: Its id.
        owner_id: Who imported it.
        shared: Whether every user sees it.
        name: Unique.
        sha256: Hash over structures, targets and units.
        n_rows: Rows.
        targets: Names of the properties.
        units: Unit of each target.
        level_of_theory: Target to what its numbers mean, where that is known.
        statistics: Target to count, missing, mean, std, min, max, quantiles.
        source: Where the rows came from, which columns were taken, what was refused
            (``n_refused``, ``refusals`` by code, the first ones in ``refused``), doubles,
            elements, the source's own split.
        size_bytes: Of the sealed file.
        created_at: When.
    """

    id: uuid.UUID
    owner_id: uuid.UUID
    shared: bool
    name: str
    sha256: str
    n_rows: int
    targets: Sequence[str]
    units: Mapping[str, str]
    level_of_theory: Mapping[str, Any]
    statistics: Mapping[str, Any]
    source: Mapping[str, Any]
    size_bytes: int
    created_at: datetime


def dataset_record(row: DatasetTable) -> DatasetRecord:
    """A row as it is handed out."""
    return DatasetRecord(
        id=row.id,
        owner_id=row.owner_id,
        shared=row.shared,
        name=row.name,
        sha256=row.sha256,
        n_rows=row.n_rows,
        targets=row.targets,
        units=row.units,
        level_of_theory=row.level_of_theory,
        statistics=row.statistics,
        source=row.source,
        size_bytes=row.files[0]["size_bytes"],
        created_at=row.created_at,
    )


def checked_name(name: str) -> str:
    """A name that can be typed on a command line and put into an address.

    Raises:
        InvalidInputError: it is not.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"{name!r} is no name for a data set.",
            hint="Use at most 100 letters, digits, dots, dashes and underscores.",
            code="invalid_name",
        )
    return name


class SimulationRows(BaseModel):
    """Which simulation results become rows."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    engine: Word = "MLIP"
    """The engine that made them."""
    workflow: Word = "relax"
    """Its workflow: ``relax``, ``equation_of_state``, ``single_point``."""
    potential: Word | None = None
    """Only results of this potential; needed where there are several."""
    made_by: Word | None = None
    """Only results with this in their producer, version or reference, as a refusal names them."""


class ImportOptions(BaseModel):
    """How a source is to be understood; all of it is optional."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    targets: dict[Word, Word] = Field(default={}, max_length=100)
    """Property name to column; empty: columns with well-known names."""
    units: dict[Word, Word] = Field(default={}, max_length=100)
    """Property name to the unit of its column."""
    structure_column: Word | None = None
    """Column with the structure; guessed by default."""
    id_column: Word | None = None
    """Column with the id; guessed by default."""
    split_column: Word | None = None
    """Column with train, val or test; guessed by default."""
    where: dict[Word, Word] = Field(default={}, max_length=20)
    """Column to value: only the rows where the cell equals it."""
    functional: Word | None = None
    """What the numbers mean: PBE, HSE06, ... (with the two below)."""
    corrections: Word = "none"
    """MP2020, none, ..."""
    reference: Word = "none"
    """What energies are measured from; none for other properties."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.functional is None and {"corrections", "reference"} & self.model_fields_set:
            raise ValueError("corrections and reference mean nothing without the functional")
        return self

    def read_options(self) -> ReadOptions:
        """The same for the readers."""
        level = (
            None
            if self.functional is None
            else LevelOfTheory(
                functional=self.functional,
                corrections=self.corrections,
                reference=self.reference,
            )
        )
        return ReadOptions(
            targets=self.targets,
            units=self.units,
            structure_column=self.structure_column,
            id_column=self.id_column,
            split_column=self.split_column,
            where=self.where,
            level_of_theory=level,
        )
