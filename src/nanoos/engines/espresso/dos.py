"""The density of states from eigenvalues on a mesh, each state a Gaussian."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from nanoos.engines.espresso.xml_output import Bands

FloatArray = npt.NDArray[np.float64]

_WIDTHS_BEYOND: Final = 5.0
_CHUNK: Final = 4096
_MOST_POINTS: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DensityOfStates:
    """States against energy.

    Attributes:
        energies_ev: (n_energies,), eV, on the scale of the eigenvalues.
        states: (n_spin, n_energies), states per eV and cell; without spin each counts twice.
    """

    energies_ev: FloatArray
    states: FloatArray

    def at(self, energy_ev: float) -> float:
        """States per eV and cell at an energy, spins together."""
        return float(np.interp(energy_ev, self.energies_ev, self.states.sum(axis=0)))


def density_of_states(bands: Bands, *, width_ev: float, step_ev: float) -> DensityOfStates:
    """Smear eigenvalues with Gaussians.

    Args:
        bands: Eigenvalues on a mesh with the weights of its points.
        width_ev: Standard deviation, eV.
        step_ev: Step of the energy axis, eV; made wider where that gives too many points.
    """
    levels = bands.energies_ev
    low = float(levels.min()) - _WIDTHS_BEYOND * width_ev
    high = float(levels.max()) + _WIDTHS_BEYOND * width_ev
    count = min(_MOST_POINTS, int((high - low) / step_ev) + 2)
    energies = np.linspace(low, high, count)
    each = 2.0 if len(levels) == 1 else 1.0
    scale = each / (width_ev * np.sqrt(2 * np.pi))
    states = np.zeros((len(levels), count))
    for spin, channel in enumerate(levels):
        flat = channel.ravel()
        weights = np.repeat(bands.weights, channel.shape[1])
        for begin in range(0, flat.size, _CHUNK):
            part = slice(begin, begin + _CHUNK)
            away = (energies[:, None] - flat[None, part]) / width_ev
            states[spin] += np.exp(-0.5 * away**2) @ weights[part] * scale
    return DensityOfStates(energies_ev=energies, states=states)
