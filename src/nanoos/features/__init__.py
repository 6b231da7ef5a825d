"""Numbers that describe a structure or a composition to a model."""

from nanoos.features.angles import Dihedrals, LineGraph, dihedrals, line_graph
from nanoos.features.cgcnn_format import CgcnnFormat, features_to_cgcnn_format
from nanoos.features.composition import (
    CandidateDescription,
    DescriptorTable,
    candidate_descriptors,
    composition_statistics,
)
from nanoos.features.encoding import FEATURE_VERSION, decode_graph, encode_graph, graph_to_npz
from nanoos.features.extraction import (
    ExtractedFeatures,
    FeatureParameters,
    extract_structure_features,
    iter_features,
)
from nanoos.features.graph import ATOM_FEATURES, CrystalGraph, crystal_graph
from nanoos.features.packed import PackedGraphs, stream_packed
from nanoos.features.scalars import StructureScalars, structure_scalars

__all__ = [
    "ATOM_FEATURES",
    "FEATURE_VERSION",
    "CandidateDescription",
    "CgcnnFormat",
    "CrystalGraph",
    "DescriptorTable",
    "Dihedrals",
    "ExtractedFeatures",
    "FeatureParameters",
    "LineGraph",
    "PackedGraphs",
    "StructureScalars",
    "candidate_descriptors",
    "composition_statistics",
    "crystal_graph",
    "decode_graph",
    "dihedrals",
    "encode_graph",
    "extract_structure_features",
    "features_to_cgcnn_format",
    "graph_to_npz",
    "iter_features",
    "line_graph",
    "stream_packed",
    "structure_scalars",
]
