"""Adding MACE weights: a model file becomes a set of weights like any other."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nanoos.core.errors import ConflictError
from nanoos.models.store import NewWeights, add_weights
from nanoos.potentials.installed_weights import InstalledWeights, find_weights
from nanoos.potentials.mace import WEIGHTS, MACECard, check_weights, convert_model_file
from nanoos.potentials.weights import file_sha256

UNSTATED_LICENSE: Final = "not stated"


def add_mace_model(
    file: Path,
    card: MACECard,
    *,
    license_: str = UNSTATED_LICENSE,
    progress: Callable[[float, str], None] | None = None,
) -> InstalledWeights:
    """Convert a MACE ``.model`` file, **which runs the code in it**, and add what came out.

    The code runs in the process of the tool MACE, with the rights of the user.

    Args:
        file: A model file that its user trusts.
        card: What its numbers mean.
        license_: SPDX identifier of the weights.
        progress: Told (fraction, what is done).

    Raises:
        ConflictError: there are MACE weights already.
        InvalidInputError: no such file, or no such read-out.
        UnavailableError: the tool is not installed, or the folder of weights cannot be written.
        ToolError: the file holds no model that can be used.
    """
    if find_weights(WEIGHTS) is not None:  # said before the file's code runs
        raise ConflictError(
            "MACE weights are on this machine already.",
            hint=f"To replace them: nanoos models remove {WEIGHTS}",
            code="weights_exist",
        )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        names = convert_model_file(file, folder, card, progress=progress)
        return add_weights(
            NewWeights(
                name=WEIGHTS,
                family="MACE",
                files={name: folder / name for name in names},
                license=license_,
                source=f"{file.name}, SHA-256 {file_sha256(file)}, version {card.version}",
                check=check_weights,
            )
        )
