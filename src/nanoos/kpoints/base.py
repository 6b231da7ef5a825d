"""What every k-point model gives: a spacing, its interval, the mesh, and how far to trust them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from nanoos.kpoints.mesh import KMesh

if TYPE_CHECKING:
    from nanoos.structures import Structure

DEFAULT_CONFIDENCE: Final = 0.95
CONSERVATIVE: Final = 0.95
"""Level of the interval, at least, of a structure outside the domain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCoverage:
    """How an interval of one level did on held-out compositions.

    Attributes:
        level: Nominal.
        observed: Share of labels within.
        expected: Lowest and highest share that chance explains (95 %, Beta-binomial).
        too_coarse: Share of labels that ask for a finer mesh than that of the lower bound.
        extra_points: Points of the mesh of the lower bound over those of the mesh of the label:
            the geometric mean over the rows.
        n: Rows.
    """

    level: float
    observed: float
    expected: tuple[float, float]
    too_coarse: float
    extra_points: float
    n: int

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "MeasuredCoverage":
        """From JSON types."""
        low, high = data["expected"]
        return cls(**{**data, "expected": (float(low), float(high))})


@dataclass(frozen=True, slots=True, kw_only=True)
class KpointModelInfo:
    """What a k-point model is.

    Attributes:
        name: ``RF``.
        version: Of the weights.
        available: Whether it can predict here.
        description: For people.
        criterion: What its labels call converged.
        label_code: Program and calculation behind the labels.
        weights: Name of the weights: ``kpoints_rf``.
        dataset: Learnt from: name, hash, rows, attribution.
        split: How rows were held out.
        training: How it was made.
        license: Of the weights.
        weights_sha256: Of the file; None where there is none.
        test_error: ``mae_length_a`` and such, on held-out compositions.
        coverage: For each calibrated level.
        notes: Sentences to read beside the numbers.
        untried: True for weights of others that were never run here.
        unavailable_reason: Why it cannot predict.
        install_command: What makes it available.
    """

    name: str
    version: str
    available: bool
    description: str
    criterion: str
    label_code: str
    weights: str = ""
    dataset: Mapping[str, Any] = field(default_factory=dict)
    split: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    license: str | None = None
    weights_sha256: str | None = None
    test_error: Mapping[str, Any] = field(default_factory=dict)
    coverage: tuple[MeasuredCoverage, ...] = ()
    notes: tuple[str, ...] = ()
    untried: bool = False
    unavailable_reason: str | None = None
    install_command: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KpointPrediction:
    """What a model says of one structure. Spacings in Å^-1, with the 2π.

    Attributes:
        model: Name of the model.
        version: Of its weights.
        weights_sha256: Of its file.
        level: Asked for.
        interval_level: Of the interval: ``level``, or 0.95 outside the domain.
        kdist: Median of the predicted spacing at which the energy is converged.
        kdist_lower: Lower bound: the mesh is made from it.
        kdist_upper: Upper bound.
        mesh: Of ``kdist_lower``.
        mesh_median: Of ``kdist``, to see what the confidence costs.
        coverage: Measured of ``interval_level``; None where it was not, as outside the domain.
        out_of_domain: Whether the structure is unlike those learnt from.
        reasons: Why it is, in words.
        criterion: What converged means.
    """

    model: str
    version: str
    weights_sha256: str | None
    level: float
    interval_level: float
    kdist: float
    kdist_lower: float
    kdist_upper: float
    mesh: KMesh
    mesh_median: KMesh
    coverage: MeasuredCoverage | None
    out_of_domain: bool
    reasons: tuple[str, ...]
    criterion: str


class KpointModel(Protocol):
    """A trained k-point model. Thread-safe; predicts the structure as it is given."""

    def info(self) -> KpointModelInfo:
        """What it is."""
        ...

    def predict(
        self, structures: "Sequence[Structure]", *, confidence: float = DEFAULT_CONFIDENCE
    ) -> list[KpointPrediction]:
        """One prediction for each structure, in order.

        Raises:
            InvalidInputError: a level that is not calibrated, or an element it does not know.
            UnavailableError: it cannot predict here.
        """
        ...
