"""Storing structures so that two who add the same one at once get one row."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from nanoos.core.errors import ConflictError, NotFoundError
from nanoos.db import Database, MaterialTable, StructureTable
from nanoos.services.access import Principal, visible
from nanoos.services.structure_duplicates import MAX_CANDIDATES, find_same_crystal
from nanoos.services.structure_records import row_structure, structure_values
from nanoos.structures import Structure, duplicate_key
from nanoos.structures.matching import VOLUME_TOLERANCE

_ROUNDING_A3 = 1e-9


def insert_ignoring(session: Session, table: Any, rows: Sequence[Mapping[str, Any]]) -> set[Any]:
    """Insert rows, leaving out those that a unique constraint already holds.

    Two transactions that insert the same key at once: the second waits for the first and then
    leaves its row out. Nothing is raised, so the caller's transaction stays usable.

    Returns:
        The ids that were inserted.
    """
    if session.get_bind().dialect.name == "sqlite":
        statement: Any = sqlite.insert(table.__table__)
    else:
        statement = postgresql.insert(table.__table__)
    statement = statement.on_conflict_do_nothing().returning(table.__table__.c.id)
    return set(session.scalars(statement, [dict(row) for row in rows]))


def material_for(
    session: Session, owner_id: uuid.UUID, formulas: Sequence[str], *, shared: bool
) -> dict[str, uuid.UUID]:
    """Formula to the owner's material of it, made where it is missing."""
    wanted = sorted(set(formulas))  # one order for all, so that two imports cannot deadlock
    found = _materials(session, owner_id, wanted)
    missing = [formula for formula in wanted if formula not in found]
    if missing:
        insert_ignoring(
            session,
            MaterialTable,
            [
                {"id": uuid.uuid4(), "owner_id": owner_id, "formula": formula, "shared": shared}
                for formula in missing
            ],
        )
        found = _materials(session, owner_id, wanted)
    if shared:
        session.execute(
            update(MaterialTable)
            .where(MaterialTable.id.in_(found.values()), MaterialTable.shared.is_(False))
            .values(shared=True)
            .execution_options(synchronize_session=False)
        )
    return found


def _materials(
    session: Session, owner_id: uuid.UUID, formulas: Sequence[str]
) -> dict[str, uuid.UUID]:
    rows = session.execute(
        select(MaterialTable.formula, MaterialTable.id)
        .where(MaterialTable.owner_id == owner_id, MaterialTable.formula.in_(formulas))
        .with_for_update(read=True, key_share=True)  # stays until its structures are stored
    )
    return {row.formula: row.id for row in rows}


def check_material(session: Session, material_id: uuid.UUID, formula: str, who: Principal) -> None:
    """Refuse a material that a structure of this formula and owner cannot belong to.

    Raises:
        NotFoundError: not there, or not visible.
        ConflictError: of another formula or owner.
    """
    row = session.scalar(
        select(MaterialTable).where(MaterialTable.id == material_id, visible(MaterialTable, who))
    )
    if row is None:
        raise NotFoundError(f"There is no material {material_id}.")
    if row.formula != formula:
        raise ConflictError(
            f"The material is {row.formula}, the structure {formula}.",
            hint="Leave the material out: it is found or made by its formula.",
        )
    if row.owner_id != who.user_id:
        raise ConflictError(
            "The material belongs to somebody else.",
            hint="Leave the material out: it is found or made by its formula.",
        )


def insert_structures(
    session: Session,
    entries: Sequence[tuple[Structure, Mapping[str, Any]]],
    *,
    owner_id: uuid.UUID,
    shared: bool,
    material_id: uuid.UUID | None = None,
) -> dict[str, tuple[uuid.UUID, bool]]:
    """Store structures with their sources; content hash to row id and whether it is new."""
    entries = sorted(entries, key=lambda entry: entry[0].content_hash)
    materials = (
        {}
        if material_id is not None
        else material_for(session, owner_id, [s.formula for s, _ in entries], shared=shared)
    )
    rows = [
        structure_values(
            structure,
            owner_id=owner_id,
            material_id=material_id or materials[structure.formula],
            shared=shared,
            source=source,
        )
        for structure, source in entries
    ]
    stored: dict[str, tuple[uuid.UUID, bool]] = {}
    while rows:  # once, unless another transaction deletes a row between these two statements
        inserted = insert_ignoring(session, StructureTable, rows)
        stored |= {row["content_hash"]: (row["id"], True) for row in rows if row["id"] in inserted}
        others = [row["content_hash"] for row in rows if row["content_hash"] not in stored]
        existing = session.execute(
            select(StructureTable.content_hash, StructureTable.id).where(
                StructureTable.owner_id == owner_id, StructureTable.content_hash.in_(others)
            )
        )
        stored |= {row.content_hash: (row.id, False) for row in existing}
        rows = [row for row in rows if row["content_hash"] not in stored]
    return stored


def find_equal(database: Database, structure: Structure, owner_id: uuid.UUID) -> uuid.UUID | None:
    """The owner's structure with this content, or the same crystal written differently."""
    per_atom = structure.volume / structure.n_sites
    volume = StructureTable.volume_a3 / StructureTable.n_sites
    near = volume.between(
        per_atom * (1 - VOLUME_TOLERANCE) - _ROUNDING_A3,
        per_atom / (1 - VOLUME_TOLERANCE) + _ROUNDING_A3,
    )
    own = StructureTable.owner_id == owner_id
    with database.read() as session:
        exact = session.scalar(
            select(StructureTable.id).where(
                own, StructureTable.content_hash == structure.content_hash
            )
        )
        if exact is not None:
            return exact
        rows = list(
            session.scalars(
                select(StructureTable)
                .where(own, StructureTable.formula == duplicate_key(structure), near)
                .order_by(func.abs(volume - per_atom), StructureTable.created_at)
                .limit(MAX_CANDIDATES)
            )
        )
    position = find_same_crystal(structure, [row_structure(row) for row in rows])
    return None if position is None else rows[position].id
