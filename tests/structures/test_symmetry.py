import numpy as np
import pytest
from crystals import grid, hexagonal, rocksalt, rocksalt_cubic

from nanoos.core.errors import StructureRefusedError
from nanoos.structures import (
    Structure,
    analyze_symmetry,
    conventional_cell,
    dimensionality,
    primitive_cell,
)
from nanoos.structures.symmetry import crystal_system

GRAPHITE = hexagonal(
    2.46, 6.7, ("C",) * 4, [[0, 0, 0.25], [0, 0, 0.75], [1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]
)
TELLURIUM = hexagonal(
    4.457, 5.929, ("Te",) * 3, [[0.2636, 0, 1 / 3], [0, 0.2636, 2 / 3], [-0.2636, -0.2636, 0]]
)
ARGON = grid(1, spacing=3.75, symbol="Ar")


def test_rocksalt():
    found = analyze_symmetry(rocksalt())
    assert (found.number, found.symbol) == (225, "Fm-3m")
    assert (found.crystal_system, found.point_group) == ("cubic", "m-3m")
    assert found.n_symmetry_operations == 48
    assert analyze_symmetry(rocksalt_cubic()).n_symmetry_operations == 192


def test_tolerance():
    salt = rocksalt_cubic()
    coords = salt.frac_coords.copy()
    coords[0, 0] += 0.001
    moved = Structure(lattice=salt.lattice, species=salt.species, frac_coords=coords)
    assert analyze_symmetry(moved, symprec=1e-4).number < 225
    assert analyze_symmetry(moved, symprec=0.05).number == 225
    with pytest.raises(StructureRefusedError):
        analyze_symmetry(salt, symprec=50)


@pytest.mark.parametrize(
    ("number", "name"),
    [(1, "triclinic"), (3, "monoclinic"), (16, "orthorhombic"), (75, "tetragonal"),
     (143, "trigonal"), (167, "trigonal"), (168, "hexagonal"), (195, "cubic"), (230, "cubic")],
)  # fmt: skip
def test_crystal_systems(number, name):
    assert crystal_system(number) == name


def test_cells():
    assert primitive_cell(rocksalt_cubic()).n_sites == 2
    assert conventional_cell(rocksalt()).n_sites == 8
    np.testing.assert_allclose(conventional_cell(rocksalt()).lattice, np.eye(3) * 5.64, atol=1e-9)


def test_spins_keep_a_magnetic_cell():
    salt = rocksalt_cubic()
    spins = (1.0, 1.0, -1.0, -1.0, 0.0, 0.0, 0.0, 0.0)
    magnetic = Structure(
        lattice=salt.lattice, species=salt.species, frac_coords=salt.frac_coords, spins=spins
    )
    found = primitive_cell(magnetic)
    assert found.n_sites == 4
    assert sorted(found.spins) == [-1, 0, 0, 1]


@pytest.mark.parametrize(
    ("structure", "expected"),
    [(GRAPHITE, 2), (TELLURIUM, 1), (ARGON, 0), (rocksalt(), 3), (grid(2, 2.6), 3)],
)
def test_dimensionality(structure, expected):
    assert dimensionality(structure) == expected


def test_dimensionality_of_an_oblique_cell():
    shear = np.array([[1, 0, 1], [0, 1, 1], [0, 0, 1]])
    oblique = Structure(
        lattice=shear @ GRAPHITE.lattice,
        species=GRAPHITE.species,
        frac_coords=GRAPHITE.frac_coords @ np.linalg.inv(shear),
    )
    assert dimensionality(oblique) == 2
