"""Models that predict properties of structures."""

from nanoos.models.base import ModelInfo, PropertyModel, TestError
from nanoos.models.comparison import (
    Comparison,
    compare_batch,
    compare_ml_vs_simulation,
    evaluate_prediction_quality,
)
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
    "Comparison",
    "MeanModel",
    "ModelInfo",
    "PropertyModel",
    "TestError",
    "compare_batch",
    "compare_ml_vs_simulation",
    "default_models",
    "evaluate_prediction_quality",
    "get_model",
    "list_models",
    "predict_properties_for_structure",
    "register_model",
]
