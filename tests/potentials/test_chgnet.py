import numpy as np
import pytest

from nanoos.potentials import get_potential
from nanoos.testing import PotentialContract
from nanoos.testing.crystals import perturbed, rocksalt, wurtzite


class TestCHGNet(PotentialContract):
    name = "CHGNet"


def test_numbers_are_those_of_the_library():
    """The single backward pass and our graphs against the library's own road."""
    import warnings

    potential = get_potential("CHGNet")
    crystal = perturbed(wurtzite(cation="Fe"))
    ours = potential.compute([crystal])[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = potential._model.predict_structure(crystal.to_pymatgen())
    assert ours.energy_ev_per_atom == pytest.approx(float(theirs["e"]), abs=1e-5)
    np.testing.assert_allclose(ours.forces, theirs["f"], atol=1e-4)
    np.testing.assert_allclose(ours.stress * 160.21766208, theirs["s"], atol=0.02)
    np.testing.assert_allclose(ours.magmoms, theirs["m"], atol=1e-4)


def test_iron_carries_a_moment_and_magnesium_none():
    potential = get_potential("CHGNet")
    iron, magnesium = potential.compute([rocksalt(4.3, "Fe", "O"), rocksalt(4.25)])
    assert iron.magmoms[0] > 3
    assert np.all(magnesium.magmoms < 0.1)


def test_loading_says_nothing(capfd):
    from nanoos.potentials.chgnet import CHGNetPotential

    CHGNetPotential()
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""
