"""Structures: stored once for each owner, found, exported and deleted."""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from nanoos.core.errors import ForbiddenError, NotFoundError
from nanoos.db import Database, StructureTable
from nanoos.services.access import Principal, visible
from nanoos.services.paging import Page, fetch_page
from nanoos.services.structure_import import import_structures
from nanoos.services.structure_queries import id_range, normal_formula, structure_filters
from nanoos.services.structure_records import (
    ImportLine,
    StructureRecord,
    check_formula_length,
    record_of,
    row_structure,
    structure_facts,
)
from nanoos.services.structure_removal import IDS_PER_QUERY, delete_structures
from nanoos.services.structure_rows import (
    check_material,
    find_equal,
    insert_structures,
)
from nanoos.structures import ReadOutcome, Structure, export_bytes

MAX_FOUND = 100


class StructureService:
    """Everything that happens to stored structures.

    Thread-safe: holds no state but the database. A structure is stored once for each owner: one
    with the same content, or the same crystal in another cell, is answered with the one that is
    there. Methods that take a ``session`` join the caller's transaction, all others open their
    own.

    Args:
        database: Where the structures are.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    # -- adding ---------------------------------------------------------------------------

    def add(
        self,
        structure: Structure,
        who: Principal,
        *,
        source: Mapping[str, Any],
        shared: bool = False,
        material_id: uuid.UUID | None = None,
        as_given: bool = False,
    ) -> tuple[StructureRecord, bool]:
        """Store a structure, or find the one that is the same crystal.

        Args:
            structure: A left-handed cell is stored as its right-handed equal.
            who: Becomes the owner.
            source: Where it came from; JSON types, with a ``kind``.
            shared: Whether everybody may see it; no effect on a duplicate.
            material_id: A material of ``who`` with this formula; found or made without it.
            as_given: Another cell of the same crystal is another one: what is computed of a cell
                (forces, meshes, dynamics) is of that cell.

        Returns:
            The stored record, and whether it is new.

        Raises:
            StructureRefusedError: it is physically impossible.
            NotFoundError: no such material, or not visible.
            ConflictError: the material has another formula or owner.
        """
        structure = structure.right_handed().validated()
        check_formula_length(structure)
        existing = None if as_given else find_equal(self._db, structure, who.user_id)
        if existing is not None:
            return self.get(existing, who), False
        structure_facts(structure)  # computed here, ahead of the transaction that stores it
        with self._db.write() as session:
            if material_id is not None:
                check_material(session, material_id, structure.formula, who)
            stored = insert_structures(
                session,
                [(structure, dict(source))],
                owner_id=who.user_id,
                shared=shared,
                material_id=material_id,
            )
        row_id, is_new = stored[structure.content_hash]
        return self.get(row_id, who), is_new

    def get_or_add_in(
        self, session: Session, structure: Structure, owner_id: uuid.UUID, source: Mapping[str, Any]
    ) -> uuid.UUID:
        """The id of this exact structure of ``owner_id``, stored in the caller's transaction.

        Only exact content counts, no search for other cells of the same crystal. Symmetry is
        remembered from :meth:`analyse`; call that before the transaction.

        Raises:
            StructureRefusedError: it is physically impossible.
        """
        structure = structure.right_handed().validated()
        existing = session.scalar(
            select(StructureTable.id).where(
                StructureTable.owner_id == owner_id,
                StructureTable.content_hash == structure.content_hash,
            )
        )
        if existing is not None:
            return existing
        stored = insert_structures(
            session, [(structure, dict(source))], owner_id=owner_id, shared=False
        )
        return stored[structure.content_hash][0]

    @staticmethod
    def analyse(structure: Structure) -> None:
        """Compute symmetry and dimensionality ahead of the transaction that will store it."""
        structure_facts(structure.right_handed())

    def import_outcomes(
        self, outcomes: Iterable[ReadOutcome], who: Principal, *, shared: bool = False
    ) -> Iterator[ImportLine]:
        """Store what readers gave, one line for each outcome, in order.

        Rows are committed in batches and their lines given out after that, so every line that
        was seen is true, and an import that is interrupted leaves whole structures only.

        Args:
            outcomes: From :func:`nanoos.structures.iter_structures`; consumed as it goes.
            who: Becomes the owner.
            shared: Whether everybody may see the new ones.
        """
        return import_structures(self._db, outcomes, who.user_id, shared=shared)

    # -- finding --------------------------------------------------------------------------

    def get(self, structure_id: uuid.UUID, who: Principal) -> StructureRecord:
        """One structure. Raises NotFoundError where it is not there or not visible."""
        with self._db.read() as session:
            return record_of(visible_structure(session, structure_id, who))

    def require_visible(self, structure_id: uuid.UUID, who: Principal) -> None:
        """Raise NotFoundError as :meth:`get`, without reading the structure."""
        query = select(StructureTable.id).where(
            StructureTable.id == structure_id, visible(StructureTable, who)
        )
        with self._db.read() as session:
            if session.scalar(query) is None:
                raise _no_structure(structure_id)

    def page(
        self,
        who: Principal,
        *,
        elements: Sequence[str] = (),
        formula: str | None = None,
        min_sites: int | None = None,
        max_sites: int | None = None,
        space_group: int | None = None,
        crystal_system: str | None = None,
        source: str | None = None,
        material_id: uuid.UUID | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[StructureRecord]:
        """Visible structures that meet all filters, newest first.

        Args:
            who: Sees own and shared ones, an admin all.
            elements: Each must be in the structure.
            formula: In any order and multiple (``O1Mg1`` finds MgO).
            min_sites: At least so many sites.
            max_sites: At most so many sites.
            space_group: International number, 1 to 230.
            crystal_system: ``cubic``, ``hexagonal``, ...
            source: Kind of source (``file``, ``campaign``), or part of a file name.
            material_id: Of this material.
            cursor: ``next`` of the page before.
            limit: 1 to 200.

        Raises:
            InvalidInputError: a filter or the cursor is malformed.
        """
        conditions = structure_filters(
            elements=elements,
            formula=formula,
            min_sites=min_sites,
            max_sites=max_sites,
            space_group=space_group,
            crystal_system=crystal_system,
            source=source,
        )
        if material_id is not None:
            conditions.append(StructureTable.material_id == material_id)
        query = select(StructureTable).where(visible(StructureTable, who), *conditions)
        with self._db.read() as session:
            rows, total, following = fetch_page(
                session, query, StructureTable, cursor=cursor, limit=limit
            )
            return Page(items=[record_of(row) for row in rows], total=total, next=following)

    def find(self, text: str, who: Principal) -> list[StructureRecord]:
        """What a person means: an id, the first six or more digits of one, or a formula.

        Returns:
            At most 100, newest first; empty where nothing matches.

        Raises:
            InvalidInputError: it is neither an id nor a formula.
        """
        by_id = id_range(text)
        query = select(StructureTable).where(visible(StructureTable, who))
        newest = query.order_by(StructureTable.created_at.desc(), StructureTable.id.desc())
        with self._db.read() as session:
            if by_id is not None:
                rows = list(session.scalars(newest.where(by_id).limit(MAX_FOUND)))
                if rows or not text[:1].isupper():
                    return [record_of(row) for row in rows]
            formula = normal_formula(text)
            rows = list(
                session.scalars(newest.where(StructureTable.formula == formula).limit(MAX_FOUND))
            )
            return [record_of(row) for row in rows]

    def export(
        self,
        ids: Sequence[uuid.UUID],
        who: Principal,
        format: str,  # noqa: A002 - the name of the option everywhere else
        *,
        inner_format: str = "cif",
    ) -> tuple[bytes, str, str]:
        """Structures as one file: content, media type, suggested file name.

        Args:
            ids: In the order wanted.
            who: Must see them all.
            format: ``cif``, ``poscar`` (one structure), ``extxyz``, ``json`` or ``zip``.
            inner_format: Of the files in a zip.

        Raises:
            NotFoundError: one of them is not there or not visible.
            InvalidInputError: unknown format, no ids, or several for a format that holds one.
        """
        with self._db.read() as session:
            rows = _visible_rows(session, ids, who)
            items = [row_structure(rows[structure_id]) for structure_id in ids]
        names = [
            item.label or f"{item.formula}_{i.hex[:8]}" for item, i in zip(items, ids, strict=True)
        ]
        exported = export_bytes(items, format, names=names, inner_format=inner_format)
        return exported.data, exported.media_type, exported.filename

    # -- removing -------------------------------------------------------------------------

    def delete(self, structure_id: uuid.UUID, who: Principal) -> None:
        """Delete a structure with its predictions and simulations; their jobs are cancelled.

        A running job is asked to end and stores nothing any more.

        Raises:
            NotFoundError: it is not there or not visible.
            ForbiddenError: it is visible because it is shared, and somebody else's.
            ConflictError: a campaign that runs now uses it.
        """
        with self._db.write() as session:
            row = visible_structure(session, structure_id, who, lock=True)
            if not who.is_admin and row.owner_id != who.user_id:
                raise ForbiddenError(
                    "This structure is shared with you; only its owner may delete it."
                )
            delete_structures(session, [structure_id])


def _visible_rows(
    session: Session, ids: Sequence[uuid.UUID], who: Principal
) -> dict[uuid.UUID, StructureTable]:
    """Id to row. Raises NotFoundError where one is not there or not visible."""
    rows: dict[uuid.UUID, StructureTable] = {}
    unique = list(dict.fromkeys(ids))
    for start in range(0, len(unique), IDS_PER_QUERY):
        chunk = unique[start : start + IDS_PER_QUERY]
        found = session.scalars(
            select(StructureTable).where(StructureTable.id.in_(chunk), visible(StructureTable, who))
        )
        rows |= {row.id: row for row in found}
    missing = [str(structure_id) for structure_id in ids if structure_id not in rows]
    if missing:
        raise NotFoundError(f"There is no structure {missing[0]}.", details={"missing": missing})
    return rows


def visible_structure(
    session: Session, structure_id: uuid.UUID, who: Principal, *, lock: bool = False
) -> StructureTable:
    """The row, in the caller's transaction.

    Raises:
        NotFoundError: it is not there or not visible to ``who``.
    """
    query = select(StructureTable).where(
        StructureTable.id == structure_id, visible(StructureTable, who)
    )
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise _no_structure(structure_id)
    return row


def _no_structure(structure_id: uuid.UUID) -> NotFoundError:
    return NotFoundError(
        f"There is no structure {structure_id}.",
        hint="'nanoos structures list' shows those that are there.",
    )
