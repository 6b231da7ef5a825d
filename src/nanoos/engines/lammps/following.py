"""The trajectory of a run, taken up while it is written.

Converting frames and counting pairs costs a few per cent of a run with a cheap potential. It is
done on the frames as they come, while this process has nothing else to do, so that the result
is there when the run is.
"""

import time
from pathlib import Path
from typing import IO, Final

import numpy as np

from nanoos.engines.analysis import PairCounts, Trajectory
from nanoos.engines.analysis.rdf import MAX_FRAMES
from nanoos.engines.analysis.trajectory import UNWRAPPED_FLAG
from nanoos.engines.lammps.cell import LammpsCell
from nanoos.engines.lammps.conventions import UnitSystem
from nanoos.engines.lammps.dumps import Frame, FrameStream, read_frames
from nanoos.engines.lammps.parameters import DynamicsParameters, LammpsParameters
from nanoos.structures.structure import FloatArray

TRAJECTORY_FILE: Final = "trajectory.extxyz"
_AT_ONCE_S: Final = 0.2
"""Of work in one call: a cancellation must not wait for more."""


class TrajectoryFollower:
    """Frames in the structure's own frame and our units, written as extended XYZ.

    Args:
        folder: Output folder.
        species: Element of each atom.
        cell: The way back to the structure's own frame.
        units: Unit system of the dump.
        parameters: Of the workflow.
    """

    def __init__(
        self,
        folder: Path,
        species: tuple[str, ...],
        *,
        cell: LammpsCell,
        units: UnitSystem,
        parameters: LammpsParameters,
    ) -> None:
        self._folder = folder
        self._species = species
        self._cell = cell
        self._units = units
        self._dynamics = parameters if isinstance(parameters, DynamicsParameters) else None
        self.counts: PairCounts | None = None
        self._stride = 1
        if self._dynamics is not None and "rdf" in self._dynamics.analysis:
            kept = (self._dynamics.num_steps - self._dynamics.equilibration) // (
                self._dynamics.dump_every
            )
            self._stride = max(1, kept // MAX_FRAMES)
            self.counts = PairCounts(species, r_max_a=self._dynamics.rdf_cutoff)
        self._steps: list[int] = []
        self._cells: list[FloatArray] = []
        self._columns: list[tuple[FloatArray, ...]] = []
        self._next: Frame | None = None
        self._kept = 0
        width = 9 if self._dynamics is not None else 6
        line = " %.8g" * width + "\n"
        self._body = "".join(element + line for element in species)
        self._stream: FrameStream | None = None

    def begin(self, earlier: list[Path], current: Path, *, step: int) -> None:
        """Take up the frames of earlier parts, and follow the present one, from ``step`` on.

        Each part ends where a later one began: what it did beyond was done anew.
        """
        (self._folder / TRAJECTORY_FILE).write_text("", encoding="utf-8")
        ends = [step]
        for path in reversed(earlier[1:]):
            first = next(read_frames(path), None)
            ends.append(ends[-1] if first is None else min(ends[-1], first.step))
        for path, end in zip(earlier, reversed(ends), strict=False):
            for frame in read_frames(path):
                if frame.step < end:
                    self._take(frame, None)
        self._stream = FrameStream(current)

    def poll(self, energies: dict[int, float], *, last_step: int, finished: bool = False) -> bool:
        """Take up new frames, for a fifth of a second.

        Args:
            energies: Step to potential energy, in the units of the log.
            last_step: The last step in the log: the energy of a later frame is still to come.
            finished: The log is whole, no more energies will come.

        Returns:
            Whether there may be more.
        """
        if self._stream is None:
            return False
        until = time.monotonic() + _AT_ONCE_S
        frames = self._stream.more()
        while True:
            self._next = self._next or next(frames, None)
            if self._next is None or not (finished or self._next.step <= last_step):
                return False
            self._take(self._next, energies.get(self._next.step))
            self._next = None
            if time.monotonic() > until:
                return True

    def _take(self, frame: Frame, energy: float | None) -> None:
        if self._steps and frame.step <= self._steps[-1]:
            return  # a minimisation in cycles writes their ends twice
        with (self._folder / TRAJECTORY_FILE).open("a", encoding="utf-8") as stream:
            self._add(frame, energy, stream)

    def _add(self, frame: Frame, energy: float | None, stream: IO[str]) -> None:
        back, units = self._cell.back, self._units
        lattice, positions = back(frame.lattice), back(frame.positions)
        columns = [positions]
        if self._dynamics is not None:
            columns.append(back(frame.vectors("vx", "vy", "vz")) * units.velocity_a_fs)
        columns.append(back(frame.vectors("fx", "fy", "fz")) * units.energy_ev)
        self._steps.append(frame.step)
        self._cells.append(lattice)
        self._columns.append(tuple(columns))
        stream.write(self._heading(frame.step, lattice, energy))
        stream.write(self._body % tuple(np.concatenate(columns, axis=1).ravel().tolist()))
        equilibration = 0 if self._dynamics is None else self._dynamics.equilibration
        if self.counts is not None and frame.step >= equilibration:
            if self._kept % self._stride == 0:
                self.counts.add(lattice, positions)
            self._kept += 1

    def _heading(self, step: int, lattice: FloatArray, energy: float | None) -> str:
        vectors = " ".join(f"{value:.10g}" for value in lattice.ravel())
        properties = "species:S:1:pos:R:3"
        when = f"step={step}"
        if self._dynamics is not None:
            properties += ":velocities:R:3"
            when = f"time_fs={step * self._dynamics.timestep:.10g}"
        words = f'Lattice="{vectors}" Properties={properties}:forces:R:3 pbc="T T T" {when}'
        words += f" {UNWRAPPED_FLAG}=T"
        if energy is not None:
            words += f" energy={energy * self._units.energy_ev:.12g}"
        return f"{len(self._species)}\n{words}\n"

    def trajectory(self) -> Trajectory:
        """All frames so far."""
        n = len(self._steps)
        shape = (n, len(self._species), 3)
        timestep = 1.0 if self._dynamics is None else self._dynamics.timestep
        stacked = [np.array(part).reshape(shape) for part in zip(*self._columns, strict=True)] or [
            np.zeros(shape)
        ] * 2
        return Trajectory(
            species=self._species,
            times_fs=np.array(self._steps, dtype=np.float64) * timestep,
            cells=np.array(self._cells).reshape(n, 3, 3),
            positions=stacked[0],
            velocities=stacked[1] if self._dynamics is not None else None,
            forces=stacked[-1],
        )
