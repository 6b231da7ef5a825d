"""The equation of state of a solid that can be written down exactly."""

import numpy as np
import pytest

from nanoos.core.errors import EngineError
from nanoos.core.units import GPA_PER_EV_A3
from nanoos.engines.mlip.equation_of_state import equation_of_state
from nanoos.engines.mlip.parameters import EquationOfStateParameters
from nanoos.potentials.lennard_jones import LennardJones
from nanoos.structures import Structure

EPSILON_EV, SIGMA_A = 0.0104, 3.40
ARGON = LennardJones(epsilon_ev=EPSILON_EV, sigma_a=SIGMA_A, cutoff_sigma=10.0)


def fcc(a):
    lattice = 0.5 * a * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return Structure(lattice=lattice, species=("Ar",), frac_coords=np.zeros((1, 3)))


def silent(fraction, message):
    pass


def test_fcc_lennard_jones_is_exact(tmp_path):
    """E = a V^-4 - b V^-2, so B0 = 8 |E0| / V0 and B0' = 8, with the lattice sums of Kittel."""
    parameters = EquationOfStateParameters(eos_strain=0.02, eos_points=9)
    fit = equation_of_state(fcc(5.0), ARGON, parameters, silent, tmp_path).fit
    r0 = 1.09018 * SIGMA_A
    volume = r0**3 / np.sqrt(2)
    assert fit.energy_ev == pytest.approx(-8.6102 * EPSILON_EV, rel=3e-3)
    assert fit.volume_a3 == pytest.approx(volume, rel=2e-3)
    bulk = 8 * 8.6102 * EPSILON_EV / volume * GPA_PER_EV_A3
    assert fit.bulk_modulus_gpa == pytest.approx(bulk, rel=0.01)
    assert fit.bulk_modulus_derivative == pytest.approx(8.0, abs=0.15)


def test_progress_and_final_structure_belong_to_the_fit(tmp_path):
    seen = []
    found = equation_of_state(
        fcc(5.4), ARGON, EquationOfStateParameters(), lambda f, m: seen.append(f), tmp_path
    )
    assert found.structure.volume == pytest.approx(found.fit.volume_a3)
    assert found.relaxation is None  # only the volume is free: no optimiser runs
    assert seen == sorted(seen)
    assert len(found.volumes_a3) == 7


def test_hopeless_start_is_refused(tmp_path):
    with pytest.raises(EngineError) as caught:
        equation_of_state(fcc(12.0), ARGON, EquationOfStateParameters(), silent, tmp_path)
    assert caught.value.error_code == "no_minimum"
