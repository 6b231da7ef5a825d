"""Storing many structures: work outside of transactions, rows in batches."""

import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from nanoos.core.errors import NanoosError, StructureRefusedError
from nanoos.db import Database
from nanoos.services.structure_duplicates import find_same_crystal
from nanoos.services.structure_records import ImportLine, check_formula_length, structure_facts
from nanoos.services.structure_rows import find_equal, insert_structures
from nanoos.structures import ReadOutcome, Structure, duplicate_key

BATCH_ROWS: Final = 100
BATCH_SECONDS: Final = 2.0
"""A batch is also stored when its first structure has waited this long: people watch."""


def import_structures(
    database: Database, outcomes: Iterable[ReadOutcome], owner_id: uuid.UUID, *, shared: bool
) -> Iterator[ImportLine]:
    """One line for each outcome, in order, given out when its batch is committed."""
    batch = _Batch(database, owner_id, shared=shared)
    for outcome in outcomes:
        batch.take(outcome)
        if batch.is_due:
            yield from batch.store()
            batch = _Batch(database, owner_id, shared=shared)
    yield from batch.store()


@dataclass(slots=True)
class _Slot:
    """A line to be: with a new structure, with the id of a stored one, or with an error."""

    outcome: ReadOutcome
    structure: Structure | None = None
    content_hash: str | None = None
    """Of the structure in this batch that the line's id will be of."""
    id: uuid.UUID | None = None
    error: NanoosError | None = None


@dataclass(slots=True)
class _Batch:
    database: Database
    owner_id: uuid.UUID
    shared: bool = field(kw_only=True)
    slots: list[_Slot] = field(default_factory=list)
    hashes: set[str] = field(default_factory=set)
    by_formula: defaultdict[str, list[Structure]] = field(default_factory=lambda: defaultdict(list))
    began: float = field(default_factory=time.monotonic)

    @property
    def is_due(self) -> bool:
        full = len(self.slots) >= BATCH_ROWS
        return full or time.monotonic() - self.began >= BATCH_SECONDS

    def take(self, outcome: ReadOutcome) -> None:
        """Do all that takes time for one outcome; never raises for what it holds."""
        try:
            self.slots.append(self._slot(outcome))
        except NanoosError as error:
            if error.http_status >= 500:  # noqa: PLR2004 - the database, not the structure
                raise
            self.slots.append(_Slot(outcome, error=error))

    def _slot(self, outcome: ReadOutcome) -> _Slot:
        if outcome.structure is None:
            return _Slot(outcome, error=outcome.error or _nothing(outcome.file))
        structure = outcome.structure.right_handed()
        check_formula_length(structure)
        if structure.content_hash in self.hashes:
            return _Slot(outcome, content_hash=structure.content_hash)
        stored = find_equal(self.database, structure, self.owner_id)
        if stored is not None:
            return _Slot(outcome, id=stored)
        alike = self.by_formula[duplicate_key(structure)]
        position = find_same_crystal(structure, alike)
        if position is not None:
            return _Slot(outcome, content_hash=alike[position].content_hash)
        structure_facts(structure)  # computed here, ahead of the transaction that stores it
        alike.append(structure)
        self.hashes.add(structure.content_hash)
        return _Slot(outcome, structure=structure, content_hash=structure.content_hash)

    def store(self) -> list[ImportLine]:
        """Commit the new structures and give all lines."""
        entries = [
            (slot.structure, _source(slot.outcome))
            for slot in self.slots
            if slot.structure is not None
        ]
        stored: dict[str, tuple[uuid.UUID, bool]] = {}
        if entries:
            with self.database.write() as session:
                stored = insert_structures(
                    session, entries, owner_id=self.owner_id, shared=self.shared
                )
        return [_line(slot, stored) for slot in self.slots]


def _nothing(file: str) -> StructureRefusedError:
    return StructureRefusedError(f"{file} holds no structure.", code="no_structures")


def _source(outcome: ReadOutcome) -> dict[str, Any]:
    return {
        "kind": "file",
        "file": outcome.file,
        "index": outcome.index,
        "id": outcome.source_id,
    }


def _line(slot: _Slot, stored: dict[str, tuple[uuid.UUID, bool]]) -> ImportLine:
    row_id, is_new = slot.id, False
    if slot.content_hash is not None:
        row_id, is_new = stored[slot.content_hash]
    formula = slot.outcome.structure.formula if slot.outcome.structure is not None else None
    status = "imported" if is_new and slot.structure is not None else "duplicate"
    return ImportLine(
        file=slot.outcome.file,
        index=slot.outcome.index,
        status="refused" if slot.error is not None else status,
        id=row_id,
        formula=formula,
        error=None if slot.error is None else slot.error.as_dict(),
    )
