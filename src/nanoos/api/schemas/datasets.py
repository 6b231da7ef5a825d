"""Data sets."""

import json
import uuid
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, Field, field_validator, model_validator

from nanoos.api.schemas.common import Answer, Body
from nanoos.services.dataset_records import ImportOptions, SimulationRows

DatasetName = Annotated[
    str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
]
DatasetFormat = Literal["parquet", "csv", "extxyz"]


class DatasetFields(Body):
    """The fields beside the file of an upload."""

    name: DatasetName
    """Unique."""
    options: ImportOptions = ImportOptions()
    """As JSON text: what the columns are, where their names do not say it."""
    shared: bool = False
    """Whether every user sees it."""

    @field_validator("options", mode="before")
    @classmethod
    def _parsed(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error


class DatasetBody(DatasetFields):
    """A data set that is not uploaded: exactly one of the two."""

    database: Annotated[str, Field(max_length=2000, pattern=r"^(matbench|jarvis|mp):")] | None = (
        None
    )
    """``matbench:phonons``, ``jarvis:dft_3d``, ``mp:chemsys=Li-O``."""
    simulations: SimulationRows | None = None
    """Of which results."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.database is None) == (self.simulations is None):
            raise ValueError("give either database or simulations")
        return self


class DatasetAnswer(Answer):
    """A data set without its rows."""

    id: uuid.UUID
    owner_id: uuid.UUID
    shared: bool
    name: str
    sha256: str
    """Over structures, targets and units."""
    n_rows: int
    targets: list[str]
    units: dict[str, str]
    level_of_theory: dict[str, Any]
    """Target to functional, corrections, reference; absent where it is not known."""
    statistics: dict[str, Any]
    """Target to count, missing, mean, std, min, max, quantiles."""
    source: dict[str, Any]
    """Where the rows came from, and which were refused or are double."""
    size_bytes: int
    created_at: AwareDatetime


class DatasetJob(Answer):
    """An import that goes on as a job."""

    job_id: uuid.UUID
    """Its result holds ``dataset_id``."""
