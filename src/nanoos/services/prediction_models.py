"""Which model answers, and under which key its predictions are stored."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import numpy as np
import structlog
from sqlalchemy import select

from nanoos.core.errors import NanoosError, NotFoundError, UnavailableError
from nanoos.core.records import Prediction
from nanoos.db import ArtifactStore, Database, ModelTable
from nanoos.services.fresh_cache import ChangeWatch, FreshCache
from nanoos.services.model_registry import ModelRegistryService, TrainedModel
from nanoos.services.prediction_store import CacheKey
from nanoos.services.structure_records import StructureRecord

if TYPE_CHECKING:
    from nanoos.models import ModelInfo, PropertyModel
    from nanoos.models.catalog import ModelCatalog
    from nanoos.models.checkpoint_model import CheckpointModel, TargetWeights

FAMILIES: Final = ("ALIGNN", "CGCNN", "ENSEMBLE", "RandomForest")
"""Types of trained models that the registry has rows of."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class ChosenModel:
    """A model, or the best model for each property together, ready to predict.

    Attributes:
        model: What predicts.
        info: What it is.
    """

    model: "PropertyModel"
    info: "ModelInfo"

    def key(self, structure_id: UUID) -> CacheKey:
        """The key of what it says of a structure."""
        return CacheKey(
            structure_id=structure_id,
            model_name=self.info.name,
            model_version=self.info.version,
            weights_sha256=self.info.weights_sha256 or "",
        )

    def weights(self, property_name: str) -> dict[str, Any]:
        """Name, version and hash of the weights behind a property."""
        from nanoos.models.catalog import weights_name

        return asdict(weights_name(self.info, property_name))

    def run(self, records: Sequence[StructureRecord]) -> list[Prediction]:
        """Predict; raises as the model does."""
        return self.model.predict(
            [record.structure for record in records], ids=[str(record.id) for record in records]
        )

    def run_each(self, records: Sequence[StructureRecord]) -> list[Prediction | NanoosError]:
        """A prediction or a refusal for each; one that fails never fails the rest."""
        from nanoos.models.predicting import predict_each

        structures = [record.structure for record in records]
        return predict_each(self.model, structures, ids=[str(record.id) for record in records])


class ActiveModels:
    """The models that answer in this laboratory: the code's, with the weights that are active.

    Thread-safe. Activating other weights takes effect within 2 s in every process.

    Args:
        database: Where the registry's rows are.
        registry: Gives the weights of a row as a file; without it, those of the code answer.
        watch: Of the database.
    """

    def __init__(
        self, database: Database, registry: ModelRegistryService | None, watch: ChangeWatch
    ) -> None:
        self._db = database
        self._registry = registry
        self._catalogs: FreshCache[str, ModelCatalog] = FreshCache(watch=watch)
        self._choices: FreshCache[str, ChosenModel] = FreshCache()
        self._last: tuple[tuple[UUID, ...], ModelCatalog] | None = None

    def forget(self) -> None:
        """Believe nothing that was read before."""
        self._catalogs.clear()
        self._choices.clear()

    def catalog(self) -> "ModelCatalog":
        """The models by name."""
        found = self._catalogs.get("")
        if found is None:
            read_at = self._catalogs.now()
            found = self._read()
            self._catalogs.put("", found, read_at=read_at)
        return found

    def trained(self) -> list[TrainedModel]:
        """The models that were trained here, newest first; not those that come with the code."""
        rows = [] if self._registry is None else self._registry.all()
        return [row for row in rows if not row.is_system_provided]

    def choose(self, name: str | None) -> ChosenModel:
        """The named model, or the best available one for each property.

        A name is that of a model, or of a row of the registry. By default never a reference
        model. Nothing heavy is loaded before it predicts.

        Raises:
            NotFoundError: no such model; the hint gives the nearest name.
            UnavailableError: it cannot run here, or no model can.
        """
        catalog = self.catalog()
        key = f"{id(catalog)} {(name or '').casefold()}"
        found = self._choices.get(key)
        if found is None:
            read_at = self._choices.now()
            model = catalog.best() if name is None else self._named(catalog, name)
            found = ChosenModel(model=model, info=model.info())
            self._choices.put(key, found, read_at=read_at)
        return found

    def warm_up(self) -> None:
        """Load what answers by default, by predicting MgO: then no request waits for that.

        Where no model can run, that is said when somebody asks.
        """
        from nanoos.structures import Structure

        magnesia = Structure(
            lattice=2.105 * (1.0 - np.eye(3)),
            species=("Mg", "O"),
            frac_coords=np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]),
        )
        try:
            self.choose(None).model.predict([magnesia])
        except NanoosError as error:
            log.info("no model was loaded", reason=error.message)

    def model(self, name: str) -> "PropertyModel":
        """As :meth:`choose`, the model itself."""
        return self.choose(name).model

    def _named(self, catalog: "ModelCatalog", name: str) -> "PropertyModel":
        from nanoos.models import MODEL_REGISTRY

        if self._registry is None or name in MODEL_REGISTRY:
            return catalog.usable(name)
        try:
            row = self._registry.find(name)
        except NotFoundError:
            return catalog.usable(name)  # names the nearest
        return self.of_row(row)

    def of_row(self, row: TrainedModel) -> "CheckpointModel":
        """The model of one row of the registry.

        Raises:
            UnavailableError: its weights are gone, or nothing here can read them.
        """
        weights = None if self._registry is None else _weights(self._registry, row)
        if weights is None or row.model_type not in FAMILIES:
            raise UnavailableError(
                f"The weights of {row.name} {row.version} cannot be used here.",
                hint="Train it again: nanoos train CONFIG.yaml",
                code="model_unavailable",
            )
        return _family(row.model_type, {row.target: weights}, name=row.name)

    def _read(self) -> "ModelCatalog":
        from nanoos.models.catalog import ModelCatalog
        from nanoos.models.registry import CATALOG

        if self._registry is None:
            return CATALOG
        rows = [row for row in self._registry.all() if row.is_active]
        ids = tuple(row.id for row in rows)
        if self._last is not None and self._last[0] == ids:
            return self._last[1]
        targets: dict[str, dict[str, TargetWeights]] = {}
        for row in sorted(rows, key=lambda row: row.target):
            weights = _weights(self._registry, row) if row.model_type in FAMILIES else None
            if weights is not None:
                targets.setdefault(row.model_type, {})[row.target] = weights
        catalog = ModelCatalog({name: _family(name, found) for name, found in targets.items()})
        self._last = ids, catalog
        self._choices.clear()
        return catalog


