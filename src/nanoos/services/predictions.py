"""Predictions: computed once for each structure, model and weights, then answered from the row."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from nanoos.core.errors import InvalidInputError, NanoosError, NotFoundError
from nanoos.core.records import Prediction
from nanoos.db import Database, PredictionTable
from nanoos.services.access import Principal
from nanoos.services.fresh_cache import ChangeWatch, FreshCache
from nanoos.services.model_registry import ModelRegistryService
from nanoos.services.prediction_models import ActiveModels, ChosenModel, KnownModel, known_models
from nanoos.services.prediction_records import (
    BatchError,
    BatchRecord,
    PredictionRecord,
    prediction_record,
    stored_columns,
)
from nanoos.services.prediction_store import KeyedLocks, PredictionStore
from nanoos.services.structure_records import StructureRecord
from nanoos.services.structures import StructureService

if TYPE_CHECKING:
    from nanoos.models.explain import Explanation
    from nanoos.models.sampled_uncertainty import SampledPrediction, UncertaintyMethod

MAX_BATCH = 100
MAX_HISTORY = 1000

_MemoryKey = tuple[uuid.UUID, bool, uuid.UUID, str]


class PredictionService:
    """Everything that happens to predictions.

    Thread-safe. A prediction is immutable, so it is kept in memory for the short time in which a
    deletion may take effect. Models run outside of transactions; of several threads that want
    the same missing prediction one computes it.

    Args:
        database: Where the predictions are.
        structures: Says who may see which structure.
        registry: Trained models; without it only those of the code answer.
    """

    def __init__(
        self,
        database: Database,
        structures: StructureService,
        registry: ModelRegistryService | None = None,
    ) -> None:
        self._db = database
        self._structures = structures
        self._watch = ChangeWatch(database)
        self._fresh: FreshCache[_MemoryKey, PredictionRecord] = FreshCache(watch=self._watch)
        self._computing = KeyedLocks()
        self._store = PredictionStore(database)
        self.active = ActiveModels(database, registry, self._watch)

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
        model = self.active.choose(model_name)
        if force_recompute:
            record = self._compute(structure, model, again=True)
            self._fresh.clear()
            return record
        key = model.key(structure_id)
        found = self._store.find(key)
        if found is None:
            with self._computing.hold([key]):
                found = self._store.find(key)
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

        What is missing is predicted together and stored in one transaction.

        Raises:
            InvalidInputError: none or more than 100 structures.
            NotFoundError: no such model.
            UnavailableError: the model cannot run here.
        """
        if not 1 <= len(structure_ids) <= MAX_BATCH:
            raise InvalidInputError(
                f"A batch of {len(structure_ids)} structures.", hint=f"Give 1 to {MAX_BATCH}."
            )
        self._watch.look()
        model = self.active.choose(model_name)  # one that cannot run is one error, not a hundred
        answers: dict[uuid.UUID, PredictionRecord | NanoosError] = {}
        visible: list[StructureRecord] = []
        for structure_id in dict.fromkeys(structure_ids):
            try:
                visible.append(self._structures.get(structure_id, who))
            except NanoosError as error:
                answers[structure_id] = error
        if force_recompute:
            answers |= self._compute_many(visible, model, again=True)
            self._fresh.clear()
        else:
            answers |= self._found_or_computed(visible, model)
        return _batch_record(structure_ids, answers)

    def _found_or_computed(
        self, structures: Sequence[StructureRecord], model: ChosenModel
    ) -> dict[uuid.UUID, PredictionRecord | NanoosError]:
        keys = [model.key(structure.id) for structure in structures]
        answers: dict[uuid.UUID, PredictionRecord | NanoosError] = {}
        answers |= self._store.find_many(keys)
        missing = [key for key in keys if key.structure_id not in answers]
        if not missing:
            return answers
        with self._computing.hold(missing):
            answers |= self._store.find_many(missing)  # others may have computed it meanwhile
            wanted = [structure for structure in structures if structure.id not in answers]
            return answers | self._compute_many(wanted, model, again=False)

    def explain(
        self, structure_id: uuid.UUID, who: Principal, *, model_name: str | None = None
    ) -> "dict[str, Explanation]":
        """What each atom and element contributes to each property that can be explained.

        Raises:
            NotFoundError: no such structure or model.
            UnavailableError: the model cannot run here.
            InvalidInputError: nothing that the model predicts can be explained.
        """
        from nanoos.models.explain import explain

        structure = self._structures.get(structure_id, who)
        return explain(self.active.choose(model_name).model, structure.structure)

    def sample(
        self,
        structure_id: uuid.UUID,
        who: Principal,
        *,
        model_name: str,
        method: "UncertaintyMethod | None",
        n_samples: int,
    ) -> "tuple[ChosenModel, dict[str, SampledPrediction]]":
        """Predict with the spread of many passes or members; nothing is stored.

        Raises:
            NotFoundError: no such structure or model.
            UnavailableError: the model cannot run here.
            InvalidInputError: not a graph network, or ``method`` cannot be asked of it.
        """
        from nanoos.models.sampled_uncertainty import predict_with_uncertainty

        structure = self._structures.get(structure_id, who)
        chosen = self.active.choose(model_name)
        sampled = predict_with_uncertainty(
            chosen.model, structure.structure, method=method, n_samples=n_samples
        )
        return chosen, sampled

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
        found = self._store.find(self.active.choose(model_name).key(structure_id))
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
        """Believe nothing that was read before: structures were deleted, weights activated."""
        self._fresh.clear()
        self.active.forget()

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
        return known_models(self.active.catalog(), self._db)

    # -- storing --------------------------------------------------------------------------

    def _compute(
        self, structure: StructureRecord, model: ChosenModel, *, again: bool
    ) -> PredictionRecord:
        """Run the model and store what it said."""
        (prediction,) = model.run([structure])
        columns = stored_columns(prediction, structure, model.weights)
        return self._store.add(model.key(structure.id), columns, again=again)

    def _compute_many(
        self, structures: Sequence[StructureRecord], model: ChosenModel, *, again: bool
    ) -> dict[uuid.UUID, PredictionRecord | NanoosError]:
        answers: dict[uuid.UUID, PredictionRecord | NanoosError] = {}
        rows = []
        for structure, said in zip(structures, model.run_each(structures), strict=True):
            if isinstance(said, Prediction):
                columns = stored_columns(said, structure, model.weights)
                rows.append((model.key(structure.id), columns))
            else:
                answers[structure.id] = said
        stored = self._store.add_many(rows, again=again)
        for (key, _), answer in zip(rows, stored, strict=True):
            answers[key.structure_id] = answer
        return answers


