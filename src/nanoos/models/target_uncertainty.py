"""The uncertainty of one target of a model: sigma, intervals and confidence, fitted and applied.

Fitted on held-out rows in two halves by formula: the selection half shapes sigma, the calibration
half shapes intervals and confidence, so that the intervals keep the guarantee of split conformal
prediction. Where rows are few, both halves do both: each row is scored by a sigma that had not
seen its formula (cross-conformal prediction, Vovk 2015, DOI 10.1007/s10472-013-9368-4). Its
guarantee at level 1 - a is weaker, about 1 - 2 a; what is observed lies close to 1 - a as long as
sigma hardly changes when a tenth of the rows is left out, which is why it is a stiff regression.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

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

    def joined(self, other: "HeldOut") -> "HeldOut":
        """These rows and those of ``other``."""
        return HeldOut(
            columns={
                name: np.concatenate([column, other.columns[name]])
                for name, column in self.columns.items()
            },
            values=np.concatenate([self.values, other.values]),
            truths=np.concatenate([self.truths, other.truths]),
            formulas=[*self.formulas, *other.formulas],
        )

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
        n_rows: Rows calibrated on; None where it was not noted.
        method: ``split``, or ``cross`` where sigma was learnt from the same rows in turns.
    """

    sigma: SigmaModel
    calibrator: ConformalCalibrator | ZeroInflatedCalibrator
    confidence: ConfidenceModel
    n_rows: int | None = None
    method: Literal["split", "cross"] = "split"

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
        return cls._calibrated(
            name,
            sigma,
            sigma.predict(calibration.columns),
            calibration,
            zero_inflated=zero_inflated,
            bounds=(lower, upper),
            method="split",
        )

    @classmethod
    def fit_crossed(
        cls, name: str, rows: HeldOut, *, lower: float | None = None, upper: float | None = None
    ) -> Self:
        """Fit to few held-out rows: all shape sigma in turns, and all calibrate.

        Args:
            name: Property; decides the good band.
            rows: Rows that neither trained nor chose the networks' weights.
            lower: Physical bound.
            upper: Physical bound.

        Raises:
            InvalidInputError: too few rows.
        """
        sigma, sigmas = SigmaModel.crossed(
            rows.columns, rows.truths - rows.values, groups=rows.formulas
        )
        return cls._calibrated(
            name,
            sigma,
            sigmas,
            rows,
            zero_inflated=False,
            bounds=(lower, upper),
            method="cross",
        )

    @classmethod
    def _calibrated(
        cls,
        name: str,
        sigma: SigmaModel,
        sigmas: FloatArray,
        rows: HeldOut,
        *,
        zero_inflated: bool,
        bounds: tuple[float | None, float | None],
        method: Literal["split", "cross"],
    ) -> Self:
        calibrator: ConformalCalibrator | ZeroInflatedCalibrator
        if zero_inflated:
            calibrator = ZeroInflatedCalibrator.fit(
                rows.values, sigmas, rows.truths, rows.columns[ZERO_CHANCE]
            )
        else:
            calibrator = ConformalCalibrator.fit(
                rows.values,
                sigmas,
                rows.truths,
                sigma_bins=SIGMA_BINS,
                lower_bound=bounds[0],
                upper_bound=bounds[1],
            )
        confidence = ConfidenceModel.fit(
            rows.values, sigmas, rows.truths, band=GOOD_BANDS.get(name)
        )
        return cls(
            sigma=sigma,
            calibrator=calibrator,
            confidence=confidence,
            n_rows=len(rows.values),
            method=method,
        )

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
            "n_rows": self.n_rows,
            "method": self.method,
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
            n_rows=data.get("n_rows"),
            method=data.get("method", "split"),
        )
