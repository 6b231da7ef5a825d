"""Third-order Birch-Murnaghan equation of state.

E(V) of third order is exactly a cubic in V^(-2/3), so the fit is a linear least-squares problem
with one answer and no starting guess. Ref: Birch, Phys. Rev. 71, 809 (1947), DOI
10.1103/PhysRev.71.809; Lejaeghere et al., Science 351, aad3000 (2016), DOI
10.1126/science.aad3000 (the linear form).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import EngineError
from nanoos.core.units import GPA_PER_EV_A3
from nanoos.engines.analysis import plots

FloatArray = npt.NDArray[np.float64]

MIN_POINTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class BirchMurnaghan:
    """A fitted equation of state, all per atom.

    Attributes:
        energy_ev: At the minimum, eV/atom.
        volume_a3: At the minimum, Å^3/atom.
        bulk_modulus_gpa: GPa.
        bulk_modulus_derivative: With pressure, dimensionless.
        rmse_ev: Of the fit over its points, eV/atom.
        r2: Share of the variance explained.
    """

    energy_ev: float
    volume_a3: float
    bulk_modulus_gpa: float
    bulk_modulus_derivative: float
    rmse_ev: float
    r2: float

    def energy_at(self, volume_a3: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Energy (eV/atom) at volumes in Å^3/atom."""
        bulk = self.bulk_modulus_gpa / GPA_PER_EV_A3
        eta = (self.volume_a3 / np.asarray(volume_a3, dtype=np.float64)) ** (2 / 3)
        bracket = (eta - 1) ** 3 * self.bulk_modulus_derivative + (eta - 1) ** 2 * (6 - 4 * eta)
        return np.asarray(self.energy_ev + 9 * self.volume_a3 * bulk / 16 * bracket)


def fit_birch_murnaghan(volumes_a3: npt.ArrayLike, energies_ev: npt.ArrayLike) -> BirchMurnaghan:
    """Fit energies (eV/atom) against volumes (Å^3/atom), both (n_points,), n >= 5.

    Raises:
        EngineError: code ``no_minimum``; no minimum lies within the sampled volumes.
    """
    volumes = np.asarray(volumes_a3, dtype=np.float64)
    energies = np.asarray(energies_ev, dtype=np.float64)
    if volumes.shape != energies.shape or volumes.size < MIN_POINTS:
        raise EngineError(
            f"An equation of state needs at least {MIN_POINTS} points, not {volumes.size}."
        )
    middle = float(np.median(volumes))
    x = (volumes / middle) ** (-2 / 3) - 1  # centred, so that the powers stay independent
    c0, c1, c2, c3 = np.polynomial.polynomial.polyfit(x, energies, 3)
    minimum = _minimum(float(c1), float(c2), float(c3))
    if minimum is None or not x.min() <= minimum <= x.max():
        raise EngineError(
            "The energy has no minimum within the sampled volumes "
            f"({volumes.min():.2f} to {volumes.max():.2f} Å^3/atom).",
            hint="Start nearer to equilibrium, or widen eos_strain.",
            details={"volumes_a3": volumes.tolist(), "energies_ev": energies.tolist()},
            code="no_minimum",
        )
    volume = middle * (minimum + 1) ** -1.5
    second = 2 * c2 + 6 * c3 * minimum
    third = 6 * c3
    # chain rule from x to V
    d1 = -2 / 3 * (minimum + 1) / volume
    d2 = 10 / 9 * (minimum + 1) / volume**2
    curvature = second * d1**2
    slope = third * d1**3 + 3 * second * d1 * d2
    residual = energies - np.polynomial.polynomial.polyval(x, [c0, c1, c2, c3])
    spread = float(np.sum((energies - energies.mean()) ** 2))
    return BirchMurnaghan(
        energy_ev=float(np.polynomial.polynomial.polyval(minimum, [c0, c1, c2, c3])),
        volume_a3=float(volume),
        bulk_modulus_gpa=float(volume * curvature * GPA_PER_EV_A3),
        bulk_modulus_derivative=float(-1 - volume * slope / curvature),
        rmse_ev=float(np.sqrt(np.mean(residual**2))),
        r2=1 - float(np.sum(residual**2)) / spread if spread > 0 else 0.0,
    )


def _minimum(c1: float, c2: float, c3: float) -> float | None:
    """Where c1 + 2 c2 x + 3 c3 x^2 = 0 with positive curvature."""
    if abs(c3) < 1e-12 * max(abs(c2), 1e-300):
        return -c1 / (2 * c2) if c2 > 0 else None
    discriminant = 4 * c2**2 - 12 * c3 * c1
    if discriminant < 0:
        return None
    # of the two roots the one where 2 c2 + 6 c3 x = +sqrt(discriminant)
    return float((-2 * c2 + np.sqrt(discriminant)) / (6 * c3))


def fit_picture(fit: BirchMurnaghan, volumes_a3: FloatArray, energies_ev: FloatArray) -> str:
    """SVG of the energies, in meV above the minimum, and the curve through them.

    Args:
        fit: Of them.
        volumes_a3: (n,), Å^3/atom.
        energies_ev: (n,), eV/atom.
    """
    fine = np.linspace(volumes_a3.min(), volumes_a3.max(), 200)
    above = 1e3 * (np.asarray(fit.energy_at(fine)) - fit.energy_ev)
    return plots.fit(
        (volumes_a3, 1e3 * (energies_ev - fit.energy_ev)),
        (fine, above),
        x="volume, Å³ per atom",
        y="energy above the minimum, meV per atom",
    )
