"""The k-point mesh at which a plane-wave total energy is converged: meshes, models, intervals."""

from nanoos.kpoints.base import (
    DEFAULT_CONFIDENCE,
    KpointModel,
    KpointModelInfo,
    KpointPrediction,
    MeasuredCoverage,
)
from nanoos.kpoints.mesh import (
    KMesh,
    kdist_from_length,
    kdist_of_mesh,
    length_from_kdist,
    mesh_from_kdist,
    mesh_of,
    vacuum_directions,
)
from nanoos.kpoints.registry import DEFAULT_MODEL, KPOINT_MODELS, kpoint_model, kpoint_models

__all__ = [
    "DEFAULT_CONFIDENCE",
    "DEFAULT_MODEL",
    "KPOINT_MODELS",
    "KMesh",
    "KpointModel",
    "KpointModelInfo",
    "KpointPrediction",
    "MeasuredCoverage",
    "kdist_from_length",
    "kdist_of_mesh",
    "kpoint_model",
    "kpoint_models",
    "length_from_kdist",
    "mesh_from_kdist",
    "mesh_of",
    "vacuum_directions",
]
