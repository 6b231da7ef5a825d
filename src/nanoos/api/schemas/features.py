"""Features of structures."""

import uuid
from typing import Annotated

from pydantic import AwareDatetime, Field

from nanoos.api.schemas.common import Answer, Body, ErrorRecord
from nanoos.features.graph import MAX_CUTOFF_A, MAX_NEIGHBORS

CutoffRadius = Annotated[float, Field(gt=0, le=MAX_CUTOFF_A)]
"""Å; CGCNN wants 8."""
Neighbors = Annotated[int, Field(ge=1, le=MAX_NEIGHBORS)]
"""The nearest so many neighbours of each atom."""


class FeatureParametersAnswer(Answer):
    """What features were made with."""

    cutoff_radius: float
    """Å."""
    max_neighbors: int | None
    """Null: all within the cutoff."""


class FeatureParametersBody(Body):
    """What features are made with."""

    cutoff_radius: CutoffRadius = 5.0
    max_neighbors: Neighbors | None = None
    """Null: all within the cutoff."""


class FeatureBody(FeatureParametersBody):
    """Which features."""

    force_recompute: bool = False


class FeatureBatchBody(FeatureBody):
    """Which features of which structures."""

    structure_ids: Annotated[list[uuid.UUID], Field(min_length=1, max_length=100)]


class FeatureJobBody(FeatureBody):
    """Which features a job computes."""

    structure_ids: Annotated[list[uuid.UUID], Field(min_length=1, max_length=10_000)] | None = None
    """Null: of all structures that one may see."""
    priority: int = Field(default=0, ge=-100, le=100)
    """Larger is sooner."""


class ScalarsAnswer(Answer):
    """Composition and packing of a crystal."""

    element_fractions: dict[str, float]
    mean_mass_u: float
    mean_electronegativity: float | None
    """Pauling; null where an element has none."""
    mean_radius_a: float | None
    """Covalent, Å."""
    volume_per_atom_a3: float
    density_g_cm3: float
    packing_fraction: float | None
    """Spheres of the covalent radii over the cell; overlaps count twice."""


class FeatureAnswer(Answer):
    """Features of a structure; the arrays are downloaded as npz."""

    id: uuid.UUID
    structure_id: uuid.UUID
    feature_version: str
    params_hash: str
    parameters: FeatureParametersAnswer
    n_atoms: int
    n_bonds: int
    """Directed: each pair of neighbours counts from either end."""
    scalars: ScalarsAnswer
    graph_bytes: int
    """Size of the stored arrays."""
    cached: bool
    created_at: AwareDatetime


class FeatureList(Answer):
    """All stored features of a structure, newest first."""

    structure_id: uuid.UUID
    features: list[FeatureAnswer]
    count: int


class FeatureBatchError(ErrorRecord):
    """Why there are no features of a structure."""

    structure_id: uuid.UUID


class FeatureBatchAnswer(Answer):
    """Features of many structures; one bad structure never fails the rest."""

    features: list[FeatureAnswer]
    total: int
    cached: int
    new: int
    errors: list[FeatureBatchError] | None
