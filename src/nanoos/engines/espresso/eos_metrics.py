"""How far two equations of state are apart: epsilon and nu.

Ref: Bosoni et al., Nat. Rev. Phys. 6, 45 (2024), DOI 10.1038/s42254-023-00655-3.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from nanoos.engines.mlip.birch_murnaghan import BirchMurnaghan

FloatArray = npt.NDArray[np.float64]

RANGE: Final = 0.06
"""Half-width of the volumes that are compared, about the mean of the two minima."""
WEIGHT_B0: Final = 1 / 20
WEIGHT_B1: Final = 1 / 400
EXCELLENT: Final = (0.06, 0.10)
"""Epsilon and nu below which the paper calls an agreement excellent."""
GOOD: Final = (0.20, 0.33)
"""Epsilon and nu below which the paper calls an agreement good."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


@dataclass(frozen=True, slots=True, kw_only=True)
class EosDistance:
    """How far two equations of state are apart.

    Attributes:
        epsilon: Dimensionless; 0 for equal curves.
        nu: Dimensionless, in percent of the volume.
        v0_percent: Relative difference of the volumes, percent, first minus second.
        b0_percent: The same of the bulk moduli.
        b1_percent: The same of their pressure derivatives.
    """

    epsilon: float
    nu: float
    v0_percent: float
    b0_percent: float
    b1_percent: float


def eos_distance(one: BirchMurnaghan, other: BirchMurnaghan) -> EosDistance:
    """Compare two curves, each measured from its own minimum.

    Volumes and moduli of both are for the same number of atoms; epsilon and nu do not depend on it.
    """
    differences = {
        "v0": _relative(one.volume_a3, other.volume_a3),
        "b0": _relative(one.bulk_modulus_gpa, other.bulk_modulus_gpa),
        "b1": _relative(one.bulk_modulus_derivative, other.bulk_modulus_derivative),
    }
    nu = np.sqrt(
        differences["v0"] ** 2
        + (WEIGHT_B0 * differences["b0"]) ** 2
        + (WEIGHT_B1 * differences["b1"]) ** 2
    )
    return EosDistance(
        epsilon=_epsilon(one, other),
        nu=100 * float(nu),
        v0_percent=100 * differences["v0"],
        b0_percent=100 * differences["b0"],
        b1_percent=100 * differences["b1"],
    )


def _relative(one: float, other: float) -> float:
    return 2 * (one - other) / (one + other)


def _epsilon(one: BirchMurnaghan, other: BirchMurnaghan) -> float:
    """Root of the mean squared difference over the geometric mean of the two variances."""
    middle = (one.volume_a3 + other.volume_a3) / 2
    volumes = middle * (1 + RANGE * _NODES)
    first = one.energy_at(volumes) - one.energy_ev
    second = other.energy_at(volumes) - other.energy_ev
    spread = np.sqrt(_variance(first) * _variance(second))
    return float(np.sqrt(_mean((first - second) ** 2) / spread))


def _mean(values: FloatArray) -> float:
    """Average over the range of volumes, exact for these curves to rounding."""
    return float(values @ _WEIGHTS / 2)


def _variance(values: FloatArray) -> float:
    return _mean((values - _mean(values)) ** 2)
