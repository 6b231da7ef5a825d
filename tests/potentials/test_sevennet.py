import warnings

import numpy as np
import pytest

from nanoos.potentials import get_potential
from nanoos.testing import PotentialContract
from nanoos.testing.crystals import perturbed, rocksalt, wurtzite


class TestSevenNet(PotentialContract):
    name = "SevenNet"


def test_numbers_are_those_of_the_library():
    potential = get_potential("SevenNet")
    crystal = perturbed(wurtzite())
    ours = potential.compute([crystal])[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sevenn.calculator import SevenNetCalculator

        atoms = crystal.to_ase()
        atoms.calc = SevenNetCalculator("7net-0", device="cpu")
        assert ours.energy_ev == pytest.approx(atoms.get_potential_energy(), abs=1e-4)
        np.testing.assert_allclose(ours.forces, atoms.get_forces(), atol=1e-4)
        np.testing.assert_allclose(ours.stress, atoms.get_stress(voigt=False), atol=1e-5)


def test_energies_of_oxides_differ_by_the_oxygen_correction():
    """MP2020 lowers an oxide by 0.687 eV per oxygen: CHGNet learned it, SevenNet did not."""
    oxides = [rocksalt(4.25, "Mg", "O"), rocksalt(4.81, "Ca", "O"), rocksalt(5.16, "Sr", "O")]
    corrected = get_potential("CHGNet").energies(oxides)
    uncorrected = get_potential("SevenNet").energies(oxides)
    per_oxygen = corrected - uncorrected
    np.testing.assert_allclose(per_oxygen, -0.687, atol=0.1)