def _batch_record(
    structure_ids: Sequence[uuid.UUID],
    answers: Mapping[uuid.UUID, PredictionRecord | NanoosError],
) -> BatchRecord:
    """In the order asked for; a structure named twice was computed once."""
    predictions: list[PredictionRecord] = []
    errors = []
    seen: set[uuid.UUID] = set()
    for structure_id in structure_ids:
        answer = answers[structure_id]
        if isinstance(answer, PredictionRecord):
            again = structure_id in seen
            predictions.append(replace(answer, cached=True) if again else answer)
        else:
            errors.append(
                BatchError(
                    structure_id=structure_id, code=answer.error_code, message=answer.message
                )
            )
        seen.add(structure_id)
    n_cached = sum(prediction.cached for prediction in predictions)
    return BatchRecord(
        predictions=predictions,
        total=len(structure_ids),
        cached=n_cached,
        new=len(predictions) - n_cached,
        errors=errors,
    )


def _memory_key(who: Principal, structure_id: uuid.UUID, name: str) -> _MemoryKey:
    return who.user_id, who.is_admin, structure_id, name


def _predict_key(who: Principal, structure_id: uuid.UUID, model_name: str | None) -> _MemoryKey:
    return _memory_key(who, structure_id, f"predict {(model_name or '').casefold()}")


def _latest_key(who: Principal, structure_id: uuid.UUID, model_name: str | None) -> _MemoryKey:
    return _memory_key(who, structure_id, f"latest {(model_name or '').casefold()}")
