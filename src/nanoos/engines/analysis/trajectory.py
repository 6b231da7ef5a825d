"""The motion of atoms as arrays, and reading it from a file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError

FloatArray = npt.NDArray[np.float64]

UNWRAPPED_FLAG: Final = "unwrapped"
"""In the heading of a frame: atoms that leave the cell go on outside it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trajectory:
    """Frames of one set of atoms, always in the same order.

    Attributes:
        species: Element of each atom.
        times_fs: (n_frames,), ascending, fs.
        cells: (n_frames, 3, 3), rows are the lattice vectors, Å.
        positions: (n_frames, n_atoms, 3), Cartesian, Å, unwrapped: an atom that leaves the cell
            goes on outside it.
        velocities: (n_frames, n_atoms, 3), Å/fs, or None.
        forces: (n_frames, n_atoms, 3), eV/Å, or None.
        crossings_guessed: Whether jumps of more than half a cell were taken for crossings of its
            boundary.
    """

    species: tuple[str, ...]
    times_fs: FloatArray
    cells: FloatArray
    positions: FloatArray
    velocities: FloatArray | None = None
    forces: FloatArray | None = None
    crossings_guessed: bool = False

    @property
    def n_frames(self) -> int:
        """How many frames there are."""
        return len(self.times_fs)

    @property
    def n_atoms(self) -> int:
        """How many atoms there are."""
        return len(self.species)

    @property
    def elements(self) -> tuple[str, ...]:
        """The distinct elements, in order of first appearance."""
        return tuple(dict.fromkeys(self.species))

    def of(self, element: str) -> npt.NDArray[np.int64]:
        """Indices of the atoms of an element."""
        return np.flatnonzero(np.array(self.species) == element)

    def at(self, frames: Any) -> "Trajectory":
        """The frames at an index array, a mask or a slice."""
        return replace(
            self,
            times_fs=self.times_fs[frames],
            cells=self.cells[frames],
            positions=self.positions[frames],
            velocities=None if self.velocities is None else self.velocities[frames],
            forces=None if self.forces is None else self.forces[frames],
        )

    def after(self, time_fs: float) -> "Trajectory":
        """The frames from a time on."""
        return self.at(self.times_fs >= time_fs - 1e-9)

    def without_drift(self) -> FloatArray:
        """(n_frames, n_atoms, 3), positions with the centre of mass at rest, Å."""
        from nanoos.structures.elements import ATOMIC_MASSES

        masses = np.array([ATOMIC_MASSES[element] for element in self.species])
        centre = np.einsum("fai,a->fi", self.positions, masses) / masses.sum()
        return np.asarray(self.positions - (centre - centre[0])[:, None, :])

    def largest_step(self) -> float:
        """From frame to frame, of the fastest atom: root mean square, as share of the cell."""
        if self.n_frames < 2:  # noqa: PLR2004
            return 0.0
        steps = np.diff(_fractional(self.positions, self.cells), axis=0)
        return float(np.sqrt(np.einsum("fai,fai->ai", steps, steps).max() / len(steps)))


def uniform_step_fs(trajectory: Trajectory) -> float:
    """The time between two frames, fs.

    Raises:
        InvalidInputError: code ``uneven_frames``; fewer than two frames, or uneven times.
    """
    steps = np.diff(trajectory.times_fs)
    if len(steps) == 0 or steps.min() <= 0 or not np.allclose(steps, steps[0], rtol=1e-6):
        raise InvalidInputError(
            "Correlations in time need at least two frames at even intervals.",
            hint="Write the trajectory with one interval, and begin after the equilibration.",
            code="uneven_frames",
        )
    return float(steps[0])


def read_trajectory(path: Path, *, interval_fs: float | None = None) -> Trajectory:
    """Read frames from extended XYZ or any format that ASE knows.

    Times are those of the file (``time_fs`` of each frame) unless an interval is given.
    Positions that jump by more than half a cell are taken to have crossed its boundary, unless
    every frame says that it is ``unwrapped``, as those of the engines do.

    Raises:
        InvalidInputError: unreadable, atoms that change, or no times and no interval.
    """
    from ase.io import read

    try:
        frames: Any = read(path, index=":")
    except Exception as error:
        raise InvalidInputError(
            f"{path.name} is no trajectory that can be read: {error}.",
            hint="Give extended XYZ or another format that ASE reads.",
            code="unreadable_trajectory",
        ) from error
    if not frames or len(frames[0]) == 0:
        raise InvalidInputError(
            f"{path.name} holds no atoms.",
            hint="The run may have ended before its first frame.",
            code="unreadable_trajectory",
        )
    species = tuple(frames[0].get_chemical_symbols())
    if any(tuple(frame.get_chemical_symbols()) != species for frame in frames):
        raise InvalidInputError(
            f"The atoms of {path.name} change from frame to frame.",
            hint="Analysis follows the same atoms, in the same order, through all frames.",
            code="changing_atoms",
        )
    velocities = None
    if all("velocities" in frame.arrays for frame in frames):
        velocities = np.array([frame.arrays["velocities"] for frame in frames])
    cells = np.array([frame.cell.array for frame in frames], dtype=np.float64)
    positions = np.array([frame.positions for frame in frames], dtype=np.float64)
    times = _times(frames, path, interval_fs)
    numbers = [cells, positions, times, *([] if velocities is None else [velocities])]
    if not all(np.isfinite(values).all() for values in numbers):
        raise InvalidInputError(
            f"{path.name} has numbers that are not finite.",
            hint="The run blew up or the file is damaged: look at its last frames.",
            code="unreadable_trajectory",
        )
    if np.any(np.abs(np.linalg.det(cells)) < 1e-6):  # noqa: PLR2004  Å^3
        raise InvalidInputError(
            f"{path.name} has frames without a periodic cell.",
            hint="The analysis is for periodic systems.",
            code="no_cell",
        )
    known = all(frame.info.get(UNWRAPPED_FLAG) is True for frame in frames)
    return Trajectory(
        species=species,
        times_fs=times,
        cells=cells,
        positions=positions if known else unwrapped(positions, cells),
        velocities=velocities,
        crossings_guessed=not known,
    )


def _times(frames: Sequence[Any], path: Path, interval_fs: float | None) -> FloatArray:
    if interval_fs is not None:
        return interval_fs * np.arange(len(frames), dtype=np.float64)
    if all("time_fs" in frame.info for frame in frames):
        return np.array([frame.info["time_fs"] for frame in frames], dtype=np.float64)
    raise InvalidInputError(
        f"{path.name} does not say at what time its frames are.",
        hint="Give the time between two frames in fs: --interval.",
        code="no_times",
    )


def unwrapped(positions: FloatArray, cells: FloatArray) -> FloatArray:
    """Positions followed across the boundaries of the cell.

    Right as long as no atom moves by half a cell between two frames; a cell that changes shape
    or size is followed in fractional coordinates.

    Args:
        positions: (n_frames, n_atoms, 3), Å, wrapped or not.
        cells: (n_frames, 3, 3), Å.
    """
    fractional = _fractional(positions, cells)
    jumps = np.rint(np.diff(fractional, axis=0))
    if not jumps.any():
        return positions
    fractional[1:] -= np.cumsum(jumps, axis=0)
    return np.asarray(np.einsum("fai,fij->faj", fractional, cells))


def _fractional(positions: FloatArray, cells: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("fai,fij->faj", positions, np.linalg.inv(cells)))
