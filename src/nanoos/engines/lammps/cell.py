"""Cells as LAMMPS wants them: lower triangular, right-handed, and large enough."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.structures import Structure

FloatArray = npt.NDArray[np.float64]

MAX_ATOMS = 200_000
"""A cell larger than this is refused: no single process here finishes with it."""

_ZERO_TILT = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LammpsCell:
    """A structure's cell turned into LAMMPS's frame.

    The first vector lies along x, the second in the xy plane: the lattice is lower triangular
    with a positive diagonal. The vectors stay the same vectors, however skewed the cell is: they
    are turned, never exchanged for others.

    Attributes:
        lattice: (3, 3), rows, Å, in LAMMPS's frame.
        rotation: (3, 3); ``v_lammps = v @ rotation``, and ``v = v_lammps @ rotation.T``.
    """

    lattice: FloatArray
    rotation: FloatArray

    @property
    def tilts(self) -> tuple[float, float, float]:
        """xy, xz, yz, Å."""
        return (float(self.lattice[1, 0]), float(self.lattice[2, 0]), float(self.lattice[2, 1]))

    @property
    def is_triclinic(self) -> bool:
        """Whether any tilt is not zero."""
        return any(abs(tilt) > _ZERO_TILT for tilt in self.tilts)

    def back(self, vectors: FloatArray) -> FloatArray:
        """Vectors (..., 3) of LAMMPS's frame in the structure's own."""
        return np.asarray(vectors @ self.rotation.T)

    def tensor_back(self, tensor: FloatArray) -> FloatArray:
        """A (3, 3) tensor of LAMMPS's frame in the structure's own."""
        return np.asarray(self.rotation @ tensor @ self.rotation.T)


def lammps_cell(lattice: FloatArray) -> LammpsCell:
    """Turn a right-handed lattice (3, 3) into LAMMPS's frame.

    Raises:
        ValueError: left-handed vectors; see :meth:`Structure.right_handed`.
    """
    if np.linalg.det(lattice) <= 0:
        raise ValueError("the lattice is left-handed")
    orthogonal, upper = np.linalg.qr(lattice.T)
    signs = np.sign(np.diag(upper))
    rotation = orthogonal * signs
    turned = (upper * signs[:, None]).T
    turned[np.triu_indices(3, 1)] = 0.0
    turned[np.abs(turned) < _ZERO_TILT] = 0.0
    return LammpsCell(lattice=turned, rotation=rotation)


def perpendicular_widths(lattice: FloatArray) -> FloatArray:
    """(3,), distances between opposite faces of the cell, Å."""
    return np.asarray(1.0 / np.linalg.norm(np.linalg.inv(lattice), axis=0))


def repeats_for(structure: Structure, min_length_a: float) -> tuple[int, int, int]:
    """How often to repeat the cell so that no two faces are nearer than a length, Å."""
    widths = perpendicular_widths(structure.lattice)
    a, b, c = (max(1, int(np.ceil(min_length_a / width - 1e-6))) for width in widths)
    return a, b, c


def check_size(n_atoms: int, max_atoms: int) -> None:
    """Refuse a simulation cell that is larger than a universal potential may get.

    Raises:
        InvalidInputError: code ``too_many_atoms``.
    """
    if n_atoms > max_atoms:
        raise InvalidInputError(
            f"The simulation cell would have {n_atoms:,} atoms, more than {max_atoms:,}.",
            hint="Lower min_length, give repeats, or raise max_atoms.",
            details={"n_atoms": n_atoms},
            code="too_many_atoms",
        )


def supercell(structure: Structure, repeats: tuple[int, int, int]) -> Structure:
    """The cell repeated along its vectors, right-handed; charges and spins are repeated too.

    Raises:
        InvalidInputError: more than :data:`MAX_ATOMS` atoms.
    """
    n = math.prod(repeats)
    if n * structure.n_sites > MAX_ATOMS:
        raise InvalidInputError(
            f"The simulation cell would have {n * structure.n_sites:,} atoms "
            f"({repeats[0]} x {repeats[1]} x {repeats[2]} times {structure.n_sites}).",
            hint=f"The limit is {MAX_ATOMS:,}: choose smaller repeats or min_length.",
            code="too_many_atoms",
        )
    base = structure.right_handed()
    if n == 1:
        return base
    shifts = np.array(list(np.ndindex(*repeats)), dtype=np.float64)
    coords = (shifts[:, None, :] + base.frac_coords[None, :, :]).reshape(-1, 3) / repeats
    return Structure(
        lattice=base.lattice * np.array(repeats)[:, None],
        species=base.species * n,
        frac_coords=coords,
        charges=base.charges * n if base.charges else None,
        spins=base.spins * n if base.spins else None,
        label=base.label,
    )
