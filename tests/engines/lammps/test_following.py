"""The trajectory of a run that was taken up again, from the dumps of its parts."""

import numpy as np
import pytest

from nanoos.engines.analysis import read_trajectory
from nanoos.engines.lammps.cell import lammps_cell
from nanoos.engines.lammps.conventions import METAL
from nanoos.engines.lammps.following import TRAJECTORY_FILE, TrajectoryFollower
from nanoos.engines.lammps.parameters import NVTParameters

FRAME = """ITEM: TIMESTEP
{step}
ITEM: NUMBER OF ATOMS
1
ITEM: BOX BOUNDS pp pp pp
0.0 9.0
0.0 9.0
0.0 9.0
ITEM: ATOMS id xu yu zu vx vy vz fx fy fz
1 {x} 0 0 0 0 0 0 0 0
"""


def follow(folder, parts, step):
    """Frames of dumps, each with its number as the atom's x; ``step``: where the last began."""
    paths = []
    for number, steps in enumerate(parts):
        path = folder / f"trajectory.{number}.lammpstrj"
        if steps:
            path.write_text("".join(FRAME.format(step=at, x=7 * number) for at in steps))
        paths.append(path)
    follower = TrajectoryFollower(
        folder,
        ("Ar",),
        cell=lammps_cell(9.0 * np.eye(3)),
        units=METAL,
        parameters=NVTParameters(potential="lj/cut", analysis=()),
    )
    follower.begin(paths[:-1], paths[-1], step=step)
    while follower.poll({}, last_step=0, finished=True):
        pass
    return follower


@pytest.mark.parametrize(
    ("parts", "step", "expected"),
    [
        ([range(0, 2000, 100), range(1000, 2600, 100), range(2000, 3001, 100)], 2000, (10, 10, 11)),
        ([range(0, 2000, 100), range(1000, 1700, 100), range(1000, 3001, 100)], 1000, (10, 0, 21)),
        ([range(0, 2000, 100), (), range(1000, 3001, 100)], 1000, (10, 0, 21)),
        ([range(0, 3001, 100)], 0, (31,)),
    ],
    ids=["twice", "twice-from-one-restart", "a-part-without-frames", "whole"],
)
def test_a_later_part_counts_where_two_overlap(tmp_path, parts, step, expected):
    run = follow(tmp_path, parts, step).trajectory()
    assert run.times_fs.tolist() == list(range(0, 3001, 100))
    numbers = [number for number, count in enumerate(expected) for _ in range(count)]
    assert (run.positions[:, 0, 0] / 7).tolist() == numbers


def test_the_file_says_that_its_positions_are_unwrapped(tmp_path):
    follow(tmp_path, [range(0, 200, 100), range(200, 301, 100)], 200)
    read = read_trajectory(tmp_path / TRAJECTORY_FILE)
    assert read.positions[:, 0, 0].tolist() == [0, 0, 7, 7], "7 of 9 Å is no crossing"
