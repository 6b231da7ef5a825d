"""Materials and structures."""

import uuid
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, field_validator

from nanoos.api.schemas.common import Answer, Body, ErrorRecord, PageQuery, ShortText, Text

Formula = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9().]+$")]
Element = Annotated[str, Field(pattern=r"^[A-Z][a-z]?$")]
ExportFormat = Literal["cif", "poscar", "extxyz", "json", "zip"]


class MaterialBody(Body):
    """A new material."""

    formula: Formula
    name: ShortText | None = None
    notes: Text | None = None
    shared: bool = False
    """Whether every user sees it."""


class MaterialChange(Body):
    """What changes; what is absent stays."""

    name: ShortText | None = None
    notes: Text | None = None
    shared: bool | None = None
    """Null: stays."""

    def changes(self) -> dict[str, Any]:
        """The fields to change."""
        given = self.model_dump(exclude_unset=True)
        return {name: v for name, v in given.items() if v is not None or name != "shared"}


class MaterialAnswer(Answer):
    """A formula with its structures."""

    id: uuid.UUID
    owner_id: uuid.UUID
    shared: bool
    formula: str
    name: str | None
    notes: str | None
    n_structures: int
    """Of those that the reader may see."""
    created_at: AwareDatetime


class MaterialQuery(PageQuery):
    """Which materials."""

    formula: Formula | None = None


class StructureBody(Body):
    """A structure as JSON."""

    structure: dict[str, Any]
    """Of nanoos, pymatgen (``Structure.as_dict()``) or OPTIMADE."""
    shared: bool = False
    material_id: uuid.UUID | None = None
    """A material of one's own with this formula; found or made without it."""
    as_given: bool = False
    """Another cell of a crystal that is there already (a supercell) is another structure."""


class ImportFields(Body):
    """The fields beside the files of an import."""

    shared: bool = False


class UploadFields(ImportFields):
    """The fields beside the file of an upload."""

    material_id: uuid.UUID | None = None
    as_given: bool = False
    """As in JSON: another cell of a crystal that is there already is another structure."""


class StructureSummary(Answer):
    """A stored structure without its sites."""

    id: uuid.UUID
    material_id: uuid.UUID
    owner_id: uuid.UUID
    shared: bool
    formula: str
    elements: list[str]
    n_sites: int
    volume_a3: float
    """Å^3."""
    density_g_cm3: float
    space_group: int | None
    """International number."""
    crystal_system: str | None
    dimensionality: int | None
    """0 to 3, by bond connectivity."""
    content_hash: str
    source: dict[str, Any]
    """Where it came from."""
    features: bool
    """Whether features are stored of it: GET /ml/features/structure/{id}."""
    created_at: AwareDatetime


class StructureAnswer(StructureSummary):
    """A stored structure."""

    structure: dict[str, Any]
    """Lattice vectors in Å (rows), species, fractional coordinates."""

    @field_validator("structure", mode="before")
    @classmethod
    def _as_document(cls, value: Any) -> Any:
        return value if isinstance(value, dict) else value.as_dict()


class AddedStructure(StructureAnswer):
    """A structure that was added, or the equal one that was there."""

    duplicate: bool
    """True if it was there already (then the status is 200)."""


class StructureQuery(PageQuery):
    """Which structures."""

    elements: Annotated[str, Field(pattern=r"^[A-Z][a-z]?(,[A-Z][a-z]?)*$")] | None = None
    """Each must be in it: ``Li,O``."""
    formula: Formula | None = None
    """In any order and multiple: ``O1Mg1`` finds MgO."""
    nsites: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Exactly so many sites."""
    min_sites: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_sites: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    space_group: Annotated[int, Field(ge=1, le=230)] | None = None
    crystal_system: (
        Literal[
            "triclinic",
            "monoclinic",
            "orthorhombic",
            "tetragonal",
            "trigonal",
            "hexagonal",
            "cubic",
        ]
        | None
    ) = None
    source: ShortText | None = None
    """Kind of source (``file``, ``campaign``), or part of a file name."""
    material_id: uuid.UUID | None = None


class ImportLineAnswer(Answer):
    """What became of one structure of an import."""

    file: str
    index: int
    """Position in its file, from 0."""
    status: Literal["imported", "duplicate", "refused"]
    id: uuid.UUID | None
    formula: str | None
    error: ErrorRecord | None


class ImportAnswer(Answer):
    """What became of an import: one line for each structure, in order."""

    items: list[ImportLineAnswer]
    imported: int
    duplicate: int
    refused: int
