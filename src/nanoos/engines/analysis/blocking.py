"""Errors of averages over correlated samples, by blocking.

Ref: Flyvbjerg & Petersen, J. Chem. Phys. 91, 461 (1989), DOI 10.1063/1.457480. Which level of
blocking to read: the first from which all later estimates agree within their own uncertainty.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

MIN_BLOCKS: Final = 8
"""A level with fewer blocks says too little about its own error (a quarter at 8)."""
_CONSTANT: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockAverage:
    """A mean and what it is worth.

    Attributes:
        mean: Of all samples.
        error: Standard error of the mean, None where there are too few samples to tell.
        n_samples: How many there were.
        n_effective: How many independent ones they are worth, None where that is unknown.
        converged: Whether blocks longer than the correlation were reached. Where not, the
            error is a lower bound: the run is shorter than its own memory.
    """

    mean: float
    error: float | None
    n_samples: int
    n_effective: float | None
    converged: bool


def blocking_curve(samples: npt.ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Standard error of the mean against the length of the blocks.

    Returns:
        Block lengths, errors, and the errors' own standard errors, (n_levels,) each.
    """
    values = np.asarray(samples, dtype=np.float64)
    lengths, errors, uncertainties = [], [], []
    length = 1
    while len(values) >= MIN_BLOCKS:
        n = len(values)
        error = float(np.sqrt(values.var() / (n - 1)))
        lengths.append(length)
        errors.append(error)
        uncertainties.append(error / np.sqrt(2 * (n - 1)))
        values = 0.5 * (values[: n // 2 * 2 : 2] + values[1 : n // 2 * 2 : 2])
        length *= 2
    return np.array(lengths), np.array(errors), np.array(uncertainties)


def block_average(samples: npt.ArrayLike) -> BlockAverage:
    """The mean of correlated samples (n,) with its standard error.

    Raises:
        ValueError: there is no sample.
    """
    values = np.asarray(samples, dtype=np.float64)
    if values.size == 0:
        raise ValueError("there is no sample to average")
    mean = float(values.mean())
    if values.size > 1 and float(np.ptp(values)) <= _CONSTANT * abs(mean):
        return BlockAverage(
            mean=mean,
            error=0.0,
            n_samples=values.size,
            n_effective=float(values.size),
            converged=True,
        )
    _, errors, uncertainties = blocking_curve(values)
    if len(errors) == 0:
        return BlockAverage(
            mean=mean, error=None, n_samples=values.size, n_effective=None, converged=False
        )
    plateau = None
    for level, (error, uncertainty) in enumerate(zip(errors, uncertainties, strict=True)):
        later, their = errors[level + 1 :], uncertainties[level + 1 :]
        if len(later) and np.all(later - error <= np.hypot(their, uncertainty)):
            plateau = level
            break
    error = float(errors[plateau] if plateau is not None else errors.max())
    spread = float(values.var())
    return BlockAverage(
        mean=mean,
        error=error,
        n_samples=values.size,
        n_effective=spread / error**2 if error > 0 else float(values.size),
        converged=plateau is not None,
    )
