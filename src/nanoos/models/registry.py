"""The models there are, and which one answers when none is named."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

from nanoos.core.errors import UnavailableError
from nanoos.core.records import Prediction, PropertyValue, Provenance
from nanoos.core.registry import Registry
from nanoos.models.base import ModelInfo, PropertyModel
from nanoos.structures import Structure

MODEL_REGISTRY: Registry[Callable[[], PropertyModel]] = Registry(
    "nanoos.models",
    {
        "CGCNN-2018": "nanoos.models.published_cgcnn:PublishedCGCNN",
        "CHGNet": "nanoos.models.formation_energy:CHGNetFormationEnergy",
        "M3GNET": "nanoos.models.m3gnet:M3GNetFormationEnergy",
        "MEAN": "nanoos.models.mean:MeanModel",
        "MEGNet": "nanoos.models.megnet:MEGNetModel",
        "MEGNet-GLLB": "nanoos.models.megnet:megnet_gllb",
        "MEGNet-HSE": "nanoos.models.megnet:megnet_hse",
        "MEGNet-SCAN": "nanoos.models.megnet:megnet_scan",
        "RandomForest": "nanoos.models.baseline:RandomForest",
        "STUB": "nanoos.models.stub:StubModel",
        "SevenNet": "nanoos.models.formation_energy:SevenNetFormationEnergy",
    },
    extra="ml",
)
"""Name to a class, or anything that gives a model when called without arguments."""

PREFERRED: Final[Mapping[str, tuple[str, ...]]] = {"formation_energy": ("CHGNet", "SevenNet")}
"""Property to models, best first. CHGNet leads because its energies carry the corrections that
make oxides and +U compounds comparable; a model not named here comes after those that are."""


def register_model(name: str, factory: Callable[[], PropertyModel]) -> None:
    """Add a model at run time; ``factory()`` gives it.

    Raises:
        ConflictError: the name is taken.
    """
    MODEL_REGISTRY.register(name, factory)


def get_model(name: str) -> PropertyModel:
    """The model called ``name``, in any case; one instance in a process.

    Raises:
        NotFoundError: no such model; the hint gives the nearest name.
        UnavailableError: a package it needs is not installed.
    """
    return _instance(MODEL_REGISTRY.get(name))


@cache
def _instance(factory: Callable[[], PropertyModel]) -> PropertyModel:
    return factory()


def list_models() -> list[ModelInfo]:
    """What there is, sorted by name; one that cannot be loaded says why."""
    found = []
    for name in MODEL_REGISTRY.names():
        try:
            found.append(get_model(name).info())
        except UnavailableError as error:
            found.append(
                ModelInfo(
                    name=name,
                    version="",
                    available=False,
                    description="",
                    supported_properties=(),
                    unavailable_reason=error.message,
                    install_command=error.hint,
                )
            )
    return found


def default_models() -> dict[str, str]:
    """Property to the best available model for it; reference members never appear."""
    usable = [info for info in list_models() if info.available and not info.not_for_decisions]
    found: dict[str, str] = {}
    for name in sorted({p for info in usable for p in info.supported_properties}):
        able = [info.name for info in usable if name in info.supported_properties]
        order = PREFERRED.get(name, ())
        found[name] = min(able, key=lambda m: (order.index(m) if m in order else len(order), m))
    return found


def predict_properties_for_structure(
    structure: Structure, model_name: str | None = None, *, structure_id: str | None = None
) -> Prediction:
    """Predict with a named model, or each property with the best available one.

    Args:
        structure: As it is; nothing is relaxed.
        model_name: Name in the registry; None for the best available for each property, never
            STUB or another reference member.
        structure_id: Its id where it has one.

    Raises:
        NotFoundError: no such model.
        UnavailableError: it cannot predict here, or no model can.
        InvalidInputError: the structure cannot be predicted.
    """
    ids = None if structure_id is None else [structure_id]
    if model_name is not None:
        model = get_model(model_name)
        _check_available(model.info())
        return model.predict([structure], ids=ids)[0]
    chosen = default_models()
    if not chosen:
        raise UnavailableError("No model is available.", hint="pip install 'nanoos[ml]'")
    parts = {
        name: get_model(name).predict([structure], ids=ids)[0]
        for name in sorted(set(chosen.values()))
    }
    return _merged(parts, chosen)


def _check_available(info: ModelInfo) -> None:
    if not info.available:
        raise UnavailableError(
            f"{info.name} is not available: {info.unavailable_reason}.", hint=info.install_command
        )


def _merged(parts: Mapping[str, Prediction], chosen: Mapping[str, str]) -> Prediction:
    """One prediction of several models, each giving the properties it was chosen for."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    properties: dict[str, PropertyValue] = {
        name: parts[model].properties[name] for name, model in chosen.items()
    }
    return Prediction(
        properties=properties,
        provenance=Provenance(
            producer="+".join(parts),
            version="+".join(part.provenance.version for part in parts.values()),
            parameters={"models": dict(chosen)},
        ),
        notes=tuple(dict.fromkeys(note for part in parts.values() for note in part.notes)),
    )
