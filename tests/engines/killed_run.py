"""A run of the engine LJ that kills itself with SIGKILL at one of its evaluations.

``python killed_run.py WORK_DIR WORKFLOW_AND_PARAMETERS_JSON EVALUATION``
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nanoos.engines import get_engine
from nanoos.potentials import checkpoint
from nanoos.potentials.lennard_jones import LennardJones
from nanoos.structures import Structure


def crystal() -> Structure:
    """Eight atoms without symmetry, away from their minimum."""
    rng = np.random.default_rng(5)
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) / 2
    return Structure(
        lattice=5.6 * np.eye(3) + rng.normal(scale=0.08, size=(3, 3)),
        species=("Mg", "O", "O", "Mg", "O", "Mg", "Mg", "O"),
        frac_coords=corners + rng.normal(scale=0.015, size=(8, 3)),
    )


@contextmanager
def watched(seen: Callable[[list[str]], None]) -> Iterator[None]:
    """Tell of the structures of every evaluation before it is made; save after each."""
    compute, share = LennardJones.compute, checkpoint.MOST_TIME_SHARE

    def telling(self, structures, **options):
        seen([structure.content_hash for structure in structures])
        return compute(self, structures, **options)

    LennardJones.compute = telling
    checkpoint.MOST_TIME_SHARE = float("inf")
    try:
        yield
    finally:
        LennardJones.compute, checkpoint.MOST_TIME_SHARE = compute, share


if __name__ == "__main__":
    work_dir, parameters, last = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
    made = 0

    def die_at_the_last(_: list[str]) -> None:
        global made  # noqa: PLW0603
        made += 1
        if made == last:
            os.kill(os.getpid(), signal.SIGKILL)

    with watched(die_at_the_last):
        get_engine("LJ")().run(crystal(), parameters, work_dir)
