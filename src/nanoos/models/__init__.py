"""Models that predict properties of structures."""

from nanoos.models.base import ModelInfo, PropertyModel, TestError
from nanoos.models.mean import MeanModel
from nanoos.models.registry import (
    MODEL_REGISTRY,
    default_models,
    get_model,
    list_models,
    predict_properties_for_structure,
    register_model,
)

__all__ = [
    "MODEL_REGISTRY",
    "MeanModel",
    "ModelInfo",
    "PropertyModel",
    "TestError",
    "default_models",
    "get_model",
    "list_models",
    "predict_properties_for_structure",
    "register_model",
]
