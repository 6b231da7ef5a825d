"""Which atoms count as equal: those that symmetry makes equal, and no others."""

import numpy as np

from nanoos.features import PackedGraphs
from nanoos.features.equivalent import distinct_atoms
from nanoos.structures import Structure


def rock_salt(species: tuple[str, str] = ("Na", "Cl"), a: float = 5.64) -> Structure:
    """The cubic cell of eight atoms."""
    corners = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    return Structure(
        lattice=a * np.eye(3),
        species=(species[0],) * 4 + (species[1],) * 4,
        frac_coords=np.vstack([corners, corners + np.array([0.5, 0, 0])]),
    )


def moved(structure: Structure, site: int, step_a: float) -> Structure:
    """One atom moved along x."""
    coords = np.array(structure.frac_coords)
    coords[site, 0] += step_a / structure.lattice[0, 0]
    return Structure(lattice=structure.lattice, species=structure.species, frac_coords=coords)


def test_symmetry_leaves_one_atom_of_each_kind():
    graphs = PackedGraphs.from_structures([rock_salt()], k=6)
    found = distinct_atoms(graphs, 3)
    assert found.atoms.tolist() == [0, 4]
    assert found.weights.tolist() == [0.5, 0.5]
    assert found.neighbors.tolist() == [[1] * 6, [0] * 6]
    assert len(set(found.labels.ravel().tolist())) == 1


def test_a_moved_atom_differs_from_those_it_was_equal_to():
    graphs = PackedGraphs.from_structures([moved(rock_salt(), 1, 0.1)], k=6)
    kept = set(distinct_atoms(graphs, 3).atoms.tolist())
    assert {0, 1} <= kept
    assert len(kept) < 8


def test_a_movement_within_rounding_is_not_seen():
    graphs = PackedGraphs.from_structures([moved(rock_salt(), 1, 5e-7)], k=6)
    assert distinct_atoms(graphs, 3).atoms.tolist() == [0, 4]


def test_another_element_far_away_is_seen_only_after_enough_rounds():
    chain = Structure(
        lattice=np.diag([20.0, 9.0, 9.0]),
        species=("O", *["C"] * 9),
        frac_coords=np.array([[i / 10, 0, 0] for i in range(10)]),
    )
    graphs = PackedGraphs.from_structures([chain], k=2)
    # O, then C by the distance to O: 1, 2, 3, ... steps, the same on either side
    assert [len(distinct_atoms(graphs, rounds).atoms) for rounds in (1, 2, 3)] == [3, 4, 5]


def test_equal_structures_stay_apart_and_keep_their_order():
    one, other = rock_salt(), rock_salt(("Mg", "O"), 4.21)
    found = distinct_atoms(PackedGraphs.from_structures([other, one, other], k=6), 2)
    assert found.atoms.tolist() == [0, 4, 8, 12, 16, 20]
    assert found.sizes.tolist() == [2, 2, 2]


def test_angles_tell_apart_what_distances_do_not():
    square = np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]) * 2.0
    corner = np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, 0, 1]]) * 2.0
    places = np.vstack([[[0, 0, 0]], square, [[0, 0, 0]], corner])
    places[5:] += 15.0
    molecules = Structure(
        lattice=30.0 * np.eye(3), species=("Xe", *["F"] * 4) * 2, frac_coords=places / 30.0
    )
    graphs = PackedGraphs.from_structures([molecules], k=4)
    centers = {0, 5}
    blind, seeing = (distinct_atoms(graphs, 1, angles=angles) for angles in (False, True))
    assert len(centers & set(blind.atoms.tolist())) == 1
    assert centers <= set(seeing.atoms.tolist())


def test_atoms_without_neighbours():
    alone = Structure(lattice=30.0 * np.eye(3), species=("Ar",), frac_coords=np.zeros((1, 3)))
    found = distinct_atoms(PackedGraphs.from_structures([alone, rock_salt()]), 3)
    assert found.sizes.tolist() == [1, 2]
