"""Mean squared displacement and the diffusion coefficient.

MSD over all time origins by Fourier transforms: Calandrini et al., Collection SFN 12, 201
(2011), DOI 10.1051/sfn/201112010. D = slope / 6 (Einstein), its error from independent segments
of the run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.engines.analysis.spectra import summed_power
from nanoos.engines.analysis.trajectory import Trajectory, uniform_step_fs

FloatArray = npt.NDArray[np.float64]

CM2_S_PER_A2_FS: Final = 0.1
"""1 Å^2/fs in cm^2/s."""

FIT_RANGE: Final = (0.1, 0.5)
"""Lags used in the fit, as shares of the longest: before, the motion is ballistic; behind, too
few time origins are left."""

N_SEGMENTS: Final = 5
MIN_FRAMES: Final = 40
_DIFFUSIVE: Final = (0.8, 1.2)
_BEYOND_VIBRATION: Final = 0.1
"""MSD over the squared spacing of atoms: solids melt (Lindemann) before they vibrate so far."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeanSquaredDisplacement:
    """MSD against lag, centre of mass at rest.

    Attributes:
        lags_fs: (n_lags,), from 0, fs.
        msd_a2: Element, and ``"total"``, to (n_lags,), Å^2.
    """

    lags_fs: FloatArray
    msd_a2: Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diffusion:
    """A diffusion coefficient.

    Attributes:
        coefficient_cm2_s: cm^2/s.
        error_cm2_s: Standard error from segments of the run, cm^2/s.
        exponent: Slope of log MSD against log lag in the fitted range; 1 for diffusion, near
            0 in a solid whose atoms stay.
        fit_fs: The range of lags fitted, fs.
        diffusive: Whether the exponent is near 1, the MSD reaches beyond vibration and the
            coefficient is twice its error.
    """

    coefficient_cm2_s: float
    error_cm2_s: float
    exponent: float
    fit_fs: tuple[float, float]
    diffusive: bool


def mean_squared_displacement(trajectory: Trajectory) -> MeanSquaredDisplacement:
    """MSD of each element over all time origins, for lags up to half the trajectory.

    Raises:
        InvalidInputError: frames at uneven times.
    """
    step = uniform_step_fs(trajectory)
    positions = trajectory.without_drift()
    n_lags = trajectory.n_frames // 2 + 1
    of_elements = {e: trajectory.of(e) for e in trajectory.elements}
    curves = {e: _msd_of(positions[:, atoms])[:n_lags] for e, atoms in of_elements.items()}
    counts = [len(atoms) for atoms in of_elements.values()]
    total = np.average(list(curves.values()), axis=0, weights=counts)
    return MeanSquaredDisplacement(
        lags_fs=step * np.arange(n_lags, dtype=np.float64), msd_a2={"total": total} | curves
    )


def diffusion_coefficient(trajectory: Trajectory, element: str) -> Diffusion:
    """D of one element by the Einstein relation.

    The MSD of each of five segments is fitted by itself; D is their mean, its error the
    standard error of the five.

    Raises:
        InvalidInputError: code ``too_few_frames``, or frames at uneven times.
    """
    if trajectory.n_frames < MIN_FRAMES:
        raise InvalidInputError(
            f"A diffusion coefficient needs at least {MIN_FRAMES} frames, "
            f"not {trajectory.n_frames}.",
            hint="Write frames more often (dump_interval), or run longer.",
            code="too_few_frames",
        )
    step = uniform_step_fs(trajectory)
    positions = trajectory.without_drift()[:, trajectory.of(element)]
    length = trajectory.n_frames // N_SEGMENTS
    starts = range(0, N_SEGMENTS * length, length)
    curves = [_msd_of(positions[start : start + length]) for start in starts]
    low, high = (max(1, round(share * (length - 1))) for share in FIT_RANGE)
    high = max(high, low + 2)
    lags = step * np.arange(length)[low : high + 1]
    slopes = [float(np.polyfit(lags, curve[low : high + 1], 1)[0]) for curve in curves]
    coefficients = np.array(slopes) / 6 * CM2_S_PER_A2_FS
    mean = np.mean(curves, axis=0)[low : high + 1]
    exponent = float(np.polyfit(np.log(lags), np.log(np.maximum(mean, 1e-12)), 1)[0])
    spacing = float(np.mean(np.abs(np.linalg.det(trajectory.cells))) / trajectory.n_atoms) ** (
        1 / 3
    )
    moved = mean[-1] > _BEYOND_VIBRATION * spacing**2
    value = float(coefficients.mean())
    error = float(coefficients.std(ddof=1) / np.sqrt(N_SEGMENTS))
    return Diffusion(
        coefficient_cm2_s=value,
        error_cm2_s=error,
        exponent=exponent,
        fit_fs=(float(lags[0]), float(lags[-1])),
        diffusive=bool(moved and _DIFFUSIVE[0] <= exponent <= _DIFFUSIVE[1] and value > 2 * error),
    )


def _msd_of(positions: FloatArray) -> FloatArray:
    """MSD (n_frames,), the mean of all atoms, of positions (n_frames, n_atoms, 3) for every lag."""
    n, n_atoms, _ = positions.shape
    flat = (positions - positions.mean(axis=0)).reshape(n, -1)
    squares = np.concatenate([[0.0], np.cumsum(np.einsum("ij,ij->i", flat, flat))])
    ends = squares[n] - squares[:n] + squares[n:0:-1]
    product = np.fft.irfft(summed_power(flat), n=2 * n)[:n]
    return np.asarray(np.maximum((ends - 2 * product) / (n_atoms * np.arange(n, 0, -1)), 0.0))
