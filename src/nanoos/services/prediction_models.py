"""Which model answers, and under which key its predictions are stored."""

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from nanoos.core.errors import NotFoundError, UnavailableError
from nanoos.core.records import Prediction
from nanoos.db import Database, ModelTable
from nanoos.services.structure_records import StructureRecord

if TYPE_CHECKING:
    from nanoos.models import ModelInfo

_MAX_VERSION_LENGTH = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheKey:
    """What a stored prediction is a prediction of; with a generation it is unique."""

    structure_id: uuid.UUID
    model_name: str
    model_version: str
    weights_sha256: str
    """Hash over all weights used; empty where the model has none."""


@dataclass(frozen=True, kw_only=True)
class ChosenModel:
    """A model, or the best model for each property together, ready to predict.

    Attributes:
        name: Registered spelling; names joined by ``+`` where several answer together.
        version: Its version.
        weights_sha256: Hash over all weights used; empty where there are none.
        sources: Property to the info of the model that gives it.
        run: Predicts one structure, given its id.
    """

    name: str
    version: str
    weights_sha256: str
    sources: Mapping[str, "ModelInfo"]
    run: Callable[[StructureRecord], Prediction]

    def key(self, structure_id: uuid.UUID) -> CacheKey:
        """The key of what it says of a structure."""
        return CacheKey(
            structure_id=structure_id,
            model_name=self.name,
            model_version=self.version,
            weights_sha256=self.weights_sha256,
        )

    def weights(self, property_name: str) -> dict[str, Any]:
        """Name, version and hash of the weights behind a property."""
        info = self.sources[property_name]
        return {"name": info.name, "version": info.version, "sha256": info.weights_sha256}


def choose_model(name: str | None) -> ChosenModel:
    """The named model, or the best available one for each property; never a reference by default.

    Nothing heavy is loaded before it predicts.

    Raises:
        NotFoundError: no such model; the hint gives the nearest name.
        UnavailableError: it cannot run here, or no model can.
    """
    from nanoos.models import default_models, get_model

    if name is not None:
        return _single(get_model(name).info())
    best = default_models()
    if not best:
        raise UnavailableError(
            "No property model can run here.", hint="pip install 'nanoos[ml]'", code="no_model"
        )
    infos = {model: get_model(model).info() for model in sorted(set(best.values()))}
    if len(infos) == 1:
        return _single(next(iter(infos.values())))
    return _together({name: infos[model] for name, model in best.items()}, list(infos.values()))


def _single(info: "ModelInfo") -> ChosenModel:
    if not info.available:
        raise UnavailableError(
            f"{info.name} is not available: {info.unavailable_reason}.",
            hint=info.install_command,
            code="model_unavailable",
        )
    return ChosenModel(
        name=info.name,
        version=info.version,
        weights_sha256=info.weights_sha256 or "",
        sources=dict.fromkeys(info.supported_properties, info),
        run=lambda record: _predict(record, info.name),
    )


def _together(sources: Mapping[str, "ModelInfo"], infos: Sequence["ModelInfo"]) -> ChosenModel:
    version = "+".join(info.version for info in infos)
    if len(version) > _MAX_VERSION_LENGTH:
        version = hashlib.sha256(version.encode()).hexdigest()[:16]
    weights = " ".join(f"{info.name} {info.weights_sha256 or ''}" for info in infos)
    return ChosenModel(
        name="+".join(info.name for info in infos),
        version=version,
        weights_sha256=hashlib.sha256(weights.encode()).hexdigest(),
        sources=sources,
        run=lambda record: _predict(record, None),
    )


def _predict(record: StructureRecord, name: str | None) -> Prediction:
    from nanoos.models import predict_properties_for_structure

    return predict_properties_for_structure(record.structure, name, structure_id=str(record.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A model of this installation.

    Attributes:
        id: Of its row in the registry table; None for a model that comes with the code.
        name: What ``model_name`` takes.
        version: Of the weights and the way they are used.
        available: Whether it can predict here and now.
        description: For people.
        supported_properties: What it predicts.
        metrics: Property to ``test_error`` (a list) and ``calibration``, as far as measured.
        weights_sha256: Hash over all weights used.
        notes: Sentences to read beside its numbers.
        license: Of the weights.
        unavailable_reason: Why not available.
        install_command: What makes it available.
        not_for_decisions: True for reference members such as STUB.
        is_active: Whether its family's name resolves to it.
    """

    id: uuid.UUID | None
    name: str
    version: str
    available: bool
    description: str
    supported_properties: tuple[str, ...]
    metrics: Mapping[str, Any]
    weights_sha256: str | None = None
    notes: tuple[str, ...] = ()
    license: str | None = None
    unavailable_reason: str | None = None
    install_command: str | None = None
    not_for_decisions: bool = False
    is_active: bool = True


def known_models(database: Database) -> list[KnownModel]:
    """Members of the code by name, then rows of the registry table, newest first."""
    from nanoos.models import list_models

    query = select(ModelTable).order_by(ModelTable.created_at.desc(), ModelTable.id)
    with database.read() as session:
        rows = [_registered(row) for row in session.scalars(query)]
    return [_member(info) for info in list_models()] + rows


def registered_model(database: Database, row_id: uuid.UUID) -> KnownModel:
    """One row of the registry table. Raises NotFoundError where it is not there."""
    with database.read() as session:
        row = session.get(ModelTable, row_id)
        if row is None:
            raise NotFoundError(
                f"There is no model {row_id}.", hint="GET /api/v1/ml/models lists what is there."
            )
        return _registered(row)


def _member(info: "ModelInfo") -> KnownModel:
    metrics: dict[str, dict[str, Any]] = {}
    for name, errors in info.test_error.items():
        if errors:
            metrics.setdefault(name, {})["test_error"] = [asdict(error) for error in errors]
    for name, coverage in info.calibration.items():
        metrics.setdefault(name, {})["calibration"] = {
            f"{level:g}": observed for level, observed in coverage.items()
        }
    return KnownModel(
        id=None,
        name=info.name,
        version=info.version,
        available=info.available,
        description=info.description,
        supported_properties=tuple(info.supported_properties),
        metrics=metrics,
        weights_sha256=info.weights_sha256,
        notes=tuple(info.notes),
        license=info.license,
        unavailable_reason=info.unavailable_reason,
        install_command=info.install_command,
        not_for_decisions=info.not_for_decisions,
    )


def _registered(row: ModelTable) -> KnownModel:
    from nanoos.models import MODEL_REGISTRY

    able = row.name in MODEL_REGISTRY
    return KnownModel(
        id=row.id,
        name=row.name,
        version=row.version,
        available=able,
        description=row.description or f"A trained {row.model_type} model.",
        supported_properties=(row.target,),
        metrics=dict(row.metrics),
        weights_sha256=row.weights_sha256,
        unavailable_reason=None if able else f"No model of type {row.model_type} is installed.",
        is_active=row.is_active,
    )
