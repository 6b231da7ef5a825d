"""Predictions: computed once for each structure, model and weights, then answered from the row."""

import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from nanoos.core.errors import ConflictError, InvalidInputError, NanoosError, NotFoundError
from nanoos.db import Database, PredictionTable, StructureTable
from nanoos.services.access import Principal
from nanoos.services.fresh_cache import ChangeWatch, FreshCache
from nanoos.services.prediction_models import (
    CacheKey,
    ChosenModel,
    KnownModel,
    choose_model,
    known_models,
    registered_model,
)
from nanoos.services.prediction_records import (
    BatchError,
    BatchRecord,
    PredictionRecord,
    prediction_record,
    stored_columns,
)
from nanoos.services.structure_records import StructureRecord
from nanoos.services.structure_rows import insert_ignoring
from nanoos.services.structures import StructureService

MAX_BATCH = 100
MAX_HISTORY = 1000
_MAX_GENERATIONS_AT_ONCE = 100

_MemoryKey = tuple[uuid.UUID, bool, uuid.UUID, str]


class PredictionService:
    """Everything that happens to predictions.

    Thread-safe. A prediction is immutable, so it is kept in memory for the short time in which a
    deletion may take effect. Models run outside of transactions; of several threads that want
    the same missing prediction one computes it.

    Args:
        database: Where the predictions are.
        structures: Says who may see which structure.
    """

    def __init__(self, database: Database, structures: StructureService) -> None:
        self._db = database
        self._structures = structures
        self._watch = ChangeWatch(database)
        self._fresh: FreshCache[_MemoryKey, PredictionRecord] = FreshCache(watch=self._watch)
        self._computing = _KeyedLocks()

    # -- predicting -----------------------------------------------------------------------

    def predict(
        self,
        structure_id: uuid.UUID,
        who: Principal,
        *,
        model_name: str | None = None,
        force_recompute: bool = False,
    ) -> PredictionRecord:
        """What a model says of a stored structure; computed now where it is not stored.

        Args:
            structure_id: Must be visible to ``who``.
            who: Who asks.
            model_name: In any case; by default the best available model, never a reference one.
            force_recompute: Compute again and store that as the next generation.

        Raises:
            NotFoundError: no such structure or model.
            UnavailableError: the model cannot run here.
            InvalidInputError: the model does not cover the structure.
        """
        memory_key = _predict_key(who, structure_id, model_name)
        if not force_recompute:
            self._watch.look()
            remembered = self._fresh.get(memory_key)
            if remembered is not None:
                return remembered
        read_at = self._fresh.now()
        structure = self._structures.get(structure_id, who)
        model = choose_model(model_name)
        if force_recompute:
            record = self._compute(structure, model, again=True)
            self._fresh.clear()
            return record
        key = model.key(structure_id)
        found = self._stored(key)
        if found is None:
            with self._computing.hold(key):
                found = self._stored(key)
                if found is None:
                    return self._compute(structure, model, again=False)
        self._fresh.put(memory_key, found, read_at=read_at)
        return found

    def batch(
        self,
        structure_ids: Sequence[uuid.UUID],
        who: Principal,
        *,
        model_name: str | None = None,
        force_recompute: bool = False,
    ) -> BatchRecord:
        """Predictions for up to 100 structures; one that fails never fails the rest.

        Raises:
            InvalidInputError: none or more than 100 structures.
            NotFoundError: no such model.
            UnavailableError: the model cannot run here.
        """
        if not 1 <= len(structure_ids) <= MAX_BATCH:
            raise InvalidInputError(
                f"A batch of {len(structure_ids)} structures.", hint=f"Give 1 to {MAX_BATCH}."
            )
        choose_model(model_name)  # a model that cannot run is one error, not a hundred
        predictions: list[PredictionRecord] = []
        errors: list[BatchError] = []
        for structure_id in structure_ids:
            try:
                predictions.append(
                    self.predict(
                        structure_id, who, model_name=model_name, force_recompute=force_recompute
                    )
                )
            except NanoosError as error:
                errors.append(
                    BatchError(
                        structure_id=structure_id, code=error.error_code, message=error.message
                    )
                )
        n_cached = sum(prediction.cached for prediction in predictions)
        return BatchRecord(
            predictions=predictions,
            total=len(structure_ids),
            cached=n_cached,
            new=len(predictions) - n_cached,
            errors=errors,
        )

    def remembered(
        self, structure_id: uuid.UUID, who: Principal, *, model_name: str | None = None
    ) -> PredictionRecord | None:
        """What :meth:`predict` would give from memory; None where it must look; never blocks."""
        return self._fresh.get(_predict_key(who, structure_id, model_name))

    def stored(
        self, structure_id: uuid.UUID, who: Principal, *, model_name: str | None = None
    ) -> PredictionRecord | None:
        """What :meth:`predict` would give without running a model; None where it must run.

        Raises:
            NotFoundError: no such structure or model.
            UnavailableError: the model cannot run here.
        """
        memory_key = _predict_key(who, structure_id, model_name)
        self._watch.look()
        remembered = self._fresh.get(memory_key)
        if remembered is not None:
            return remembered
        read_at = self._fresh.now()
        self._structures.require_visible(structure_id, who)
        found = self._stored(choose_model(model_name).key(structure_id))
        if found is not None:
            self._fresh.put(memory_key, found, read_at=read_at)
        return found

    # -- reading --------------------------------------------------------------------------

    def remembered_latest(
        self, structure_id: uuid.UUID, who: Principal, model_name: str | None = None
    ) -> PredictionRecord | None:
        """What :meth:`latest` would give from memory; None where it must look; never blocks."""
        return self._fresh.get(_latest_key(who, structure_id, model_name))

    def look_for_changes(self) -> None:
        """Ask whether the database was written to, if anything is remembered.

        Called now and then ahead of requests, it keeps what is remembered young.

        Raises:
            TransientError: the database cannot be reached.
        """
        if self._fresh:
            self._watch.look()

    def forget(self) -> None:
        """Believe nothing that was read before: structures were deleted."""
        self._fresh.clear()

    def latest(
        self, structure_id: uuid.UUID, who: Principal, model_name: str | None = None
    ) -> PredictionRecord:
        """The newest stored prediction of a structure, of one model or of any.

        Raises:
            NotFoundError: no such structure, or nothing was predicted for it.
        """
        memory_key = _latest_key(who, structure_id, model_name)
        self._watch.look()
        remembered = self._fresh.get(memory_key)
        if remembered is not None:
            return remembered
        read_at = self._fresh.now()
        rows = self._rows(structure_id, who, model_name, limit=1)
        if not rows:
            of = f" by {model_name}" if model_name else ""
            raise NotFoundError(
                f"There is no prediction{of} for structure {structure_id}.",
                hint="Ask for one: POST /api/v1/ml/properties, or 'nanoos predict'.",
            )
        self._fresh.put(memory_key, rows[0], read_at=read_at)
        return rows[0]

    def history(self, structure_id: uuid.UUID, who: Principal) -> list[PredictionRecord]:
        """All predictions of a structure, newest first, at most 1000.

        Raises:
            NotFoundError: no such structure.
        """
        return self._rows(structure_id, who, None, limit=MAX_HISTORY)

    def _rows(
        self, structure_id: uuid.UUID, who: Principal, model_name: str | None, *, limit: int
    ) -> list[PredictionRecord]:
        self._structures.require_visible(structure_id, who)
        query = select(PredictionTable).where(PredictionTable.structure_id == structure_id)
        if model_name is not None:
            query = query.where(func.lower(PredictionTable.model_name) == model_name.lower())
        newest = query.order_by(
            PredictionTable.created_at.desc(),
            PredictionTable.generation.desc(),
            PredictionTable.id,
        )
        with self._db.read() as session:
            return [
                prediction_record(row, cached=True) for row in session.scalars(newest.limit(limit))
            ]

    def delete(self, prediction_id: uuid.UUID, who: Principal) -> None:
        """Delete one prediction.

        Raises:
            ForbiddenError: ``who`` is no administrator.
            NotFoundError: it is not there.
        """
        who.require("admin")
        with self._db.write() as session:
            gone = session.scalar(
                delete(PredictionTable)
                .where(PredictionTable.id == prediction_id)
                .returning(PredictionTable.id)
            )
        self._fresh.clear()
        if gone is None:
            raise NotFoundError(f"There is no prediction {prediction_id}.")

    # -- models ---------------------------------------------------------------------------

    def models(self) -> list[KnownModel]:
        """Every model of this installation: those of the code and those of the registry table."""
        return known_models(self._db)

    def model(self, row_id: uuid.UUID) -> KnownModel:
        """One row of the registry table. Raises NotFoundError where it is not there."""
        return registered_model(self._db, row_id)

    # -- storing --------------------------------------------------------------------------

    def _stored(self, key: CacheKey) -> PredictionRecord | None:
        """The row of the highest generation."""
        query = (
            select(PredictionTable)
            .where(*_same_key(key))
            .order_by(PredictionTable.generation.desc())
            .limit(1)
        )
        with self._db.read() as session:
            row = session.scalar(query)
            return None if row is None else prediction_record(row, cached=True)

    def _compute(
        self, structure: StructureRecord, model: ChosenModel, *, again: bool
    ) -> PredictionRecord:
        """Run the model and store what it said.

        With ``again`` it becomes the next generation; without, the row of a client that was
        faster is given instead.
        """
        columns = stored_columns(model.run(structure), structure, model.weights)
        key = model.key(structure.id)
        with self._db.write() as session:
            _require_structure(session, key.structure_id)
            for _ in range(_MAX_GENERATIONS_AT_ONCE if again else 1):
                row_id = _insert(session, key, columns, again=again)
                if row_id is not None:
                    row = session.get_one(PredictionTable, row_id)
                    return prediction_record(row, cached=False)
        stored = None if again else self._stored(key)
        if stored is None:
            raise ConflictError(
                "Others recompute or delete the same prediction now.", hint="Ask again."
            )
        return stored


