"""The models that the prediction service may ask: those of the code, those of the registry table."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import select

from nanoos.core.errors import NotFoundError, UnavailableError
from nanoos.core.records import Prediction
from nanoos.db import Database, ModelTable
from nanoos.structures import Structure

_PREFERRED: Final = ("CHGNet", "SevenNet")
"""Best first, by the measured errors of docs/benchmarks.md."""


class PredictingModel(Protocol):
    """What the prediction service needs of a model."""

    @property
    def name(self) -> str:
        """Registered spelling."""
        ...

    @property
    def version(self) -> str:
        """Its version."""
        ...

    @property
    def weights_sha256(self) -> str | None:
        """Hash over all weights used."""
        ...

    def predict(self, structures: Sequence[Structure]) -> Sequence[Prediction]:
        """One prediction for each structure, in order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheKey:
    """What a stored prediction is a prediction of; with a generation it is unique."""

    structure_id: uuid.UUID
    model_name: str
    model_version: str
    weights_sha256: str
    """Empty where the model has no weights."""

    @classmethod
    def of(cls, structure_id: uuid.UUID, model: PredictingModel) -> "CacheKey":
        """The key of what ``model`` says of a structure."""
        return cls(
            structure_id=structure_id,
            model_name=model.name,
            model_version=model.version,
            weights_sha256=model.weights_sha256 or "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A model of this installation.

    Attributes:
        id: Of its row in the registry table; None for a model that comes with the code.
        name: What ``model_name`` takes.
        version: Its version.
        available: Whether it can run here.
        description: For people.
        supported_properties: What it predicts.
        metrics: Measured test error and calibration of each property; empty where none is known.
        not_for_decisions: True for reference members such as STUB.
        is_active: Whether the family's name resolves to it.
    """

    id: uuid.UUID | None
    name: str
    version: str
    available: bool
    description: str
    supported_properties: tuple[str, ...]
    metrics: Mapping[str, Any]
    not_for_decisions: bool
    is_active: bool


def canonical_model_name(name: str) -> str:
    """The registered spelling.

    Raises:
        NotFoundError: no such model; the hint gives the nearest name.
    """
    from nanoos.models import MODEL_REGISTRY

    return MODEL_REGISTRY.canonical_name(name)


def default_model_name() -> str:
    """The best model that can run here; never a reference member.

    Raises:
        UnavailableError: there is none.
    """
    from nanoos.models import list_models

    able = [info.name for info in list_models() if info.available]
    for name in _PREFERRED:
        if name in able:
            return name
    raise UnavailableError(
        "No property model can run here.", hint="pip install 'nanoos[ml]'", code="no_model"
    )


def loaded_model(name: str) -> PredictingModel:
    """The model, loaded on first use.

    Raises:
        NotFoundError: no such model.
        UnavailableError: it cannot run here.
    """
    from nanoos.models import get_model

    return get_model(name)


def known_models(database: Database) -> list[KnownModel]:
    """Members of the code first, then rows of the registry table, newest first."""
    from nanoos.models import list_models

    members = [
        KnownModel(
            id=None,
            name=info.name,
            version=info.version,
            available=info.available,
            description=info.description,
            supported_properties=tuple(info.supported_properties),
            metrics={},
            not_for_decisions=False,
            is_active=True,
        )
        for info in list_models()
    ]
    query = select(ModelTable).order_by(ModelTable.created_at.desc(), ModelTable.id)
    with database.read() as session:
        return members + [_registered(row) for row in session.scalars(query)]


def registered_model(database: Database, row_id: uuid.UUID) -> KnownModel:
    """One row of the registry table. Raises NotFoundError where it is not there."""
    with database.read() as session:
        row = session.get(ModelTable, row_id)
        if row is None:
            raise NotFoundError(
                f"There is no model {row_id}.", hint="'nanoos models list' shows what is there."
            )
        return _registered(row)


def _registered(row: ModelTable) -> KnownModel:
    return KnownModel(
        id=row.id,
        name=row.name,
        version=row.version,
        available=row.checkpoint_path is not None,
        description=row.description or "",
        supported_properties=(row.target,),
        metrics=dict(row.metrics),
        not_for_decisions=False,
        is_active=row.is_active,
    )
