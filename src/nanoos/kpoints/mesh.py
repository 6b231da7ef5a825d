"""From a k-point spacing to a mesh, and back. Needs nothing but numpy.

Spacings are in Å^-1 and carry the 2π: ``kdist = 2π / length``, where ``length`` (Å) is how far the
supercell reaches that a mesh stands for (VASP's automatic meshes count in it).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isfinite, pi
from typing import Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.structures import Structure

FloatArray = npt.NDArray[np.float64]

VACUUM_A: Final = 8.0
"""A slab of a cell at least this thick (Å) without the centre of any atom counts as vacuum.

Planes of atoms in bulk crystals are nearer: layers of graphite or Bi2Te3 lie 2.6 to 3.6 Å apart,
the sparsest planes of caesium 4.3 Å, of solid xenon 3.6 Å."""

_ROUNDING: Final = 1e-9
MAX_POINTS: Final = 1_000_000
"""A mesh of more points along all directions together is a mistake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KMesh:
    """A regular mesh in the reciprocal cell.

    Attributes:
        divisions: Points along the three reciprocal vectors.
        shift: 0 for a mesh through Gamma, 1 for one moved by half a step, for each direction.
        vacuum: Which directions of the lattice are vacuum: one point, not moved.
    """

    divisions: tuple[int, int, int]
    shift: tuple[int, int, int] = (0, 0, 0)
    vacuum: tuple[bool, bool, bool] = (False, False, False)

    @property
    def n_points(self) -> int:
        """Points before symmetry joins any."""
        n1, n2, n3 = self.divisions
        return n1 * n2 * n3

    @property
    def gamma_only(self) -> bool:
        """Whether Gamma is its only point."""
        return self.divisions == (1, 1, 1) and not any(self.shift)


def reciprocal_vectors(lattice: npt.ArrayLike) -> FloatArray:
    """(3, 3), rows are the reciprocal vectors with the 2π, Å^-1, of ``lattice`` (3, 3), Å.

    Raises:
        InvalidInputError: the lattice has no volume; code ``invalid_lattice``.
    """
    vectors = np.asarray(lattice, dtype=np.float64)
    if vectors.shape != (3, 3) or not np.all(np.isfinite(vectors)):
        raise _no_lattice("it is not three vectors of finite numbers")
    try:
        inverse = np.linalg.inv(vectors)
    except np.linalg.LinAlgError as error:
        raise _no_lattice("it has no volume") from error
    return np.asarray(2 * pi * inverse.T)


def mesh_from_kdist(
    lattice: npt.ArrayLike,
    kdist: float,
    *,
    vacuum: Sequence[bool] = (False, False, False),
    shift: Sequence[int] = (0, 0, 0),
) -> KMesh:
    """The coarsest mesh whose points are no further apart than ``kdist``.

    ``n_i = max(1, ceil(|b_i| / kdist - 1e-9))``; one point, not moved, along a vacuum direction.

    Args:
        lattice: (3, 3), rows are the lattice vectors, Å.
        kdist: Spacing, Å^-1, with the 2π; positive.
        vacuum: For each lattice direction, whether it is vacuum (:func:`vacuum_directions`).
        shift: For each direction 0 or 1: through Gamma, or moved by half a step.

    Raises:
        InvalidInputError: a spacing that is not positive (code ``invalid_kdist``), a lattice
            without volume, a shift other than 0 or 1, or a mesh of more than a million points
            (code ``mesh_too_fine``).
    """
    spacing = _positive(kdist, "spacing", "Å^-1")
    moved, empty = tuple(int(s) for s in shift), tuple(bool(v) for v in vacuum)
    if len(moved) != 3 or not set(moved) <= {0, 1}:  # noqa: PLR2004
        raise InvalidInputError(
            f"The shift is {list(shift)}.",
            hint="Give 0 (through Gamma) or 1 (half a step) for each of three directions.",
            code="invalid_shift",
        )
    if len(empty) != 3:  # noqa: PLR2004
        raise InvalidInputError(f"{len(empty)} vacuum directions; a cell has three.")
    norms = np.linalg.norm(reciprocal_vectors(lattice), axis=1)
    steps = np.where(empty, 0.0, norms / spacing)
    if not np.all(np.isfinite(steps)) or float(np.prod(np.maximum(steps, 1.0))) > MAX_POINTS:
        raise InvalidInputError(
            f"A spacing of {spacing:g} Å^-1 asks for more than {MAX_POINTS:,} k-points.",
            hint="Usual spacings lie between 0.05 and 0.5 Å^-1.",
            code="mesh_too_fine",
        )
    n1, n2, n3 = (max(1, ceil(step - _ROUNDING)) for step in steps.tolist())
    s1, s2, s3 = (0 if alone else s for s, alone in zip(moved, empty, strict=True))
    return KMesh(divisions=(n1, n2, n3), shift=(s1, s2, s3), vacuum=(empty[0], empty[1], empty[2]))


def mesh_of(structure: Structure, kdist: float, *, shift: Sequence[int] = (0, 0, 0)) -> KMesh:
    """As :func:`mesh_from_kdist`, with the vacuum of ``structure`` found by itself."""
    return mesh_from_kdist(
        structure.lattice, kdist, vacuum=vacuum_directions(structure), shift=shift
    )


def vacuum_directions(structure: Structure, thickness_a: float = VACUUM_A) -> tuple[bool, ...]:
    """For each lattice direction, whether a slab of the cell across it holds no atom.

    Args:
        structure: Any structure.
        thickness_a: Smallest thickness of the slab, Å, between the centres of atoms.
    """
    heights = 2 * pi / np.linalg.norm(reciprocal_vectors(structure.lattice), axis=1)
    ordered = np.sort(np.mod(structure.frac_coords, 1.0), axis=0)
    gaps = np.diff(np.vstack([ordered, ordered[:1] + 1.0]), axis=0).max(axis=0)
    return tuple(bool(wide) for wide in gaps * heights >= thickness_a)


def kdist_from_length(length: float) -> float:
    """Spacing (Å^-1, with the 2π) of the length (Å) a mesh stands for; its own inverse."""
    return 2 * pi / _positive(length, "length", "Å")


def length_from_kdist(kdist: float) -> float:
    """Length (Å) that a mesh of spacing ``kdist`` (Å^-1, with the 2π) stands for."""
    return 2 * pi / _positive(kdist, "spacing", "Å^-1")


def kdist_of_mesh(lattice: npt.ArrayLike, divisions: Sequence[int]) -> float:
    """The largest distance of neighbouring points of a mesh, Å^-1: what it resolves.

    Args:
        lattice: (3, 3), Å.
        divisions: Points along each direction.

    Raises:
        InvalidInputError: not three positive numbers of points.
    """
    counts = np.asarray(divisions)
    if counts.shape != (3,) or np.any(counts < 1):
        raise InvalidInputError(
            f"A mesh of {list(divisions)} points.", hint="Give three, each 1 or more."
        )
    return float(np.max(np.linalg.norm(reciprocal_vectors(lattice), axis=1) / counts))


def _positive(value: float, name: str, unit: str) -> float:
    if not isfinite(value) or value <= 0:
        raise InvalidInputError(
            f"The k-point {name} is {value:g} {unit}.",
            hint="It is a positive number; usual spacings lie between 0.05 and 0.5 Å^-1.",
            code="invalid_kdist",
        )
    return float(value)


def _no_lattice(why: str) -> InvalidInputError:
    return InvalidInputError(
        f"The lattice cannot be used: {why}.",
        hint="Give three vectors as rows, in Å, that span a volume.",
        code="invalid_lattice",
    )