def _memory_key(who: Principal, structure_id: uuid.UUID, name: str) -> _MemoryKey:
    return who.user_id, who.is_admin, structure_id, name


def _predict_key(who: Principal, structure_id: uuid.UUID, model_name: str | None) -> _MemoryKey:
    return _memory_key(who, structure_id, f"predict {(model_name or '').casefold()}")


def _latest_key(who: Principal, structure_id: uuid.UUID, model_name: str | None) -> _MemoryKey:
    return _memory_key(who, structure_id, f"latest {(model_name or '').casefold()}")


def _same_key(key: CacheKey) -> tuple[ColumnElement[bool], ...]:
    return (
        PredictionTable.structure_id == key.structure_id,
        PredictionTable.model_name == key.model_name,
        PredictionTable.model_version == key.model_version,
        PredictionTable.weights_sha256 == key.weights_sha256,
    )


def _require_structure(session: Session, structure_id: uuid.UUID) -> None:
    """Hold the structure until the prediction is stored; it may be deleted at any moment."""
    found = session.scalar(
        select(StructureTable.id)
        .where(StructureTable.id == structure_id)
        .with_for_update(read=True, key_share=True)
    )
    if found is None:
        raise NotFoundError(f"There is no structure {structure_id}.")


def _insert(
    session: Session, key: CacheKey, columns: Mapping[str, Any], *, again: bool
) -> uuid.UUID | None:
    """The id of the new row; None where the generation is taken by now."""
    generation = 0
    if again:
        highest = session.scalar(
            select(func.max(PredictionTable.generation)).where(*_same_key(key))
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
    return row_id if insert_ignoring(session, PredictionTable, [row]) else None


class _Lock:
    """A lock that a weak dictionary can hold."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class _KeyedLocks:
    """A lock for each key, forgotten when nobody holds or waits for it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: WeakValueDictionary[CacheKey, _Lock] = WeakValueDictionary()

    @contextmanager
    def hold(self, key: CacheKey) -> Iterator[None]:
        with self._guard:
            own = self._locks.get(key)
            if own is None:
                own = self._locks[key] = _Lock()
        with own.lock:
            yield
