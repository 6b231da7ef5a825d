"""Frames that LAMMPS writes: text dumps, sorted by atom."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import EngineError

FloatArray = npt.NDArray[np.float64]

_HEADER_LINES = 9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One frame in LAMMPS's frame and units.

    Attributes:
        step: Step.
        lattice: (3, 3), rows, Å.
        origin: (3,), corner of the cell, Å.
        columns: Names of the columns of ``data``.
        data: (n_atoms, n_columns), sorted by atom.
    """

    step: int
    lattice: FloatArray
    origin: FloatArray
    columns: tuple[str, ...]
    data: FloatArray

    def vectors(self, *names: str) -> FloatArray:
        """(n_atoms, 3), three columns by name."""
        return self.data[:, [self.columns.index(name) for name in names]]

    @property
    def positions(self) -> FloatArray:
        """(n_atoms, 3), unwrapped, from the corner of the cell, Å."""
        return np.asarray(self.vectors("xu", "yu", "zu") - self.origin)


class FrameStream:
    """Frames of a dump that may still be written; an unfinished one waits for its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def more(self) -> Iterator[Frame]:
        """The frames that were finished since this was last asked."""
        if not self._path.exists():
            return
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            while (frame := _frame(stream)) is not None:
                self._offset = stream.tell()
                yield frame


def read_frames(path: Path) -> Iterator[Frame]:
    """Frames of a dump; an unfinished last one, which a killed run leaves, is left out."""
    return FrameStream(path).more()


def _frame(stream: IO[bytes]) -> Frame | None:
    header = [stream.readline() for _ in range(_HEADER_LINES)]
    if not _are_whole(header):
        return None
    step, n_atoms = int(header[1]), int(header[3])
    lines = [stream.readline() for _ in range(n_atoms)]
    if not _are_whole(lines):
        return None
    columns = tuple(header[8].decode().split()[2:])
    data = np.fromstring(b"".join(lines).decode(), dtype=np.float64, sep=" ")
    lattice, origin = _box(header[4].decode(), [line.decode() for line in header[5:8]])
    return Frame(
        step=step,
        lattice=lattice,
        origin=origin,
        columns=columns,
        data=data.reshape(n_atoms, len(columns)),
    )


def _are_whole(lines: Sequence[bytes]) -> bool:
    """Every line, not the last alone: the file may grow between two of them."""
    return all(line.endswith(b"\n") for line in lines)


def _box(heading: str, bounds: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    """Lattice and corner; a tilted cell is given by the box around it."""
    rows = np.array([line.split() for line in bounds], dtype=np.float64)
    low, high = rows[:, 0].copy(), rows[:, 1].copy()
    lattice = np.zeros((3, 3))
    if "xy xz yz" in heading:
        xy, xz, yz = rows[:, 2]
        low[0] -= min(0.0, xy, xz, xy + xz)
        high[0] -= max(0.0, xy, xz, xy + xz)
        low[1] -= min(0.0, yz)
        high[1] -= max(0.0, yz)
        lattice[1, 0], lattice[2, 0], lattice[2, 1] = xy, xz, yz
    lattice[np.diag_indices(3)] = high - low
    return lattice, low


def read_parts(paths: Sequence[Path]) -> list[Frame]:
    """Frames of consecutive parts of a run; where two overlap, the later one counts."""
    frames: dict[int, Frame] = {}
    for path in paths:
        for number, frame in enumerate(read_frames(path)):
            if number == 0:
                frames = {step: kept for step, kept in frames.items() if step < frame.step}
            frames[frame.step] = frame
    return [frames[step] for step in sorted(frames)]


def read_last(path: Path) -> Frame:
    """The only frame of a file.

    Raises:
        EngineError: code ``no_result``.
    """
    try:
        return list(read_frames(path))[-1]
    except (OSError, ValueError, IndexError) as error:
        raise EngineError(
            f"The run left no complete {path.name}.", hint="See its log.", code="no_result"
        ) from error
