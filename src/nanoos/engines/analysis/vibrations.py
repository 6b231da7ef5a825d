"""Vibrational density of states from the velocity autocorrelation.

The spectrum of the mass-weighted velocities is the density of states in the harmonic limit
(Dickey & Paskin, Phys. Rev. 188, 1407 (1969), DOI 10.1103/PhysRev.188.1407).
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

THZ_PER_INVERSE_FS: Final = 1000.0
MIN_FRAMES: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VibrationalDensity:
    """Density of states against frequency, with an integral of one.

    Attributes:
        frequency_thz: (n,), THz, from 0 to the highest that the frames can show.
        density: ``"total"`` and each element's share to (n,), 1/THz; the shares sum to the
            total.
        resolution_thz: Width of a sharp line, THz.
        lags_fs: (m,), of the autocorrelation, fs.
        autocorrelation: (m,), normalised, mass-weighted, over all atoms.
    """

    frequency_thz: FloatArray
    density: Mapping[str, FloatArray]
    resolution_thz: float
    lags_fs: FloatArray
    autocorrelation: FloatArray


def vibrational_density(trajectory: Trajectory, *, lag_share: float = 0.5) -> VibrationalDensity:
    """Fourier transform of the mass-weighted velocity autocorrelation, Hann-windowed.

    Args:
        trajectory: With velocities, at even times; frames must be twice as frequent as the
            highest vibration (every 5 fs shows up to 100 THz).
        lag_share: Longest lag, as a share of the trajectory.

    Raises:
        InvalidInputError: no velocities, too few or uneven frames.
    """
    if trajectory.velocities is None:
        raise InvalidInputError(
            "The trajectory has no velocities.",
            hint="Ask for the analysis 'vdos' when the run is started.",
            code="no_velocities",
        )
    if trajectory.n_frames < MIN_FRAMES:
        raise InvalidInputError(
            f"A spectrum needs at least {MIN_FRAMES} frames, not {trajectory.n_frames}.",
            hint="Run longer.",
            code="too_few_frames",
        )
    from nanoos.structures.elements import ATOMIC_MASSES

    step = uniform_step_fs(trajectory)
    n = trajectory.n_frames
    n_lags = max(2, int(lag_share * n))
    curves: dict[str, FloatArray] = {}
    for element in trajectory.elements:
        chosen = np.take(trajectory.velocities, trajectory.of(element), axis=1)
        power = summed_power(chosen.reshape(n, -1))
        summed = np.fft.irfft(power, n=2 * n)[:n_lags] / np.arange(n, n - n_lags, -1)
        curves[element] = ATOMIC_MASSES[element] * summed
    total = np.sum(list(curves.values()), axis=0)
    if total[0] <= 0:
        raise InvalidInputError("The atoms do not move.", code="no_motion")
    window = 0.5 * (1 + np.cos(np.pi * np.arange(n_lags) / n_lags))
    frequency = np.asarray(np.fft.rfftfreq(2 * n_lags - 1, d=step) * THZ_PER_INVERSE_FS, float)
    shares = {name: _cosine_transform(curve * window) for name, curve in curves.items()}
    whole = np.sum(list(shares.values()), axis=0)
    area = float(np.trapezoid(whole, frequency))
    density = {"total": whole / area} | {name: share / area for name, share in shares.items()}
    return VibrationalDensity(
        frequency_thz=frequency,
        density=density,
        resolution_thz=THZ_PER_INVERSE_FS / (n_lags * step),
        lags_fs=step * np.arange(n_lags, dtype=np.float64),
        autocorrelation=total / total[0],
    )


def _cosine_transform(curve: FloatArray) -> FloatArray:
    """Real spectrum of an even function given for lags 0, 1, 2, ..."""
    even = np.concatenate([curve, curve[:0:-1]])
    return np.asarray(np.fft.rfft(even).real)
