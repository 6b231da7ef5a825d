"""Predictions of structures in files: asked for in batches, given in input order."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol

from nanoos.cli.opening import local_user
from nanoos.core.errors import InvalidInputError, NanoosError, UnavailableError
from nanoos.core.records import Prediction, PropertyValue, Provenance

if TYPE_CHECKING:
    from nanoos.services.container import Services
    from nanoos.structures import ReadOutcome

BATCH_STRUCTURES: Final = 16
BATCH_SITES: Final = 1000
"""A batch is closed at either, which bounds the memory whatever is read."""


class Predictor(Protocol):
    """What gives predictions of structures that were read."""

    @property
    def name(self) -> str:
        """Name of the model."""
        ...

    @property
    def version(self) -> str:
        """Its version."""
        ...

    def predict(self, read: "Sequence[ReadOutcome]") -> Sequence[Prediction]:
        """One prediction for each, in order; every outcome has a structure."""
        ...


class ModelPredictor:
    """Asks models in this process: no database, no server.

    Args:
        models: Property to the model that gives it; one model is asked in batches, several
            structure by structure.
    """

    def __init__(self, models: Mapping[str, str]) -> None:
        self._names = sorted(set(models.values()))
        self.name = "+".join(self._names)

    @cached_property
    def version(self) -> str:
        """Versions of the models."""
        from nanoos.models import get_model

        return "+".join(get_model(name).info().version for name in self._names)

    def predict(self, read: "Sequence[ReadOutcome]") -> Sequence[Prediction]:
        """What the models say."""
        from nanoos.models import get_model, predict_properties_for_structure

        structures = [one.structure for one in read if one.structure is not None]
        if len(self._names) == 1:
            return get_model(self._names[0]).predict(structures)
        return [predict_properties_for_structure(structure) for structure in structures]


class SavingPredictor:
    """Stores the structures, and what the model says of them, in the laboratory."""

    def __init__(self, lab: "Services", model: str | None, asked: ModelPredictor) -> None:
        self._lab = lab
        self._model = model
        self.name, self.version = asked.name, asked.version

    def predict(self, read: "Sequence[ReadOutcome]") -> Sequence[Prediction]:
        """What is stored, computed now where it was not."""
        return [self._one(outcome) for outcome in read]

    def _one(self, outcome: "ReadOutcome") -> Prediction:
        if outcome.structure is None:
            raise InvalidInputError(f"{outcome.file} gave no structure.")
        source = {"kind": "file", "file": outcome.file, "index": outcome.index}
        if outcome.source_id is not None:
            source["id"] = outcome.source_id
        structure, _ = self._lab.structures.add(outcome.structure, local_user(), source=source)
        stored = self._lab.predictions.predict(structure.id, local_user(), model_name=self._model)
        return Prediction(
            properties=stored.values,
            provenance=Provenance(producer=stored.model_name, version=stored.model_version),
            notes=tuple(stored.metadata.get("notes", ())),
            not_for_decisions=bool(stored.metadata.get("not_for_decisions")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionLine:
    """What became of one structure.

    Attributes:
        file: As read.
        index: Position in its file.
        source_id: What the file calls it.
        formula: Reduced formula, None where nothing could be read.
        prediction: None where there is an error.
        error: None where there is a prediction.
    """

    file: str
    index: int
    source_id: str | None
    formula: str | None
    prediction: Prediction | None
    error: NanoosError | None


def predict_outcomes(
    outcomes: "Iterable[ReadOutcome]", predictor: Predictor
) -> Iterator[PredictionLine]:
    """A line for each structure read, in order; one that fails never fails the rest."""
    for batch in _batches(outcomes):
        answers = iter(_answers([one for one in batch if one.structure is not None], predictor))
        for outcome in batch:
            answer = outcome.error if outcome.structure is None else next(answers)
            yield PredictionLine(
                file=outcome.file,
                index=outcome.index,
                source_id=outcome.source_id,
                formula=None if outcome.structure is None else outcome.structure.formula,
                prediction=answer if isinstance(answer, Prediction) else None,
                error=answer if isinstance(answer, NanoosError) else None,
            )


def _batches(outcomes: "Iterable[ReadOutcome]") -> "Iterator[list[ReadOutcome]]":
    batch: list[ReadOutcome] = []
    sites = 0
    for outcome in outcomes:
        size = outcome.structure.n_sites if outcome.structure is not None else 0
        if batch and (len(batch) >= BATCH_STRUCTURES or sites + size > BATCH_SITES):
            yield batch
            batch, sites = [], 0
        batch.append(outcome)
        sites += size
    if batch:
        yield batch


def _answers(
    read: "Sequence[ReadOutcome]", predictor: Predictor
) -> Sequence[Prediction | NanoosError]:
    """One prediction or refusal for each; one by one where the batch fails."""
    if len(read) > 1:
        try:
            return list(predictor.predict(read))
        except Exception:  # noqa: BLE001 - whose fault it is shows one by one, below
            return [_answer(outcome, predictor) for outcome in read]
    return [_answer(outcome, predictor) for outcome in read]


def _answer(outcome: "ReadOutcome", predictor: Predictor) -> Prediction | NanoosError:
    try:
        return predictor.predict([outcome])[0]
    except NanoosError as error:
        return error
    except Exception as error:  # noqa: BLE001 - foreign model code; one structure ends no stream
        text = str(error).strip().splitlines()
        return NanoosError(
            f"{predictor.name} failed: {type(error).__name__}: {text[0] if text else ''}",
            code="model_failed",
        )


def chosen_models(model: str | None, wanted: Sequence[str] | None) -> dict[str, str]:
    """Property to the model that gives it: the one named, or the best that is available.

    Raises:
        NotFoundError: no such model; the hint gives the nearest name.
        UnavailableError: it cannot predict here, or no model can.
        InvalidInputError: no model asked predicts one of ``wanted``; names the nearest.
    """
    import difflib

    from nanoos.models import default_models

    able = default_models() if model is None else _supported(model)
    if not able:
        raise UnavailableError("No model is available.", hint="pip install 'nanoos[ml]'")
    for name in wanted or ():
        if name not in able:
            near = difflib.get_close_matches(name, able, n=1)
            meant = f"Did you mean {near[0]!r}? " if near else ""
            raise InvalidInputError(
                f"{model} does not predict {name!r}."
                if model is not None
                else f"No model here predicts {name!r}.",
                hint=f"{meant}There are: {', '.join(able)}.",
            )
    return {name: able[name] for name in (wanted or able)}


def _supported(model: str) -> dict[str, str]:
    """Every property of one model that can predict here."""
    from nanoos.models import get_model

    info = get_model(model).info()
    if not info.available:
        raise UnavailableError(
            f"{info.name} cannot predict here: {info.unavailable_reason}.",
            hint=info.install_command,
        )
    return dict.fromkeys(info.supported_properties, info.name)


def line_document(
    line: PredictionLine, predictor: Predictor, properties: Collection[str], level: float
) -> dict[str, Any]:
    """The line as ``nanoos predict --json`` prints it."""
    prediction, error = line.prediction, line.error
    values = prediction.properties if prediction is not None else {}
    source = prediction.provenance if prediction is not None else None
    document: dict[str, Any] = {
        "file": line.file,
        "index": line.index,
        "id": line.source_id,
        "formula": line.formula,
        "model": source.producer if source is not None else predictor.name,
        "model_version": source.version if source is not None else predictor.version,
        "properties": {
            name: value_document(value, level)
            for name, value in values.items()
            if name in properties
        },
        "error": error and {"code": error.error_code, "message": error.message},
    }
    if prediction is not None and prediction.not_for_decisions:
        document["not_for_decisions"] = True
    return document


def value_document(value: PropertyValue, level: float) -> dict[str, Any]:
    """A predicted number with its interval at ``level``, null where it is not calibrated."""
    lower, upper = value.interval(level) or (None, None)
    return {
        "value": value.value,
        "unit": value.unit,
        "sigma": value.sigma,
        "lower": lower,
        "upper": upper,
        "level": level,
        "confidence": value.confidence,
        "out_of_domain": value.out_of_domain,
    }
