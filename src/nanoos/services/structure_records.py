"""What the structure service hands out, and how rows are made and read."""

import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from nanoos.core.errors import StructureRefusedError
from nanoos.db import StructureTable
from nanoos.structures import Structure, analyze_symmetry, dimensionality

MAX_FORMULA_LENGTH = 200

MAX_SYMMETRY_SITES = 5_000
MAX_DIMENSIONALITY_SITES = 2_000
"""Above these the answer takes seconds, and says little of a crystal."""

_CACHED_FACTS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureRecord:
    """A stored structure as it stood when it was read.

    Attributes:
        id: Its id.
        material_id: The material (formula of one owner) it belongs to.
        owner_id: Who may change it.
        shared: Whether everybody may see it.
        formula: Reduced formula.
        elements: Distinct elements by atomic number.
        n_sites: Sites in the cell.
        structure: The crystal itself.
        volume_a3: Cell volume, Å^3.
        density_g_cm3: Mass density, g/cm^3.
        space_group: International number; None where the symmetry could not be determined.
        crystal_system: ``cubic``, ``hexagonal``, ...; None with ``space_group``.
        dimensionality: 0 to 3 by bond connectivity; None for cells too large to judge.
        content_hash: SHA-256 of the crystal's content.
        source: Where it came from (JSON types).
        created_at: When it was stored, UTC.
    """

    id: uuid.UUID
    material_id: uuid.UUID
    owner_id: uuid.UUID
    shared: bool
    formula: str
    elements: tuple[str, ...]
    n_sites: int
    structure: Structure
    volume_a3: float
    density_g_cm3: float
    space_group: int | None
    crystal_system: str | None
    dimensionality: int | None
    content_hash: str
    source: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportLine:
    """What became of one structure of an import.

    Attributes:
        file: The file as given; ``archive.zip/member.cif`` inside a zip.
        index: Position in its file, from 0.
        status: ``imported``, ``duplicate`` (of the stored structure ``id``) or ``refused``.
        id: Of the stored structure; None where refused.
        formula: Reduced formula; None where the file gave no structure.
        error: ``code, message, hint, details`` where refused.
    """

    file: str
    index: int
    status: str
    id: uuid.UUID | None
    formula: str | None
    error: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureFacts:
    """What is computed once for a stored structure."""

    space_group: int | None
    crystal_system: str | None
    dimensionality: int | None


@lru_cache(maxsize=_CACHED_FACTS)
def structure_facts(structure: Structure) -> StructureFacts:
    """Symmetry and dimensionality; remembered, so that it may be computed ahead of a transaction.

    Each is None where the cell is too large to judge, or where there is no answer.
    """
    space_group = system = None
    if structure.n_sites <= MAX_SYMMETRY_SITES:
        with suppress(StructureRefusedError):
            found = analyze_symmetry(structure)
            space_group, system = found.number, found.crystal_system
    small = structure.n_sites <= MAX_DIMENSIONALITY_SITES
    return StructureFacts(
        space_group=space_group,
        crystal_system=system,
        dimensionality=dimensionality(structure) if small else None,
    )


def structure_values(
    structure: Structure,
    *,
    owner_id: uuid.UUID,
    material_id: uuid.UUID,
    shared: bool,
    source: Mapping[str, Any],
) -> dict[str, Any]:
    """Column values of a new row.

    Raises:
        StructureRefusedError: ``too_many_elements``: the formula does not fit the column.
    """
    check_formula_length(structure)
    facts = structure_facts(structure)
    sites = structure.as_dict()
    lattice = sites.pop("lattice")
    if structure.label:
        sites["label"] = _storable(structure.label)
    return {
        "id": uuid.uuid4(),
        "material_id": material_id,
        "owner_id": owner_id,
        "shared": shared,
        "content_hash": structure.content_hash,
        "formula": structure.formula,
        "elements": f"|{'|'.join(structure.elements)}|",
        "n_elements": len(structure.elements),
        "n_sites": structure.n_sites,
        "lattice_vectors": lattice,
        "sites": sites,
        "volume_a3": structure.volume,
        "density_g_cm3": structure.density,
        "space_group": facts.space_group,
        "crystal_system": facts.crystal_system,
        "dimensionality": facts.dimensionality,
        "source": _storable(source),
    }


def check_formula_length(structure: Structure) -> None:
    """Refuse what no column holds: a formula of several dozen elements."""
    if len(structure.formula) > MAX_FORMULA_LENGTH:
        raise StructureRefusedError(
            f"The structure has {len(structure.elements)} elements; its formula is too long.",
            hint=f"Formulas may have {MAX_FORMULA_LENGTH} characters.",
            code="too_many_elements",
        )


def _storable(value: Any) -> Any:
    """JSON that PostgreSQL accepts: file names may hold NUL's and bytes that are not UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode().replace("\x00", "")
    if isinstance(value, Mapping):
        return {str(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return value


def row_structure(row: StructureTable) -> Structure:
    """The crystal of a row, equal in content hash to the one that was stored."""
    structure = Structure.from_dict({"lattice": row.lattice_vectors, **row.sites})
    return structure.with_label(row.sites.get("label"))


def record_of(row: StructureTable) -> StructureRecord:
    """The record of a row."""
    return StructureRecord(
        id=row.id,
        material_id=row.material_id,
        owner_id=row.owner_id,
        shared=row.shared,
        formula=row.formula,
        elements=tuple(row.elements.strip("|").split("|")),
        n_sites=row.n_sites,
        structure=row_structure(row),
        volume_a3=row.volume_a3,
        density_g_cm3=row.density_g_cm3,
        space_group=row.space_group,
        crystal_system=row.crystal_system,
        dimensionality=row.dimensionality,
        content_hash=row.content_hash,
        source=dict(row.source),
        created_at=row.created_at,
    )
