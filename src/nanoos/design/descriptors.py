"""From the points of a space to the matrix a surrogate learns from."""

from collections.abc import Sequence

from nanoos.design.spaces.base import SpacePoint
from nanoos.features.composition import (
    CandidateDescription,
    DescriptorTable,
    candidate_descriptors,
)


def describe_points(points: Sequence[SpacePoint]) -> DescriptorTable:
    """Descriptors of the points, in their order; no structure of a prototype is built.

    Returns:
        (n_points, n_columns), see :func:`~nanoos.features.composition.candidate_descriptors`.
    """
    return candidate_descriptors(
        [
            CandidateDescription(
                composition=point.composition,
                prototype=point.prototype,
                volume_per_atom=point.volume_per_atom,
                nearest_neighbor=point.nearest_neighbor,
                coordination=point.coordination,
                bonds=point.bonds,
            )
            for point in points
        ]
    )
