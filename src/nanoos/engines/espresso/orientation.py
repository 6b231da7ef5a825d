"""The crystal turned to where pw.x sees its symmetry.

pw.x looks for the rotations of a crystal among 32 fixed matrices, those of a cube along the axes and
those of a hexagon about z (PW/src/symm_base.f90). A primitive cell as it is read from a file of lengths
and angles, its third vector along z, shows it 4 of the 48 operations of rock salt, and pw.x computes
six times as many k-points as are needed. What is computed does not depend on the orientation, so it is chosen here,
and what comes out is turned back into the axes of the structure given.
"""

from dataclasses import dataclass, replace
from functools import cache
from itertools import permutations, product
from typing import Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.engines.espresso.plan import Finding
from nanoos.engines.espresso.stage_run import StageResult
from nanoos.engines.espresso.stdout import IonicStep
from nanoos.structures import Structure
from nanoos.structures.symmetry import symmetry_dataset

FloatArray = npt.NDArray[np.float64]

_SAME: Final = 1e-4
"""Elements of a rotation matrix closer than this are equal."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Orientation:
    """How a crystal is turned for pw.x.

    Attributes:
        rotation: (3, 3), proper; ``v_pw = v @ rotation`` and ``v = v_pw @ rotation.T``.
        operations: Rotations that pw.x can see, of the cell as turned.
        operations_before: The same of the cell as given.
    """

    rotation: FloatArray
    operations: int
    operations_before: int

    @property
    def turned(self) -> bool:
        """Whether the crystal is turned at all."""
        return self.operations > self.operations_before

    def reasons(self) -> dict[str, str]:
        """Why it is turned, under the name of that choice; empty where it is not."""
        if not self.turned:
            return {}
        return {
            "orientation": f"turned, so that pw.x sees {self.operations} rotations and not "
            f"{self.operations_before}; results are in the axes of the structure given"
        }

    def to_pw(self, structure: Structure) -> Structure:
        """The crystal as pw.x gets it."""
        if not self.turned:
            return structure
        return structure.with_lattice(structure.lattice @ self.rotation)

    def back(self, finding: Finding) -> Finding:
        """What was found, in the axes of the structure given."""
        if not self.turned:
            return finding
        return replace(
            finding,
            final=self._stage_back(finding.final),
            stages=tuple(self._stage_back(stage) for stage in finding.stages),
        )

    def _stage_back(self, stage: StageResult) -> StageResult:
        xml = replace(
            stage.xml,
            lattice=self._vectors(stage.xml.lattice),
            forces=None if stage.xml.forces is None else self._vectors(stage.xml.forces),
            stress=None if stage.xml.stress is None else self._tensor(stage.xml.stress),
        )
        structure = stage.structure.with_lattice(self._vectors(stage.structure.lattice))
        steps = tuple(self._step_back(step) for step in stage.steps)
        return replace(stage, xml=xml, structure=structure, steps=steps)

    def _step_back(self, step: IonicStep) -> IonicStep:
        return replace(
            step,
            lattice=self._vectors(step.lattice),
            forces=None if step.forces is None else self._vectors(step.forces),
            stress=None if step.stress is None else self._tensor(step.stress),
        )

    def _vectors(self, vectors: FloatArray) -> FloatArray:
        return np.asarray(vectors @ self.rotation.T)

    def _tensor(self, tensor: FloatArray) -> FloatArray:
        return np.asarray(self.rotation @ tensor @ self.rotation.T)


def check_plane(structure: Structure) -> None:
    """Refuse a cell whose plane is not that of x and y, which ``2Dxy`` relaxes.

    Raises:
        InvalidInputError: code ``plane_not_xy``.
    """
    a, b, c = structure.lattice / np.linalg.norm(structure.lattice, axis=1)[:, None]
    if max(abs(a[2]), abs(b[2]), abs(c[0]), abs(c[1])) > _SAME:
        raise InvalidInputError(
            "2Dxy relaxes a and b in the plane of x and y, and this cell has them elsewhere, or its c "
            "not along z.",
            hint="Turn the layer: a and b in the plane, the vacuum along c and z.",
            code="plane_not_xy",
        )


def orientation(structure: Structure, *, keep: bool = False) -> Orientation:
    """The standard orientation of the lattice where that shows pw.x more, else the one given.

    Args:
        structure: The crystal.
        keep: Leave it as it is given, because its axes have a meaning.

    Ref: the standard orientation is spglib's, DOI 10.1080/27660400.2024.2384822.
    """
    found = symmetry_dataset(structure)
    as_given = Orientation(rotation=np.eye(3), operations=1, operations_before=1)
    if found is None or keep:
        return as_given
    columns = structure.lattice.T
    rotations = columns @ found.rotations @ np.linalg.inv(columns)
    u, _, v = np.linalg.svd(np.asarray(found.std_rotation_matrix))
    standard = u @ v  # of a cell that is only nearly symmetric, the nearest rotation
    if np.linalg.det(standard) < 0:
        return as_given
    return Orientation(
        rotation=standard.T,
        operations=_seen(standard @ rotations @ standard.T),
        operations_before=_seen(rotations),
    )


def _seen(rotations: FloatArray) -> int:
    """How many of (n, 3, 3) Cartesian rotations, proper or not, pw.x can find."""
    proper = rotations * np.sign(np.linalg.det(rotations))[:, None, None]
    apart = np.abs(proper[:, None] - _known()[None]).max(axis=(2, 3))
    return int((apart.min(axis=1) < _SAME).sum())


@cache
def _known() -> FloatArray:
    """(32, 3, 3), the proper rotations of a cube along the axes and of a hexagon about z."""
    cube = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            matrix = np.eye(3)[list(order)] * np.array(signs)[:, None]
            if np.linalg.det(matrix) > 0:
                cube.append(matrix)
    hexagon = []
    for turn in (60, 120, 240, 300):
        c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        hexagon.append(np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]))
        hexagon.append(np.array([[c, s, 0.0], [s, -c, 0.0], [0.0, 0.0, -1.0]]))
    return np.array(cube + hexagon)
