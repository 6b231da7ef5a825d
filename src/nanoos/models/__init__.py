"""Models that predict properties of structures."""

from nanoos.models.base import ModelInfo, PropertyModel, TestError, WeightsName
from nanoos.models.catalog import ModelCatalog
from nanoos.models.comparison import (
    Comparison,
    compare_batch,
    compare_ml_vs_simulation,
    evaluate_prediction_quality,
)
from nanoos.models.explain import Explanation, explain
from nanoos.models.graph_network import ALIGNNModel, CGCNNModel
from nanoos.models.mean import MeanModel
from nanoos.models.registry import (
    MODEL_REGISTRY,
    default_models,
    get_model,
    list_models,
    predict_properties_for_structure,
    register_model,
)
from nanoos.models.sampled_uncertainty import SampledPrediction, predict_with_uncertainty

__all__ = [
    "MODEL_REGISTRY",
    "ALIGNNModel",
    "CGCNNModel",
    "Comparison",
    "Explanation",
    "MeanModel",
    "ModelCatalog",
    "ModelInfo",
    "PropertyModel",
    "SampledPrediction",
    "TestError",
    "WeightsName",
    "compare_batch",
    "compare_ml_vs_simulation",
    "default_models",
    "evaluate_prediction_quality",
    "explain",
    "get_model",
    "list_models",
    "predict_properties_for_structure",
    "predict_with_uncertainty",
    "register_model",
]
