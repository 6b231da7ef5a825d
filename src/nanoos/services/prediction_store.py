"""Stored predictions: one row for each structure, model, weights and generation."""

import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass
from typing import Any, Final
from weakref import WeakValueDictionary

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from nanoos.core.errors import ConflictError, NanoosError, NotFoundError
from nanoos.db import Database, PredictionTable, StructureTable
from nanoos.services.prediction_records import PredictionRecord, prediction_record
from nanoos.services.structure_rows import insert_ignoring

_MAX_GENERATIONS_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheKey:
    """What a stored prediction is a prediction of; with a generation it is unique."""

    structure_id: uuid.UUID
    model_name: str
    model_version: str
    weights_sha256: str
    """Hash over all weights used; empty where the model has none."""


class PredictionStore:
    """Finds and adds rows. Thread-safe; any number of processes may add the same.

    Args:
        database: Where the rows are.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def find(self, key: CacheKey) -> PredictionRecord | None:
        """The row of the highest generation."""
        return self.find_many([key]).get(key.structure_id)

    def find_many(self, keys: Sequence[CacheKey]) -> dict[uuid.UUID, PredictionRecord]:
        """Structure to its row of the highest generation; the keys differ in the structure only."""
        if not keys:
            return {}
        ids = [key.structure_id for key in keys]
        query = (
            select(PredictionTable)
            .where(PredictionTable.structure_id.in_(ids), *_same_model(keys[0]))
            .order_by(PredictionTable.generation)  # a later one replaces an earlier one below
        )
        with self._db.read() as session:
            return {
                row.structure_id: prediction_record(row, cached=True)
                for row in session.scalars(query)
            }

    def add(self, key: CacheKey, columns: Mapping[str, Any], *, again: bool) -> PredictionRecord:
        """Store one prediction.

        Args:
            key: What it is a prediction of.
            columns: Of the row.
            again: As the next generation; otherwise the row of a client that was faster is
                given instead.

        Raises:
            NotFoundError: the structure was deleted meanwhile.
            ConflictError: others recompute or delete the same now.
        """
        answer = self.add_many([(key, columns)], again=again)[0]
        if isinstance(answer, NanoosError):
            raise answer
        return answer

    def add_many(
        self, rows: Sequence[tuple[CacheKey, Mapping[str, Any]]], *, again: bool
    ) -> list[PredictionRecord | NanoosError]:
        """As :meth:`add` for many, in one transaction; what cannot be stored gives its error."""
        if not rows:
            return []
        made: dict[uuid.UUID, PredictionRecord] = {}
        with self._db.write() as session:
            present = _present(session, [key.structure_id for key, _ in rows])
            for key, columns in rows:
                if key.structure_id in present:
                    row_id = _insert(session, key, columns, again=again)
                    if row_id is not None:
                        row = session.get_one(PredictionTable, row_id)
                        made[key.structure_id] = prediction_record(row, cached=False)
        faster = [key for key, _ in rows if key.structure_id in present - made.keys()]
        stored = {} if again else self.find_many(faster)
        return [
            made.get(key.structure_id)
            or stored.get(key.structure_id)
            or _why_not(key, present=key.structure_id in present)
            for key, _ in rows
        ]


def _why_not(key: CacheKey, *, present: bool) -> NanoosError:
    if not present:
        return NotFoundError(f"There is no structure {key.structure_id}.")
    return ConflictError("Others recompute or delete the same prediction now.", hint="Ask again.")


def _same_model(key: CacheKey) -> tuple[ColumnElement[bool], ...]:
    return (
        PredictionTable.model_name == key.model_name,
        PredictionTable.model_version == key.model_version,
        PredictionTable.weights_sha256 == key.weights_sha256,
    )


def _present(session: Session, ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Structures that are there, held until the transaction ends; one may go at any moment."""
    held = (
        select(StructureTable.id)
        .where(StructureTable.id.in_(ids))
        .order_by(StructureTable.id)
        .with_for_update(read=True, key_share=True)
    )
    return set(session.scalars(held))


def _insert(
    session: Session, key: CacheKey, columns: Mapping[str, Any], *, again: bool
) -> uuid.UUID | None:
    """The id of the new row; None where the generation is taken by others."""
    for _ in range(_MAX_GENERATIONS_AT_ONCE if again else 1):
        generation = 0
        if again:
            highest = session.scalar(
                select(func.max(PredictionTable.generation)).where(
                    PredictionTable.structure_id == key.structure_id, *_same_model(key)
                )
            )
            generation = 0 if highest is None else highest + 1
        row_id = uuid.uuid4()
        row = {
            "id": row_id,
            "structure_id": key.structure_id,
            "model_name": key.model_name,
            "model_version": key.model_version,
            "weights_sha256": key.weights_sha256,
            "generation": generation,
            "properties": columns["properties"],
            "confidence_scores": columns["confidence_scores"],
            "metadata": columns["extra"],
        }
        if insert_ignoring(session, PredictionTable, [row]):
            return row_id
    return None


class _Lock:
    """A lock that a weak dictionary can hold."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class KeyedLocks:
    """A lock for each key, forgotten when nobody holds or waits for it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: WeakValueDictionary[CacheKey, _Lock] = WeakValueDictionary()

    @contextmanager
    def hold(self, keys: Iterable[CacheKey]) -> Iterator[None]:
        """Hold all of them; taken in one order by everybody, so nobody waits in a circle."""
        held: list[_Lock] = []  # the weak dictionary alone would let them go
        with ExitStack() as stack:
            for key in sorted(set(keys), key=astuple):
                with self._guard:
                    own = self._locks.get(key)
                    if own is None:
                        own = self._locks[key] = _Lock()
                held.append(own)
                stack.enter_context(own.lock)
            yield
