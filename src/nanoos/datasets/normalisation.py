"""Targets on a scale that a network learns well, fitted on the training part alone."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.datasets.packed_structures import FloatArray

_SMALLEST_STD = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetNormaliser:
    """``(y - mean) / std``, of log10 y where ``log10`` is set.

    Attributes:
        mean: Of the training part, in the unit of the target (or log10 of it).
        std: Population standard deviation of the same, > 0.
        log10: Whether numbers are taken as logarithms first; they must all be above 0.
    """

    mean: float
    std: float
    log10: bool = False

    @classmethod
    def fit(cls, values: npt.ArrayLike, *, log10: bool = False) -> "TargetNormaliser":
        """Mean and spread of the training part.

        Args:
            values: (n,) numbers of the training part only; NaN is left out.
            log10: Whether to learn logarithms.

        Raises:
            InvalidInputError: there is no number, or a logarithm does not exist.
        """
        known = np.asarray(values, dtype=np.float64)
        known = known[np.isfinite(known)]
        if not known.size:
            raise InvalidInputError("There is no number to normalise by.")
        if log10:
            known = _log10(known)
        std = float(known.std())
        return cls(mean=float(known.mean()), std=std if std > _SMALLEST_STD else 1.0, log10=log10)

    def transform(self, values: npt.ArrayLike) -> FloatArray:
        """Target to network; NaN stays NaN. Raises InvalidInputError as :meth:`fit`."""
        numbers = np.asarray(values, dtype=np.float64)
        return (_log10(numbers) - self.mean if self.log10 else numbers - self.mean) / self.std

    def inverse(self, values: npt.ArrayLike) -> FloatArray:
        """Network to target: the inverse of :meth:`transform`."""
        scaled = np.asarray(values, dtype=np.float64) * self.std + self.mean
        return np.asarray(10.0**scaled if self.log10 else scaled)

    def inverse_sigma(self, sigmas: npt.ArrayLike, values: npt.ArrayLike) -> FloatArray:
        """Standard deviations of the network in the unit of the target, to first order.

        Args:
            sigmas: Standard deviations on the network's scale.
            values: The network's means, same shape, same scale.
        """
        scaled = np.asarray(sigmas, dtype=np.float64) * self.std
        return np.asarray(scaled * np.log(10.0) * self.inverse(values) if self.log10 else scaled)

    def as_dict(self) -> dict[str, Any]:
        """JSON types; ``TargetNormaliser(**document)`` gives it back."""
        return asdict(self)


def _log10(numbers: FloatArray) -> FloatArray:
    if (numbers <= 0).any():
        raise InvalidInputError(
            "A number of the target is 0 or less: it has no logarithm.",
            hint="Turn log10 off for this target.",
        )
    return np.asarray(np.log10(numbers))
