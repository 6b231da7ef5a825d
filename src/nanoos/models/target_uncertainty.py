"""The uncertainty of one target of a model: sigma, intervals and confidence, fitted and applied.

Fitted on held-out rows in two halves by formula: the selection half shapes sigma, the calibration
half shapes intervals and confidence, so that the intervals keep their guarantee.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from nanoos.models.conformal import ConformalCalibrator, FloatArray, Quantiles
from nanoos.models.sigma import ConfidenceModel, SigmaModel
from nanoos.models.zero_inflated import ZeroInflatedCalibrator

GOOD_BANDS: Final[Mapping[str, float]] = {
    "bandgap": 0.3,
    "formation_energy": 0.3,
    "stability_score": 0.1,
}
"""Half width of the "good" band of a property, in its unit; relative 10 % for the others."""

ZERO_CHANCE: Final = "zero_probability"
"""The column that tells zeros from other values, where a target has many zeros."""

SIGMA_BINS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Held-out rows of one target.

    Attributes:
        columns: Name to (n,): what sigma may look at.
        values: (n,), predictions.
        truths: (n,), labels.
        formulas: (n,), reduced formulas.
    """

    columns: Mapping[str, npt.NDArray[Any]]
    values: FloatArray
    truths: FloatArray
    formulas: Sequence[str]

    def select(self, rows: npt.NDArray[Any]) -> "HeldOut":
        """The rows at ``rows`` (a mask or indices)."""
        return HeldOut(
            columns={name: column[rows] for name, column in self.columns.items()},
            values=self.values[rows],
            truths=self.truths[rows],
            formulas=np.asarray(self.formulas)[rows].tolist(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetUncertainty:
    """Sigma, intervals and confidence of one target.

    Attributes:
        sigma: From columns to sigma.
        calibrator: From value and sigma to intervals.
        confidence: From value and sigma to the probability of a good prediction.
    """

    sigma: SigmaModel
    calibrator: ConformalCalibrator | ZeroInflatedCalibrator
    confidence: ConfidenceModel

    @classmethod
    def fit(
        cls,
        name: str,
        selection: HeldOut,
        calibration: HeldOut,
        *,
        zero_inflated: bool = False,
        lower: float | None = None,
        upper: float | None = None,
    ) -> Self:
        """Fit to held-out rows of the target ``name``.

        Args:
            name: Property; decides the good band.
            selection: Rows that shape sigma.
            calibration: Rows that shape intervals and confidence; no formula shared.
            zero_inflated: Many labels are exactly 0 and the column ``zero_probability`` tells
                them: the two kinds are calibrated one by one.
            lower: Physical bound.
            upper: Physical bound.

        Raises:
            InvalidInputError: too few rows.
        """
        sigma = SigmaModel.fit(
            selection.columns, selection.truths - selection.values, groups=selection.formulas
        )
        sigmas = sigma.predict(calibration.columns)
        calibrator: ConformalCalibrator | ZeroInflatedCalibrator
        if zero_inflated:
            calibrator = ZeroInflatedCalibrator.fit(
                calibration.values, sigmas, calibration.truths, calibration.columns[ZERO_CHANCE]
            )
        else:
            calibrator = ConformalCalibrator.fit(
                calibration.values,
                sigmas,
                calibration.truths,
                sigma_bins=SIGMA_BINS,
                lower_bound=lower,
                upper_bound=upper,
            )
        confidence = ConfidenceModel.fit(
            calibration.values, sigmas, calibration.truths, band=GOOD_BANDS.get(name)
        )
        return cls(sigma=sigma, calibrator=calibrator, confidence=confidence)

    def quantiles(
        self,
        values: FloatArray,
        sigmas: FloatArray,
        columns: Mapping[str, npt.NDArray[Any]],
    ) -> Quantiles:
        """Level to (lower, upper), each (n,), for predictions ``values`` with ``sigmas`` (n,)."""
        if isinstance(self.calibrator, ZeroInflatedCalibrator):
            return self.calibrator.quantiles(values, sigmas, columns[ZERO_CHANCE])
        return self.calibrator.quantiles(values, sigmas)

    def to_dict(self) -> dict[str, Any]:
        """JSON types; the arrays are those of :meth:`to_arrays`."""
        return {
            "sigma": self.sigma.to_dict(),
            "calibrator": self.calibrator.to_dict(),
            "confidence": self.confidence.to_dict(),
        }

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays of the sigma model."""
        return self.sigma.to_arrays()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], data: Mapping[str, Any]) -> Self:
        """What :meth:`to_arrays` and :meth:`to_dict` took apart.

        Raises:
            InvalidInputError: of another format.
        """
        kind = data["calibrator"]["kind"]
        reader = ZeroInflatedCalibrator if kind == "zero_inflated" else ConformalCalibrator
        return cls(
            sigma=SigmaModel.from_arrays(arrays, data["sigma"]),
            calibrator=reader.from_dict(data["calibrator"]),
            confidence=ConfidenceModel.from_dict(data["confidence"]),
        )
