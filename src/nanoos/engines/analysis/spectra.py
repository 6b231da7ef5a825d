"""Power spectra of many columns, in little memory."""

from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_NUMBERS_AT_ONCE: Final = 2**22
"""Transformed together: what a long run of many atoms takes in memory."""


def summed_power(columns: FloatArray) -> FloatArray:
    """(n + 1,): squares of the Fourier transforms of (n, m), padded to 2 n, sum of the columns."""
    n, width = columns.shape
    power = np.zeros(n + 1)
    together = max(1, _NUMBERS_AT_ONCE // n)
    for start in range(0, width, together):
        spectrum = np.fft.rfft(columns[:, start : start + together], n=2 * n, axis=0)
        power += np.einsum("ij,ij->i", spectrum.real, spectrum.real)
        power += np.einsum("ij,ij->i", spectrum.imag, spectrum.imag)
    return power
