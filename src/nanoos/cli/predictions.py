"""Predictions of structures in files: asked for in batches, given in input order."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol

from nanoos.cli.opening import local_user
from nanoos.core.errors import NanoosError
from nanoos.core.properties import ordered
from nanoos.core.records import Prediction, PropertyValue, Provenance

if TYPE_CHECKING:
    from nanoos.models import Explanation, ModelInfo, PropertyModel
    from nanoos.services.container import Services
    from nanoos.services.prediction_records import PredictionRecord
    from nanoos.structures import ReadOutcome, Structure

BATCH_STRUCTURES: Final = 64
BATCH_SITES: Final = 2000
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

    def predict(self, read: "Sequence[ReadOutcome]") -> Sequence[Prediction | NanoosError]:
        """A prediction or a refusal for each, in order; every outcome has a structure."""
        ...


class ModelPredictor:
    """Asks a model in this process: no server.

    Args:
        model: What predicts.
    """

    def __init__(self, model: "PropertyModel") -> None:
        self.model = model

    @cached_property
    def _info(self) -> "ModelInfo":
        return self.model.info()

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._info.name

    @property
    def version(self) -> str:
        """Its version."""
        return self._info.version

    def predict(self, read: "Sequence[ReadOutcome]") -> Sequence[Prediction | NanoosError]:
        """What the model says; one structure that fails never fails the rest."""
        from nanoos.models.predicting import predict_each

        return predict_each(self.model, _structures(read))


class SavingPredictor:
    """Stores the structures, and what the model says of them, in the laboratory."""

    def __init__(self, lab: "Services", model: str | None, asked: ModelPredictor) -> None:
        self._lab = lab
        self._model = model
        self.name, self.version = asked.name, asked.version

    def predict(self, read: "Sequence[ReadOutcome]") -> Sequence[Prediction | NanoosError]:
        """What is stored, computed now where it was not."""
        found = [self._stored(outcome) for outcome in read]
        ids = list(dict.fromkeys(one for one in found if not isinstance(one, NanoosError)))
        if not ids:
            return [one for one in found if isinstance(one, NanoosError)]
        answer = self._lab.predictions.batch(ids, local_user(), model_name=self._model)
        said: dict[Any, Prediction | NanoosError] = {
            record.structure_id: _from_record(record) for record in answer.predictions
        }
        for error in answer.errors:
            said[error.structure_id] = NanoosError(error.message, code=error.code)
        return [one if isinstance(one, NanoosError) else said[one] for one in found]

    def _stored(self, outcome: "ReadOutcome") -> Any:
        """The id of its structure, or why it cannot be stored."""
        source = {"kind": "file", "file": outcome.file, "index": outcome.index}
        if outcome.source_id is not None:
            source["id"] = outcome.source_id
        try:
            (structure,) = _structures([outcome])
            return self._lab.structures.add(structure, local_user(), source=source)[0].id
        except NanoosError as error:
            return error


def _structures(read: "Sequence[ReadOutcome]") -> "list[Structure]":
    return [outcome.structure for outcome in read if outcome.structure is not None]


def _from_record(stored: "PredictionRecord") -> Prediction:
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
        explanations: Property to what drove it, where that was asked for.
    """

    file: str
    index: int
    source_id: str | None
    formula: str | None
    prediction: Prediction | None
    error: NanoosError | None
    explanations: "Mapping[str, Explanation] | None" = None


def predict_outcomes(
    outcomes: "Iterable[ReadOutcome]",
    predictor: Predictor,
    *,
    explained: "PropertyModel | None" = None,
    properties: Collection[str] | None = None,
) -> Iterator[PredictionLine]:
    """A line for each structure read, in order; one that fails never fails the rest.

    Args:
        outcomes: Read as they are needed.
        predictor: What predicts.
        explained: The model whose predictions are explained; None for no explanations.
        properties: Only these are explained; None for all that can be.
    """
    for batch in _batches(outcomes):
        answers = iter(predictor.predict([one for one in batch if one.structure is not None]))
        for outcome in batch:
            answer = outcome.error if outcome.structure is None else next(answers)
            prediction = answer if isinstance(answer, Prediction) else None
            explanations = None
            if explained is not None and prediction is not None and outcome.structure is not None:
                from nanoos.models import explain

                explanations = explain(explained, outcome.structure, properties)
            yield PredictionLine(
                file=outcome.file,
                index=outcome.index,
                source_id=outcome.source_id,
                formula=None if outcome.structure is None else outcome.structure.formula,
                prediction=prediction,
                error=answer if isinstance(answer, NanoosError) else None,
                explanations=explanations,
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
    if prediction is not None and prediction.notes:
        document["notes"] = list(prediction.notes)
    if line.explanations is not None:
        document["explanations"] = {
            name: asdict(one) for name, one in ordered(line.explanations).items()
        }
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
