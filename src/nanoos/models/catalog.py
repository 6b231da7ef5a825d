"""Which model answers: the one that is named, or for each property the best that can run here."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.core.properties import ordered
from nanoos.core.records import Prediction, Provenance
from nanoos.models.base import ModelInfo, PropertyModel, WeightsName
from nanoos.models.checkpoints import ENSEMBLE
from nanoos.models.likely_metals import without_index_of_metals

if TYPE_CHECKING:
    from nanoos.structures import Structure

_OURS: Final = ("ALIGNN", "CGCNN", ENSEMBLE)
"""Measured on the same held-out compositions, so their errors may be compared."""

PREFERRED: Final = ("CHGNet", "M3GNET", "SevenNet", "MEGNet", "CGCNN-2018")
"""Order of the others, best first. CHGNet leads because its energies carry the corrections that
make oxides and +U compounds comparable; a model not named here comes after those that are."""

_LAST: Final = ("RandomForest",)
_SAME_ERROR: Final = {"stability_score": "e_above_hull_subset"}
_MAX_VERSION: Final = 50


class ModelCatalog:
    """The members of the registry, some of them with other weights. Thread-safe, immutable.

    Args:
        replaced: Name of a member to what answers in its place: the same family with the
            weights that are active in a laboratory.
    """

    def __init__(self, replaced: Mapping[str, PropertyModel] | None = None) -> None:
        self._replaced = dict(replaced or {})

    def get(self, name: str) -> PropertyModel:
        """The model called ``name``, in any case.

        Raises:
            NotFoundError: no such model; the hint gives the nearest name.
            UnavailableError: a package it needs is not installed.
        """
        from nanoos.models.registry import MODEL_REGISTRY, get_model

        key = MODEL_REGISTRY.canonical_name(name)
        if key == ENSEMBLE and self._replaced:
            from nanoos.models.ensemble import EnsembleModel
            from nanoos.models.graph_network import JoinedNetworksModel

            joined = self._replaced.get(ENSEMBLE)
            return EnsembleModel(
                self, joined=joined if isinstance(joined, JoinedNetworksModel) else None
            )
        return self._replaced.get(key) or get_model(key)

    def usable(self, name: str) -> PropertyModel:
        """As :meth:`get`, for a model that can predict here.

        Raises:
            NotFoundError: no such model.
            UnavailableError: it cannot predict here; the hint has the command for it.
        """
        model = self.get(name)
        info = model.info()
        if not info.available:
            raise UnavailableError(
                f"{info.name} is not available: {info.unavailable_reason}.",
                hint=info.install_command,
                code="model_unavailable",
            )
        return model

    def infos(self, *, without: Collection[str] = ()) -> list[ModelInfo]:
        """What there is, sorted by name; one that cannot be loaded says why."""
        from nanoos.models.registry import MODEL_REGISTRY, info_of

        return [
            self.get(name).info()
            if name in self._replaced or (name == ENSEMBLE and self._replaced)
            else info_of(name)
            for name in MODEL_REGISTRY.names()
            if name not in without
        ]

    def defaults(self) -> dict[str, str]:
        """Property to the best available model for it; reference members never appear.

        A model with calibrated intervals comes before one without. Of our own networks the one
        with the smaller measured error leads; the others follow in a fixed order, because errors
        that their authors measured on different crystals cannot be compared. What ENSEMBLE pools
        from models that were not calibrated together is never a default.
        """
        usable = [info for info in self.infos() if info.available and not info.not_for_decisions]
        able: dict[str, list[ModelInfo]] = {}
        for info in usable:
            for name in info.supported_properties:
                if info.name != ENSEMBLE or name in info.weights:
                    able.setdefault(name, []).append(info)
        return {
            name: min(infos, key=lambda info: _rank(info, name)).name
            for name, infos in ordered(able).items()
        }

    def choose(self, properties: Collection[str] | None = None) -> dict[str, str]:
        """As :meth:`defaults`, for ``properties`` alone.

        Raises:
            UnavailableError: no model can predict here; code ``no_model``.
            InvalidInputError: none predicts one of ``properties``; code ``unknown_property``.
        """
        able = self.defaults()
        if not able:
            raise UnavailableError(
                "No property model can run here.", hint="pip install 'nanoos[ml]'", code="no_model"
            )
        missing = sorted(set(properties or ()) - able.keys())
        if missing:
            raise InvalidInputError(
                f"No model here predicts {', '.join(missing)}.",
                hint=f"There are: {', '.join(able)}.",
                code="unknown_property",
            )
        return {name: able[name] for name in (able if properties is None else properties)}

    def predict(
        self,
        structures: "Sequence[Structure]",
        *,
        model_name: str | None = None,
        properties: Collection[str] | None = None,
        ids: Sequence[str] | None = None,
    ) -> list[Prediction]:
        """One prediction for each structure, in order.

        Args:
            structures: As they are; nothing is relaxed.
            model_name: In any case; None for the best available model of each property.
            properties: Only these, where no model is named: no other model runs.
            ids: Ids of the structures where they have any.

        Raises:
            NotFoundError: no such model.
            UnavailableError: it cannot predict here, or no model can.
            InvalidInputError: a structure cannot be predicted.
        """
        if model_name is not None:
            return self.usable(model_name).predict(structures, ids=ids)
        return self.best(properties).predict(structures, ids=ids)

    def best(self, properties: Collection[str] | None = None) -> "BestModels | PropertyModel":
        """The best available model of each property, as one model.

        Raises:
            UnavailableError: no model can predict here.
            InvalidInputError: none predicts one of ``properties``.
        """
        chosen = self.choose(properties)
        models = {name: self.get(name) for name in sorted(set(chosen.values()))}
        if len(models) == 1:
            return next(iter(models.values()))
        return BestModels(models, chosen)


class BestModels:
    """Several models together, each giving the properties it was chosen for.

    Args:
        models: Name to model.
        chosen: Property to the name of the model that gives it.
    """

    def __init__(self, models: Mapping[str, PropertyModel], chosen: Mapping[str, str]) -> None:
        self.chosen = dict(chosen)
        self.models = {
            name: narrowed_to(model, [p for p, given_by in chosen.items() if given_by == name])
            for name, model in models.items()
        }

    def info(self) -> ModelInfo:
        """What they are together; the figures of a property are those of its own model."""
        infos = {name: model.info() for name, model in self.models.items()}
        mine = {name: infos[model] for name, model in self.chosen.items()}
        version = "+".join(info.version for info in infos.values())
        if len(version) > _MAX_VERSION:
            version = hashlib.sha256(version.encode()).hexdigest()[:16]
        weights = " ".join(f"{name} {info.weights_sha256 or ''}" for name, info in infos.items())
        return ModelInfo(
            name="+".join(infos),
            version=version,
            available=all(info.available for info in infos.values()),
            description="The best available model of each property.",
            supported_properties=tuple(self.chosen),
            weights_sha256=hashlib.sha256(weights.encode()).hexdigest(),
            test_error={n: i.test_error[n] for n, i in mine.items() if n in i.test_error},
            calibration={n: i.calibration[n] for n, i in mine.items() if n in i.calibration},
            weights={name: weights_name(info, name) for name, info in mine.items()},
            level_of_theory={
                n: i.level_of_theory[n] for n, i in mine.items() if n in i.level_of_theory
            },
            notes=tuple(dict.fromkeys(note for info in infos.values() for note in info.notes)),
        )

    def predict(
        self, structures: "Sequence[Structure]", *, ids: Sequence[str] | None = None
    ) -> list[Prediction]:
        """One prediction for each structure, in order. Raises as the models do."""
        info = self.info()
        parts = {name: model.predict(structures, ids=ids) for name, model in self.models.items()}
        provenance = Provenance(
            producer=info.name,
            version=info.version,
            weights_sha256=info.weights_sha256,
            parameters={"models": self.chosen},
            software={
                package: version
                for part in parts.values()
                for one in part[:1]
                for package, version in one.provenance.software.items()
            },
        )
        return [
            _merged({name: part[row] for name, part in parts.items()}, self.chosen, provenance)
            for row in range(len(structures))
        ]


def weights_name(info: ModelInfo, property_name: str) -> WeightsName:
    """Which weights give a property of a model."""
    return info.weights.get(
        property_name,
        WeightsName(name=info.name, version=info.version, sha256=info.weights_sha256),
    )


def narrowed_to(model: PropertyModel, properties: Collection[str]) -> PropertyModel:
    """Only the weights that ``properties`` need, where a model can leave some out."""
    from nanoos.models.checkpoint_model import CheckpointModel
    from nanoos.models.ensemble import EnsembleModel

    if isinstance(model, CheckpointModel | EnsembleModel):
        return model.narrowed(properties)
    return model


def _merged(
    parts: Mapping[str, Prediction], chosen: Mapping[str, str], provenance: Provenance
) -> Prediction:
    properties, of_metals = without_index_of_metals(
        {name: parts[model].properties[name] for name, model in chosen.items()}
    )
    notes = dict.fromkeys(note for part in parts.values() for note in part.notes)
    return Prediction(
        properties=properties,
        provenance=provenance,
        notes=tuple(notes | dict.fromkeys(of_metals)),
    )


def _rank(info: ModelInfo, name: str) -> tuple[bool, int, float, int, str]:
    """Smaller is better."""
    ours = info.name in _OURS
    errors = info.test_error.get(name) or info.test_error.get(_SAME_ERROR.get(name, ""), ())
    honest = [error.mae for error in errors if not error.seen_in_training]
    order = PREFERRED.index(info.name) if info.name in PREFERRED else len(PREFERRED)
    return (
        name not in info.calibration,
        0 if ours else 2 if info.name in _LAST else 1,
        min(honest, default=float("inf")) if ours else 0.0,
        order,
        info.name,
    )
