"""From a spacing to a mesh: the formula, vacuum, shifts, and what is refused."""

from math import ceil, pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoos.core.errors import InvalidInputError
from nanoos.kpoints import (
    kdist_from_length,
    kdist_of_mesh,
    length_from_kdist,
    mesh_from_kdist,
    mesh_of,
    vacuum_directions,
)
from nanoos.structures import Structure

EDGES = st.floats(1.0, 60.0)
SPACINGS = st.floats(0.1, 2.0)


@given(EDGES, EDGES, EDGES, SPACINGS)
def test_an_orthogonal_cell(a, b, c, kdist):
    mesh = mesh_from_kdist(np.diag([a, b, c]), kdist)
    assert mesh.divisions == tuple(
        max(1, ceil(2 * pi / (edge * kdist) - 1e-9)) for edge in (a, b, c)
    )
    assert kdist_of_mesh(np.diag([a, b, c]), mesh.divisions) <= kdist * (1 + 1e-8)


def test_a_spacing_that_divides_exactly_does_not_round_up():
    lattice = 4.05 * np.eye(3)
    for n in range(1, 40):
        assert mesh_from_kdist(lattice, 2 * pi / 4.05 / n).divisions == (n, n, n)


def test_a_skewed_cell_uses_reciprocal_vectors_not_edges():
    fcc = np.array([[0, 2, 2], [2, 0, 2], [2, 2, 0.0]])
    norm = np.linalg.norm(2 * pi * np.linalg.inv(fcc).T[0])
    assert norm == pytest.approx(2 * pi * np.sqrt(3) / 4)
    assert mesh_from_kdist(fcc, 0.3).divisions == (ceil(norm / 0.3),) * 3


def test_handedness_and_order_of_the_axes_do_not_matter():
    lattice = np.array([[3, 0, 0], [0.5, 5, 0], [0.2, 0.3, 9.0]])
    there = mesh_from_kdist(lattice, 0.2).divisions
    assert mesh_from_kdist(-lattice, 0.2).divisions == there
    assert mesh_from_kdist(lattice[[2, 0, 1]], 0.2).divisions == (there[2], there[0], there[1])


def slab(vacuum_a: float) -> Structure:
    height = 3.0 + vacuum_a
    return Structure(
        lattice=np.diag([2.5, 2.5, height]),
        species=("C", "C"),
        frac_coords=np.array([[0, 0, 0.98], [0.5, 0.5, (0.98 + 3.0 / height) % 1.0]]),
    )


def test_vacuum_gets_one_point_and_no_shift():
    structure = slab(12.0)
    assert vacuum_directions(structure) == (False, False, True)
    mesh = mesh_of(structure, 0.1, shift=(1, 1, 1))
    assert mesh.divisions == (26, 26, 1)
    assert mesh.shift == (1, 1, 0)
    assert mesh.vacuum == (False, False, True)


def test_layers_of_a_bulk_crystal_are_no_vacuum():
    assert vacuum_directions(slab(4.0)) == (False, False, False)
    assert mesh_of(slab(4.0), 0.1).divisions[2] == ceil(2 * pi / 7.0 / 0.1)


def test_a_skewed_vacuum_is_measured_across_the_layer():
    structure = slab(12.0)
    lattice = np.array(structure.lattice)
    lattice[2, 0] = 7.0
    assert vacuum_directions(structure.with_lattice(lattice)) == (False, False, True)


def test_a_molecule_in_a_box_has_gamma_alone():
    box = Structure(lattice=12 * np.eye(3), species=("He",), frac_coords=np.zeros((1, 3)))
    mesh = mesh_of(box, 0.05)
    assert mesh.divisions == (1, 1, 1)
    assert mesh.gamma_only
    assert mesh.n_points == 1


def test_lengths_and_spacings_are_inverse():
    assert kdist_from_length(50.0) == pytest.approx(2 * pi / 50)
    assert length_from_kdist(kdist_from_length(37.5)) == pytest.approx(37.5)


@pytest.mark.parametrize("kdist", [0.0, -0.1, float("nan"), float("inf")])
def test_a_spacing_that_is_none_is_refused(kdist):
    with pytest.raises(InvalidInputError) as caught:
        mesh_from_kdist(np.eye(3), kdist)
    assert caught.value.error_code == "invalid_kdist"


def test_a_mesh_without_end_is_refused():
    with pytest.raises(InvalidInputError) as caught:
        mesh_from_kdist(np.eye(3), 1e-4)
    assert caught.value.error_code == "mesh_too_fine"


def test_a_lattice_without_volume_is_refused():
    with pytest.raises(InvalidInputError) as caught:
        mesh_from_kdist([[1, 0, 0], [2, 0, 0], [0, 0, 1]], 0.1)
    assert caught.value.error_code == "invalid_lattice"


def test_a_shift_is_zero_or_one():
    with pytest.raises(InvalidInputError):
        mesh_from_kdist(np.eye(3), 0.1, shift=(0, 2, 0))
