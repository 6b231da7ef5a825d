import numpy as np
import pytest

from nanoos.core.units import GPA_PER_EV_A3
from nanoos.potentials.lennard_jones import LennardJones
from nanoos.structures import Structure
from nanoos.testing import PotentialContract


class TestLennardJones(PotentialContract):
    name = "LJ"
    uncovered_element = "Bk"
    force_tolerance_ev_a = 1e-3
    energy_tolerance_ev_per_atom = 1e-12


def test_pair_energy_is_the_textbook_curve():
    potential = LennardJones(epsilon_ev=0.01, sigma_a=3.4, cutoff_sigma=8.0)
    for r in (3.4, 3.4 * 2 ** (1 / 6), 5.0):
        pair = Structure(
            lattice=np.eye(3) * 80,
            species=("Ar", "Ar"),
            frac_coords=np.array([[0.1, 0.1, 0.1], [0.1 + r / 80, 0.1, 0.1]]),
        )
        expected = 4 * 0.01 * ((3.4 / r) ** 12 - (3.4 / r) ** 6)
        assert potential.energies([pair])[0] == pytest.approx(expected, abs=1e-12)


def test_fcc_minimum_matches_the_lattice_sums():
    """E0 = -8.6102 ε, r0 = 1.09018 σ from A12 = 12.13188, A6 = 14.45392 (Kittel, chapter 3)."""
    epsilon, sigma = 0.0104, 3.40
    potential = LennardJones(epsilon_ev=epsilon, sigma_a=sigma, cutoff_sigma=10.0)
    a = 1.09018 * sigma * np.sqrt(2)
    cell = 0.5 * a * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    fcc = Structure(lattice=cell, species=("Ar",), frac_coords=np.zeros((1, 3)))
    result = potential.compute([fcc])[0]
    assert result.energy_ev == pytest.approx(-8.6102 * epsilon, rel=3e-3)
    assert np.abs(result.stress).max() * GPA_PER_EV_A3 < 0.05
