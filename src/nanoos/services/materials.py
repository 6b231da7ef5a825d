"""Materials: a formula of one owner, with its structures."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from nanoos.core.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from nanoos.db import Database, MaterialTable, StructureTable
from nanoos.services.access import Principal, visible
from nanoos.services.paging import Page, fetch_page
from nanoos.services.structure_queries import normal_formula
from nanoos.services.structure_removal import delete_structures
from nanoos.services.structure_rows import insert_ignoring

CHANGEABLE_FIELDS = ("name", "notes", "shared")
MAX_NAME_LENGTH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class MaterialRecord:
    """A material as it stood when it was read.

    Attributes:
        id: Its id.
        owner_id: Who may change it.
        shared: Whether everybody may see it.
        formula: Reduced formula; one material of each formula for each owner.
        name: For people.
        notes: For people.
        n_structures: Structures of it that the reader may see.
        created_at: UTC.
    """

    id: uuid.UUID
    owner_id: uuid.UUID
    shared: bool
    formula: str
    name: str | None
    notes: str | None
    n_structures: int
    created_at: datetime


class MaterialService:
    """Everything that happens to materials. Thread-safe: holds no state but the database.

    Storing a structure makes its material where it is missing, so most are never made by hand.

    Args:
        database: Where the materials are.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def create(
        self,
        formula: str,
        who: Principal,
        *,
        name: str | None = None,
        notes: str | None = None,
        shared: bool = False,
    ) -> MaterialRecord:
        """Make a material.

        Args:
            formula: In any order and multiple; stored reduced.
            who: Becomes the owner.
            name: At most 200 characters.
            notes: Any text.
            shared: Whether everybody may see it.

        Raises:
            InvalidInputError: ``formula`` is none, or the name too long.
            ConflictError: ``who`` has a material of this formula already.
        """
        reduced = normal_formula(formula)
        values = _checked({"name": name, "notes": notes, "shared": shared})
        row_id = uuid.uuid4()
        with self._db.write() as session:
            row = {"id": row_id, "owner_id": who.user_id, "formula": reduced, **values}
            if not insert_ignoring(session, MaterialTable, [row]):
                raise ConflictError(
                    f"You have a material {reduced} already.",
                    hint="Change that one, or add structures to it.",
                    details={"formula": reduced},
                )
        return self.get(row_id, who)

    def get(self, material_id: uuid.UUID, who: Principal) -> MaterialRecord:
        """One material. Raises NotFoundError where it is not there or not visible."""
        with self._db.read() as session:
            row = _visible_row(session, material_id, who)
            return _records(session, [row], who)[0]

    def page(
        self,
        who: Principal,
        *,
        formula: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[MaterialRecord]:
        """Visible materials, newest first.

        Args:
            who: Sees own and shared ones, an admin all.
            formula: In any order and multiple.
            cursor: ``next`` of the page before.
            limit: 1 to 200.

        Raises:
            InvalidInputError: the formula or the cursor is malformed.
        """
        query = select(MaterialTable).where(visible(MaterialTable, who))
        if formula is not None:
            query = query.where(MaterialTable.formula == normal_formula(formula))
        with self._db.read() as session:
            rows, total, following = fetch_page(
                session, query, MaterialTable, cursor=cursor, limit=limit
            )
            return Page(items=_records(session, rows, who), total=total, next=following)

    def update(self, material_id: uuid.UUID, who: Principal, **fields: Any) -> MaterialRecord:
        """Change ``name``, ``notes`` or ``shared``; fields that are not given stay.

        Raises:
            NotFoundError: it is not there or not visible.
            ForbiddenError: it is somebody else's.
            InvalidInputError: another field, or a value that does not fit.
        """
        values = _checked(fields)
        with self._db.write() as session:
            row = _visible_row(session, material_id, who, lock=True)
            _require_owner(row, who)
            for name, value in values.items():
                setattr(row, name, value)
        return self.get(material_id, who)

    def delete(self, material_id: uuid.UUID, who: Principal) -> None:
        """Delete a material with its structures and all that hangs on them.

        Raises:
            NotFoundError: it is not there or not visible.
            ForbiddenError: it is somebody else's.
            ConflictError: a campaign that runs now uses one of its structures.
        """
        with self._db.write() as session:
            row = _visible_row(session, material_id, who, lock=True)
            _require_owner(row, who)
            structures = session.scalars(
                select(StructureTable.id).where(StructureTable.material_id == material_id)
            )
            delete_structures(session, list(structures))
            session.execute(delete(MaterialTable).where(MaterialTable.id == material_id))


def _checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in fields.items():
        if name not in CHANGEABLE_FIELDS:
            raise InvalidInputError(
                f"A material's {name!r} cannot be changed.",
                hint=f"Changeable: {', '.join(CHANGEABLE_FIELDS)}.",
            )
        if name == "shared" and not isinstance(value, bool):
            raise InvalidInputError("shared is true or false.")
        if name != "shared" and not isinstance(value, str | None):
            raise InvalidInputError(f"{name} is a text or null.")
        if isinstance(value, str) and "\x00" in value:
            raise InvalidInputError(f"{name} holds a NUL character.")
        if name == "name" and isinstance(value, str) and len(value) > MAX_NAME_LENGTH:
            raise InvalidInputError(
                f"The name has {len(value)} characters.",
                hint=f"At most {MAX_NAME_LENGTH} are allowed; longer text belongs into the notes.",
            )
    return dict(fields)


def _visible_row(
    session: Session, material_id: uuid.UUID, who: Principal, *, lock: bool = False
) -> MaterialTable:
    query = select(MaterialTable).where(
        MaterialTable.id == material_id, visible(MaterialTable, who)
    )
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFoundError(f"There is no material {material_id}.")
    return row


def _require_owner(row: MaterialTable, who: Principal) -> None:
    if not who.is_admin and row.owner_id != who.user_id:
        raise ForbiddenError("This material is shared with you; only its owner may change it.")


def _records(session: Session, rows: list[MaterialTable], who: Principal) -> list[MaterialRecord]:
    counted = session.execute(
        select(StructureTable.material_id, func.count())
        .where(
            StructureTable.material_id.in_([row.id for row in rows]), visible(StructureTable, who)
        )
        .group_by(StructureTable.material_id)
    )
    counts: dict[uuid.UUID, int] = {material_id: n for material_id, n in counted}  # noqa: C416
    return [
        MaterialRecord(
            id=row.id,
            owner_id=row.owner_id,
            shared=row.shared,
            formula=row.formula,
            name=row.name,
            notes=row.notes,
            n_structures=counts.get(row.id, 0),
            created_at=row.created_at,
        )
        for row in rows
    ]
