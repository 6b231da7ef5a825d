"""What the trained networks of the package say of one crystal written in several ways."""

import numpy as np
import pytest
import torch

from nanoos.models import get_model
from nanoos.models.networks.layers import gated_sum
from nanoos.structures import Structure
from nanoos.testing.crystals import rocksalt


def perovskite() -> Structure:
    """SrTiO3: the twelfth neighbour of oxygen is one of twelve, of two elements."""
    return Structure(
        lattice=3.905 * np.eye(3),
        species=("Sr", "Ti", "O", "O", "O"),
        frac_coords=np.array(
            [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
        ),
    )


def doubled_and_shuffled(crystal: Structure) -> Structure:
    """Two cells side by side, the atoms in the opposite order."""
    coords = np.vstack([crystal.frac_coords, crystal.frac_coords + np.array([0, 1, 0])])
    return Structure(
        lattice=crystal.lattice * [[1], [2], [1]],
        species=(crystal.species * 2)[::-1],
        frac_coords=(coords / [1, 2, 1])[::-1],
    )


@pytest.mark.parametrize("crystal", [rocksalt(), perovskite()], ids=["rock salt", "perovskite"])
@pytest.mark.parametrize("name", ["ALIGNN", "CGCNN", "ENSEMBLE"])
def test_the_cell_and_the_order_of_the_atoms_do_not_matter(name, crystal):
    model = get_model(name)
    if not model.info().available:
        pytest.skip("this installation has no checkpoints")
    one, other = model.predict([crystal, doubled_and_shuffled(crystal)])
    for key, value in one.properties.items():
        assert other.properties[key].value == pytest.approx(value.value, rel=1e-4, abs=1e-4), key


@pytest.mark.parametrize("name", ["ALIGNN", "CGCNN"])
def test_a_small_strain_changes_little(name):
    model = get_model(name)
    if not model.info().available:
        pytest.skip("this installation has no checkpoints")
    crystal = rocksalt()
    strained = Structure(
        lattice=crystal.lattice @ np.diag([1.0002, 1.0, 0.9998]),
        species=crystal.species,
        frac_coords=crystal.frac_coords,
    )
    one, other = model.predict([crystal, strained])
    change = other.properties["bandgap"].value - one.properties["bandgap"].value
    assert abs(change) < 0.02  # 0.5 eV where the strain chooses six of twelve neighbours


def test_the_gradient_of_the_gated_sum_is_that_of_its_value():
    generator = torch.Generator().manual_seed(0)
    both = torch.randn(7, 6, dtype=torch.float64, generator=generator, requires_grad=True)
    shares = torch.rand(7, dtype=torch.float64, generator=generator)
    centers = torch.tensor([0, 0, 1, 1, 1, 3, 3])
    assert torch.autograd.gradcheck(lambda x: gated_sum(x, shares, centers, 4), (both,))
    gate, core = both[2:5].chunk(2, dim=1)
    by_hand = (shares[2:5, None] * gate.sigmoid() * torch.nn.functional.softplus(core)).sum(0)
    torch.testing.assert_close(gated_sum(both, shares, centers, 4)[1], by_hand)
