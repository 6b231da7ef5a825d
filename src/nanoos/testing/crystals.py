"""Small crystals that the contract suites use."""

import numpy as np

from nanoos.structures import Structure


def rocksalt(a: float = 4.25, cation: str = "Mg", anion: str = "O") -> Structure:
    """Primitive rocksalt cell, ``a`` in Å: volume is its only freedom."""
    lattice = 0.5 * a * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return Structure(
        lattice=lattice, species=(cation, anion), frac_coords=np.array([[0] * 3, [0.5] * 3])
    )


def wurtzite(
    a: float = 3.25, c: float = 5.21, u: float = 0.385, cation: str = "Zn", anion: str = "O"
) -> Structure:
    """Wurtzite cell, lengths in Å: two cell lengths and one coordinate are free."""
    lattice = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, c]])
    third = 1 / 3
    return Structure(
        lattice=lattice,
        species=(cation, cation, anion, anion),
        frac_coords=np.array(
            [
                [third, 2 * third, 0],
                [2 * third, third, 0.5],
                [third, 2 * third, u],
                [2 * third, third, 0.5 + u],
            ]
        ),
    )


def perturbed(structure: Structure, amount_a: float = 0.08, seed: int = 7) -> Structure:
    """The same crystal, atoms and cell displaced at random: no symmetry, forces on every atom."""
    rng = np.random.default_rng(seed)
    shift = rng.normal(scale=amount_a, size=(structure.n_sites, 3))
    strain = np.eye(3) + rng.normal(scale=0.01, size=(3, 3))
    return Structure(
        lattice=structure.lattice @ strain,
        species=structure.species,
        frac_coords=structure.frac_coords + shift @ np.linalg.inv(structure.lattice),
    )
