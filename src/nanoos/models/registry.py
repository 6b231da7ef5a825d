"""The models there are."""

from collections.abc import Callable
from functools import cache

from nanoos.core.errors import UnavailableError
from nanoos.core.records import Prediction
from nanoos.core.registry import Registry
from nanoos.models.base import ModelInfo, PropertyModel
from nanoos.models.catalog import ModelCatalog
from nanoos.structures import Structure

MODEL_REGISTRY: Registry[Callable[[], PropertyModel]] = Registry(
    "nanoos.models",
    {
        "ALIGNN": "nanoos.models.graph_network:ALIGNNModel",
        "CGCNN": "nanoos.models.graph_network:CGCNNModel",
        "CGCNN-2018": "nanoos.models.published_cgcnn:PublishedCGCNN",
        "CHGNet": "nanoos.models.formation_energy:CHGNetFormationEnergy",
        "ENSEMBLE": "nanoos.models.ensemble:EnsembleModel",
        "M3GNET": "nanoos.models.m3gnet:M3GNetFormationEnergy",
        "MEAN": "nanoos.models.mean:MeanModel",
        "MEGNet": "nanoos.models.megnet:MEGNetModel",
        "MEGNet-GLLB": "nanoos.models.megnet:megnet_gllb",
        "MEGNet-HSE": "nanoos.models.megnet:megnet_hse",
        "MEGNet-SCAN": "nanoos.models.megnet:megnet_scan",
        "RandomForest": "nanoos.models.forest_model:TrainedForestModel",
        "STUB": "nanoos.models.stub:StubModel",
        "SevenNet": "nanoos.models.formation_energy:SevenNetFormationEnergy",
    },
    extra="ml",
)
"""Name to a class, or anything that gives a model when called without arguments."""


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
    return CATALOG.infos()


def info_of(name: str) -> ModelInfo:
    """What a member of the registry is, also where it cannot be loaded."""
    try:
        return get_model(name).info()
    except UnavailableError as error:
        return ModelInfo(
            name=name,
            version="",
            available=False,
            description="",
            supported_properties=(),
            unavailable_reason=error.message,
            install_command=error.hint,
        )


def default_models() -> dict[str, str]:
    """Property to the best available model for it; reference members never appear."""
    return CATALOG.defaults()


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
    return CATALOG.predict([structure], model_name=model_name, ids=ids)[0]


CATALOG = ModelCatalog()
"""The registry's members as they come."""
