"""Whether published weights work here: every network is loaded and has to give a known answer."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from nanoos.core.errors import InvalidInputError

_CGCNN_ANSWERS: Final = {
    "formation-energy-per-atom": -1.96851,
    "band-gap": 4.51226,
    "efermi": 0.37186,
    "final-energy-per-atom": -3.38657,
    "bulk-moduli": 1.52077,
    "shear-moduli": 1.16737,
    "poisson-ratio": 0.28019,
    "semi-metal-classification": 0.01247,
}
"""For a distorted rock salt cell of NaCl, from networks that reproduce the published outputs."""
_TOLERANCE: Final = 2e-3


def _check_cgcnn(name: str, folder: Path) -> None:
    from nanoos.models.published_cgcnn import published_outputs
    from nanoos.structures import Structure

    question = Structure(
        lattice=np.array([[0.0, 2.5, 2.6], [2.4, 0.0, 2.6], [2.4, 2.5, 0.1]]),
        species=("Na", "Cl"),
        frac_coords=np.array([[0.0, 0.0, 0.0], [0.5, 0.52, 0.47]]),
    )
    answers = published_outputs([question], folder)
    for network, expected in _CGCNN_ANSWERS.items():
        answer = float(answers[network][0])
        if not abs(answer - expected) < _TOLERANCE:
            raise InvalidInputError(
                f"{name}: {network} gives {answer:.4f} where it must be {expected:.4f}.",
                code="weights_misread",
            )


def _check_matgl(name: str, folder: Path) -> None:
    from nanoos.potentials.matgl_networks import load_potential_network, load_property_network

    if name.endswith("-PES"):
        load_potential_network(folder, "cpu", name=name)
    else:
        load_property_network(folder, "cpu", name=name)


def _check_goldilocks(name: str, folder: Path) -> None:
    """Nothing beyond the hashes: reading a pickle runs the code in it, and nothing here does."""
    del name, folder


CHECKS: Final[Mapping[str, Callable[[str, Path], None]]] = {
    "CGCNN-2018": _check_cgcnn,
    "matgl": _check_matgl,
    "goldilocks": _check_goldilocks,
}
"""Family to what checks its sets; each raises where the weights do not work."""
