"""Numbers that describe a structure or a composition to a model."""

from nanoos.features.composition import (
    CandidateDescription,
    DescriptorTable,
    candidate_descriptors,
    composition_statistics,
)

__all__ = [
    "CandidateDescription",
    "DescriptorTable",
    "candidate_descriptors",
    "composition_statistics",
]
