"""Crystals are turned to where pw.x sees their symmetry, and what comes out is turned back."""

import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError
from nanoos.engines.espresso.orientation import check_plane, orientation
from nanoos.structures import Structure

A = 4.21
CELLS = {
    "fcc, third vector along z": (
        [[A * 0.375**0.5, 0, A / 8**0.5], [A / 24**0.5, A / 3**0.5, A / 8**0.5], [0, 0, A / 2**0.5]],
        ["Mg", "O"],
        [[0, 0, 0], [0.5, 0.5, 0.5]],
        48,
    ),
    "hexagonal, c along x": (
        [[4.68, 0, 0], [0, 2.95, 0], [0, -1.475, 2.95 * 0.75**0.5]],
        ["Ti", "Ti"],
        [[0.25, 1 / 3, 2 / 3], [0.75, 2 / 3, 1 / 3]],
        24,
    ),
}  # fmt: skip


def crystal(name: str) -> tuple[Structure, int]:
    lattice, species, sites, operations = CELLS[name]
    structure = Structure(
        lattice=np.array(lattice), species=tuple(species), frac_coords=np.array(sites)
    )
    return structure, operations


@pytest.mark.parametrize("name", CELLS)
def test_every_operation_is_seen(name):
    structure, operations = crystal(name)
    found = orientation(structure)
    assert found.turned
    assert found.operations == operations > found.operations_before
    assert str(operations) in found.reasons()["orientation"]
    turned = found.to_pw(structure)
    np.testing.assert_allclose(turned.lengths, structure.lengths, atol=1e-12)
    np.testing.assert_allclose(turned.angles, structure.angles, atol=1e-10)
    assert turned.volume == pytest.approx(structure.volume)
    assert not orientation(turned).turned, "it is there already"
    assert orientation(turned).reasons() == {}


def test_left_handed_vectors_stay_left_handed():
    structure, operations = crystal("fcc, third vector along z")
    exchanged = structure.with_lattice(structure.lattice[[1, 0, 2]])
    found = orientation(exchanged)
    assert found.operations == operations
    assert np.linalg.det(found.rotation) == pytest.approx(1.0)
    assert found.to_pw(exchanged).is_left_handed


def test_what_shows_all_of_it_stays_as_it_is():
    lattice = 0.5 * A * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    structure = Structure(lattice=lattice, species=("Cu",), frac_coords=np.zeros((1, 3)))
    found = orientation(structure)
    assert not found.turned
    assert found.to_pw(structure) is structure


def test_a_plane_keeps_its_axes():
    cubic, _ = crystal("fcc, third vector along z")
    assert orientation(cubic).turned
    assert not orientation(cubic, keep=True).turned
    structure = Structure(
        lattice=np.array([[1.6, 2.4, 0], [-1.6, 2.4, 0], [0, 0, 20.0]]),
        species=("C", "O"),
        frac_coords=np.array([[0.1, 0.1, 0.5], [0.4, 0.4, 0.55]]),
    )
    check_plane(structure)
    for lattice in (
        structure.lattice[[2, 0, 1]],  # the vacuum along a
        structure.lattice[:, [2, 0, 1]],  # the vacuum along x
        structure.lattice + np.diag([2.0, 0, 0])[[1, 2, 0]],  # c not upright
    ):
        with pytest.raises(InvalidInputError) as caught:
            check_plane(structure.with_lattice(lattice))
        assert caught.value.error_code == "plane_not_xy"


def test_a_crystal_without_symmetry_stays_as_it_is():
    rng = np.random.default_rng(1)
    structure = Structure(
        lattice=5 * np.eye(3) + rng.normal(scale=0.3, size=(3, 3)),
        species=("Mg", "O", "O", "Si"),
        frac_coords=rng.random((4, 3)),
    )
    assert not orientation(structure).turned