def stored_models(database_url: str, artifacts_url: str, data_dir: Path) -> ActiveModels:
    """The models of a laboratory, without its other services.

    Args:
        database_url: Of its database.
        artifacts_url: Of its artifact store.
        data_dir: Its data folder.
    """
    database = Database(database_url)
    registry = ModelRegistryService(database, ArtifactStore(artifacts_url), data_dir / "trained")
    return ActiveModels(database, registry, ChangeWatch(database))


def _weights(registry: ModelRegistryService, row: TrainedModel) -> "TargetWeights | None":
    """The weights of a row, None where they are gone: the other properties still have theirs."""
    from nanoos.models.checkpoint_model import TargetWeights

    try:
        path = registry.checkpoint_file(row)
    except (NanoosError, OSError) as error:
        log.warning("weights are gone", model=row.name, version=row.version, error=str(error))
        return None
    return TargetWeights(path=path, name=row.name, version=row.version)


def _family(
    model_type: str, targets: "Mapping[str, TargetWeights]", *, name: str | None = None
) -> "CheckpointModel":
    from nanoos.models.forest_model import TrainedForestModel
    from nanoos.models.graph_network import ALIGNNModel, CGCNNModel, JoinedNetworksModel

    classes = {
        "ALIGNN": ALIGNNModel,
        "CGCNN": CGCNNModel,
        "ENSEMBLE": JoinedNetworksModel,
        "RandomForest": TrainedForestModel,
    }
    made: CheckpointModel = classes[model_type](targets=targets, name=name)
    return made


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
        metrics: Property to ``test_error`` (a list), ``calibration`` and
            ``sigma_rank_correlation``, as far as measured; of a row of the registry, the figures
            of its card.
        weights_sha256: Hash over all weights used.
        notes: Sentences to read beside its numbers.
        license: Of the weights.
        seen_in_training: What of public data the weights have seen; None where nothing.
        unavailable_reason: Why not available.
        install_command: What makes it available.
        not_for_decisions: True for reference members such as STUB.
        is_active: Whether its family's name resolves to it.
    """

    id: UUID | None
    name: str
    version: str
    available: bool
    description: str
    supported_properties: tuple[str, ...]
    metrics: Mapping[str, Any]
    weights_sha256: str | None = None
    notes: tuple[str, ...] = ()
    license: str | None = None
    seen_in_training: str | None = None
    unavailable_reason: str | None = None
    install_command: str | None = None
    not_for_decisions: bool = False
    is_active: bool = True


def known_models(catalog: "ModelCatalog", database: Database) -> list[KnownModel]:
    """Members of the code by name, then rows of the registry table, newest first."""
    query = select(ModelTable).order_by(ModelTable.created_at.desc(), ModelTable.id)
    with database.read() as session:
        rows = [_registered(row) for row in session.scalars(query)]
    return [_member(info) for info in catalog.infos()] + rows


def _member(info: "ModelInfo") -> KnownModel:
    metrics: dict[str, dict[str, Any]] = {}
    for name, errors in info.test_error.items():
        if errors:
            metrics.setdefault(name, {})["test_error"] = [asdict(error) for error in errors]
    for name, coverage in info.calibration.items():
        metrics.setdefault(name, {})["calibration"] = {
            f"{level:g}": observed for level, observed in coverage.items()
        }
    for name, rank in info.sigma_rank_correlation.items():
        metrics.setdefault(name, {})["sigma_rank_correlation"] = rank
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
        seen_in_training=info.seen_in_training,
        unavailable_reason=info.unavailable_reason,
        install_command=info.install_command,
        not_for_decisions=info.not_for_decisions,
    )


def _registered(row: ModelTable) -> KnownModel:
    able = row.model_type in FAMILIES and row.checkpoint_path is not None
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
