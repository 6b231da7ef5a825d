"""What symmetry leaves free: the shape of the cell, the positions of the atoms."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from nanoos.potentials.relaxation import SYMMETRY_TOLERANCE_A, space_group_label
from nanoos.structures import Structure
from nanoos.structures.symmetry import symmetry_dataset

_MAX_SITES: Final = 200
_PROBE_SEED: Final = 0
_ZERO: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Freedom:
    """What can change without breaking the space group.

    Attributes:
        space_group: International symbol and number.
        shape: More of the cell than its volume.
        positions: Any atom.
    """

    space_group: str
    shape: bool
    positions: bool

    @property
    def only_volume(self) -> bool:
        """Nothing but the volume."""
        return not (self.shape or self.positions)


def symmetry_freedom(structure: Structure) -> Freedom:
    """What can change without breaking the space group (found at 0.01 Å).

    A random strain and a random displacement are averaged over the group: what survives is
    free. Above 200 sites everything is taken as free.
    """
    if structure.n_sites > _MAX_SITES:
        return Freedom(space_group=space_group_label(structure), shape=True, positions=True)
    found = symmetry_dataset(structure, SYMMETRY_TOLERANCE_A)
    if found is None:
        return Freedom(space_group="P1 (1)", shape=True, positions=True)
    rng = np.random.default_rng(_PROBE_SEED)
    strain = rng.normal(size=(3, 3))
    strain = strain + strain.T
    moves = rng.normal(size=(structure.n_sites, 3))
    mean_strain = np.zeros((3, 3))
    mean_moves = np.zeros_like(moves)
    lattice, inverse = structure.lattice, np.linalg.inv(structure.lattice)
    coords = structure.frac_coords
    for rotation, translation in zip(found.rotations, found.translations, strict=True):
        cartesian = (inverse @ rotation.T @ lattice).T  # column vectors
        mean_strain += cartesian @ strain @ cartesian.T
        image = coords @ rotation.T + translation
        difference = image[:, None, :] - coords[None, :, :]
        difference -= np.rint(difference)
        target = np.linalg.norm(difference @ lattice, axis=2).argmin(axis=1)
        mean_moves[target] += moves @ cartesian.T
    n_operations = len(found.rotations)
    mean_strain /= n_operations
    mean_moves = mean_moves / n_operations
    mean_moves -= mean_moves.mean(axis=0)  # a shift of everything is no change
    off = mean_strain - np.trace(mean_strain) / 3 * np.eye(3)
    return Freedom(
        space_group=f"{found.international} ({found.number})",
        shape=bool(np.abs(off).max() > _ZERO),
        positions=bool(np.abs(mean_moves).max() > _ZERO),
    )
