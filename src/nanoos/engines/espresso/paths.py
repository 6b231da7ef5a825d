"""Paths of high symmetry in reciprocal space, as ASE finds them for any setting of the cell.

Ref: Setyawan, Curtarolo, DOI 10.1016/j.commatsci.2010.05.010.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.engines.espresso.input_file import KPoint
from nanoos.structures import Structure

FloatArray = npt.NDArray[np.float64]

_SAME_K: Final = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BandPath:
    """k-points along a path.

    Attributes:
        name: Special points in order, a comma where it jumps.
        kpoints: Fractional, in the reciprocal cell of the structure.
        distances: (n,), along the path, Å^-1 with the 2π.
        special: Name to fractional k-point.
    """

    name: str
    kpoints: tuple[KPoint, ...]
    distances: FloatArray
    special: Mapping[str, KPoint]


def path_points(structure: Structure, path: str | None, n_points: int) -> BandPath:
    """Points along a path, the usual one of the lattice by default.

    Raises:
        InvalidInputError: the path names a point that the lattice does not have.
    """
    cell = structure.right_handed().to_ase().cell
    try:
        found = cell.bandpath(path, npoints=n_points)
    except (KeyError, ValueError, IndexError) as error:
        special = ", ".join(cell.bandpath().special_points)
        raise InvalidInputError(
            f"The path {path!r} does not fit this lattice: {error}.",
            hint=f"Its points are {special}; a comma stands where the path jumps.",
        ) from error
    sign = -1.0 if structure.is_left_handed else 1.0
    distances, _, _ = found.get_linear_kpoint_axis()
    return BandPath(
        name=found.path,
        kpoints=tuple(_triple(row * sign) for row in found.kpts),
        distances=np.asarray(distances),
        special={name: _triple(np.asarray(k) * sign) for name, k in found.special_points.items()},
    )


def label_of(kpoint: KPoint, path: BandPath) -> str:
    """The name of a special point, or the coordinates."""
    for name, special in path.special.items():
        apart = np.subtract(kpoint, special)
        if np.all(np.abs(apart - np.round(apart)) < _SAME_K):
            return name
    return "(" + ", ".join(f"{x:.4f}" for x in kpoint) + ")"


def labelled(path: BandPath) -> list[str]:
    """For each k-point the name of its special point, or nothing."""
    found = []
    for kpoint in path.kpoints:
        names = [
            name
            for name, special in path.special.items()
            if np.allclose(kpoint, special, atol=1e-6)
        ]
        found.append(names[0] if names else "")
    return found


def _triple(row: FloatArray) -> KPoint:
    a, b, c = (round(float(x), 10) + 0.0 for x in row)
    return a, b, c
