"""Crystals that several tests of structures use."""

import numpy as np

from nanoos.structures import Structure


def rocksalt(cation: str = "Na", anion: str = "Cl", a: float = 5.64) -> Structure:
    """Primitive rocksalt, two sites."""
    half = a / 2
    return Structure(
        lattice=np.array([[0, half, half], [half, 0, half], [half, half, 0]]),
        species=(cation, anion),
        frac_coords=np.array([[0, 0, 0], [0.5, 0.5, 0.5]]),
    )


def rocksalt_cubic(a: float = 5.64) -> Structure:
    """Conventional rocksalt, eight sites."""
    fcc = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    return Structure(
        lattice=np.eye(3) * a,
        species=("Na",) * 4 + ("Cl",) * 4,
        frac_coords=np.concatenate([fcc, fcc + 0.5]),
    )


def grid(n: int, spacing: float = 3.0, symbol: str = "Cu") -> Structure:
    """A simple cubic crystal of n^3 sites."""
    axis = np.arange(n) / n
    coords = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    return Structure(lattice=np.eye(3) * n * spacing, species=(symbol,) * n**3, frac_coords=coords)


def hexagonal(a: float, c: float, species: tuple[str, ...], coords: list[list[float]]) -> Structure:
    """A crystal in a hexagonal cell."""
    lattice = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, c]])
    return Structure(lattice=lattice, species=species, frac_coords=np.array(coords))


NACL_CIF = """data_NaCl
_cell_length_a 5.6402(2)
_cell_length_b 5.6402(2)
_cell_length_c 5.6402(2)
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Na1 Na 0 0 0 1.0
Cl1 Cl 0.5 0.5 0.5 1.0
"""

NACL_POSCAR = """NaCl
1.0
0.0 2.82 2.82
2.82 0.0 2.82
2.82 2.82 0.0
Na Cl
1 1
Direct
0 0 0
0.5 0.5 0.5
"""

NACL_XYZ = """2
Lattice="0 2.82 2.82 2.82 0 2.82 2.82 2.82 0" Properties=species:S:1:pos:R:3 id=salt pbc="T T T"
Na 0 0 0
Cl 2.82 2.82 2.82
"""

NACL_XSF = """# rock salt
CRYSTAL
PRIMVEC
0.0 2.82 2.82
2.82 0.0 2.82
2.82 2.82 0.0
PRIMCOORD
2 1
11 0 0 0 0.1 0.2 0.3
Cl 2.82 2.82 2.82
"""
