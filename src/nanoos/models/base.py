"""What a model is: it predicts properties of a structure and says what its numbers mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

from nanoos.core.properties import in_order, ordered
from nanoos.core.records import LevelOfTheory, Prediction
from nanoos.structures import Structure

_BY_PROPERTY: Final = (
    "test_error",
    "calibration",
    "sigma_rank_correlation",
    "weights",
    "level_of_theory",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestError:
    """A measured error of one property.

    Attributes:
        mae: Mean absolute error, in ``unit``.
        unit: Of the error.
        n: Number of structures, None where the source does not say.
        source: On what it was measured, and by whom.
        seen_in_training: Whether those structures were in the training set, so that the
            figure flatters.
        mae_interval: 95 % interval of ``mae``, None where the source gives none.
    """

    __test__ = False  # not a test class, whatever pytest thinks of the name

    mae: float
    unit: str
    n: int | None
    source: str
    seen_in_training: bool
    mae_interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsName:
    """Which weights give a property.

    Attributes:
        name: Of the weights, ``cgcnn_bandgap_v1``.
        version: Of the weights.
        sha256: Of their file.
    """

    name: str
    version: str
    sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a client is told of a model; made without loading its weights.

    Attributes:
        name: Name in the registry.
        version: Of the weights and the way they are used.
        available: Whether it can predict here and now.
        description: One or two sentences.
        supported_properties: Names of what it predicts, put into the order of
            ``nanoos.core.properties``, and what is said of each likewise.
        weights_sha256: Hash over everything that shapes its numbers; None without weights.
        test_error: Property to its measured errors.
        calibration: Property to observed coverage by nominal level. A property that is here
            has calibrated intervals; its coverage is empty where none was measured.
        sigma_rank_correlation: Property to the Spearman correlation of sigma and absolute
            error on held-out rows.
        weights: Property to the weights that give it, where they differ from the model's own
            name and version.
        level_of_theory: Property to what its numbers mean.
        notes: Sentences to read beside its numbers.
        license: Of the weights.
        seen_in_training: What of public data the weights have seen; None where nothing.
        unavailable_reason: Why not available.
        install_command: What makes it available.
        not_for_decisions: True for reference members.
    """

    name: str
    version: str
    available: bool
    description: str
    supported_properties: tuple[str, ...]
    weights_sha256: str | None = None
    test_error: Mapping[str, tuple[TestError, ...]] = field(default_factory=dict)
    calibration: Mapping[str, Mapping[float, float]] = field(default_factory=dict)
    sigma_rank_correlation: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, WeightsName] = field(default_factory=dict)
    level_of_theory: Mapping[str, LevelOfTheory] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    license: str | None = None
    seen_in_training: str | None = None
    unavailable_reason: str | None = None
    install_command: str | None = None
    not_for_decisions: bool = False

    def __post_init__(self) -> None:
        """Put what is said of the properties into the order in which they are shown."""
        object.__setattr__(self, "supported_properties", in_order(self.supported_properties))
        for name in _BY_PROPERTY:
            object.__setattr__(self, name, ordered(getattr(self, name)))


@runtime_checkable
class PropertyModel(Protocol):
    """Predicts properties of structures as they are given, without relaxing them.

    Instances keep no state between calls besides their weights.
    """

    def info(self) -> ModelInfo:
        """What the model is; cheap, without loading weights."""
        ...

    def predict(
        self, structures: Sequence[Structure], *, ids: Sequence[str] | None = None
    ) -> list[Prediction]:
        """One prediction for each structure, in order.

        Args:
            structures: What to predict.
            ids: Ids of the structures where they have any; only a model that does not look
                at the structure uses them.

        Raises:
            InvalidInputError: a structure cannot be predicted (an element is not covered).
            UnavailableError: weights or a package are missing.
        """
        ...
