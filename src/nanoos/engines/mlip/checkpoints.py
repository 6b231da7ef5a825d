"""Where a workflow keeps what it has done, for the attempt after one that was killed."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nanoos.engines.mlip.parameters import MLIPParameters
from nanoos.potentials import Potential
from nanoos.potentials.checkpoint import Checkpoint
from nanoos.structures import Structure

CHECKPOINTS: Final = ".checkpoint"
"""In the output folder while a run is not finished: hidden, so no part of what it leaves."""


def checkpoint(
    folder: Path,
    stage: str,
    potential: Potential,
    parameters: MLIPParameters,
    structures: Sequence[Structure],
) -> Checkpoint:
    """The checkpoint of a stage, which is of this potential, these parameters and structures."""
    work = [
        stage,
        potential.name,
        potential.version,
        potential.weights_sha256,
        parameters.model_dump(mode="json"),
        [structure.content_hash for structure in structures],
    ]
    digest = hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()
    return Checkpoint(folder / CHECKPOINTS / f"{stage}.npz", digest)


def clear_checkpoints(folder: Path) -> None:
    """Remove what a finished run no longer needs."""
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
