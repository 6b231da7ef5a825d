"""MEAN: the mean of the training values, the least that any model must beat."""

from collections.abc import Sequence

import numpy as np

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.core.records import (
    QUANTILE_LEVELS,
    LevelOfTheory,
    Prediction,
    PropertyValue,
    Provenance,
)
from nanoos.models.base import ModelInfo
from nanoos.structures import Structure

_MIN_VALUES = 2


class MeanModel:
    """Predicts the training mean for everything; the intervals are the training quantiles.

    Unfitted it is listed as not available. Never a default.

    Args:
        property_name: What the values are.
        values: Training values, at least two.
        unit: Their unit.
        level_of_theory: What they mean.
    """

    name = "MEAN"
    version = "1"

    def __init__(
        self,
        property_name: str = "formation_energy",
        values: Sequence[float] = (),
        *,
        unit: str = "eV/atom",
        level_of_theory: LevelOfTheory | None = None,
    ) -> None:
        array = np.asarray(values, dtype=np.float64)
        if array.size and (array.size < _MIN_VALUES or not np.all(np.isfinite(array))):
            raise InvalidInputError("MEAN needs at least two finite training values.")
        self.property_name = property_name
        self._prediction: PropertyValue | None = None
        if array.size:
            mean = float(array.mean())
            self._prediction = PropertyValue(
                value=mean,
                unit=unit,
                sigma=float(array.std(ddof=1)),
                quantiles={level: _central(array, level) for level in QUANTILE_LEVELS},
                level_of_theory=level_of_theory,
            )

    def info(self) -> ModelInfo:
        """What it is."""
        fitted = self._prediction is not None
        return ModelInfo(
            name=self.name,
            version=self.version,
            available=fitted,
            description="The mean of the training values for every structure; a yardstick.",
            supported_properties=(self.property_name,),
            license="MIT",
            unavailable_reason=None if fitted else "not fitted: it needs training values",
            install_command=None if fitted else "MeanModel(property_name, values)",
            not_for_decisions=True,
        )

    def predict(
        self, structures: Sequence[Structure], *, ids: Sequence[str] | None = None
    ) -> list[Prediction]:
        """The same prediction for each structure.

        Raises:
            UnavailableError: not fitted.
        """
        del ids
        if self._prediction is None:
            raise UnavailableError(
                "MEAN has no training values.", hint="MeanModel(property_name, values)"
            )
        prediction = Prediction(
            properties={self.property_name: self._prediction},
            provenance=Provenance(producer=self.name, version=self.version),
            notes=("The mean of the training values, whatever the structure.",),
            not_for_decisions=True,
        )
        return [prediction] * len(structures)


def _central(values: np.typing.NDArray[np.float64], level: float) -> tuple[float, float]:
    """The central interval that holds ``level`` of the values."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
