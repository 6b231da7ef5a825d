"""K-point meshes in the API. Spacings are in Å^-1, with the 2π."""

import uuid
from typing import Annotated, Any

from pydantic import Field

from nanoos.api.schemas.common import Answer, Body, ShortText

Confidence = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Divisions = tuple[int, int, int]


class KpointFields(Body):
    """What is asked beside a file."""

    model: Annotated[str, Field(max_length=50)] = "RF"
    """``RF`` or ``ALIGNN``, in any case."""
    confidence: Confidence = 0.95
    """0.85, 0.9 or 0.95."""


class KpointBody(KpointFields):
    """What is asked of a stored structure."""

    structure_id: uuid.UUID


class KpointInputFields(KpointFields):
    """What is asked of an input beside a file."""

    family: ShortText | None = None
    """An installed pseudopotential family; the default one where there is none."""


class KpointInputBody(KpointInputFields):
    """What is asked of an input for a stored structure."""

    structure_id: uuid.UUID


class MeshAnswer(Answer):
    """A regular mesh."""

    divisions: Divisions
    shift: Divisions
    """1 where it is moved by half a step."""
    vacuum: tuple[bool, bool, bool]
    n_points: int
    """Before symmetry joins any."""


class CoverageAnswer(Answer):
    """What was measured of the intervals of one level, on held-out compositions."""

    level: float
    observed: float
    expected: tuple[float, float]
    too_coarse: float
    """Share of labels that ask for a finer mesh than that of the lower bound."""
    extra_points: float
    """Points of that mesh over those of the mesh of the label, geometric mean."""
    n: int


class KpointAnswer(Answer):
    """A predicted mesh."""

    formula: str
    model: str
    version: str
    weights_sha256: str | None
    level: float
    interval_level: float
    """``level``, or 0.95 outside the domain."""
    kdist: float
    kdist_lower: float
    kdist_upper: float
    mesh: MeshAnswer
    mesh_median: MeshAnswer
    coverage: CoverageAnswer | None
    out_of_domain: bool
    reasons: list[str]
    criterion: str


class KpointInputAnswer(Answer):
    """A complete pw.x input."""

    input: str
    filename: str
    family: str
    pseudopotentials: dict[str, str]
    reasons: dict[str, str]
    """Name of a choice to why it was made."""
    prediction: KpointAnswer


class KpointModelAnswer(Answer):
    """A k-point model."""

    name: str
    version: str
    available: bool
    description: str
    criterion: str
    label_code: str
    weights: str
    dataset: dict[str, Any]
    split: dict[str, Any]
    training: dict[str, Any]
    license: str | None
    weights_sha256: str | None
    test_error: dict[str, Any]
    coverage: list[CoverageAnswer]
    notes: list[str]
    untried: bool
    unavailable_reason: str | None
    install_command: str | None


class KpointModelList(Answer):
    """All k-point models, the default first."""

    models: list[KpointModelAnswer]
    count: int
