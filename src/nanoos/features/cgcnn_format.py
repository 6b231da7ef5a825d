"""A crystal graph as the published CGCNN takes it: dense rows of a fixed number of neighbours."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.features.graph import CrystalGraph

_STEP_A: Final = 0.2
_LAST_CENTRE_A: Final = 8.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CgcnnFormat:
    """What the published CGCNN calls ``atom_fea, nbr_fea, nbr_fea_idx``, and the distances.

    Attributes:
        atomic_numbers: (n_atoms,); index of the element's row in the published ``atom_init.json``.
        neighbor_index: (n_atoms, max_neighbors), atom index, the nearest first.
        distances: (n_atoms, max_neighbors), Å, ascending.
        distance_features: (n_atoms, max_neighbors, 41), float32: Gaussians of the distance, centred
            at 0, 0.2, ... 8 Å, exp(-(d - centre)^2 / 0.2^2).
    """

    atomic_numbers: npt.NDArray[np.int64]
    neighbor_index: npt.NDArray[np.int64]
    distances: npt.NDArray[np.float64]
    distance_features: npt.NDArray[np.float32]


def features_to_cgcnn_format(graph: CrystalGraph, max_neighbors: int = 12) -> CgcnnFormat:
    """The nearest ``max_neighbors`` neighbours of each atom as dense arrays.

    Ref: DOI 10.1103/PhysRevLett.120.145301.

    Args:
        graph: With enough neighbours of each atom; CGCNN takes the 12 nearest within 8 Å.
        max_neighbors: Neighbours of each atom.

    Raises:
        InvalidInputError: code ``graph_too_short``; an atom has fewer neighbours in this graph.
            Padding them would tell the network of a surface that is not there.
    """
    if max_neighbors < 1:
        raise InvalidInputError(f"{max_neighbors} neighbours were asked for.", hint="Give 12.")
    degrees = graph.coordination
    lacking = np.flatnonzero(degrees < max_neighbors)
    if len(lacking):
        raise InvalidInputError(
            f"The graph is cut too short: {len(lacking)} of {graph.n_atoms} atoms have fewer than "
            f"{max_neighbors} neighbours (first: atom {lacking[0]} has {degrees[lacking[0]]}); "
            f"it holds {_extent(graph)}.",
            hint="Extract with cutoff_radius=8 and max_neighbors=None; "
            "a crystal that lacks neighbours even so is not one for CGCNN.",
            details={"atoms": lacking[:20].tolist(), "cutoff_a": graph.cutoff_radius},
            code="graph_too_short",
        )
    starts = np.cumsum(degrees) - degrees
    rows = starts[:, None] + np.arange(max_neighbors)
    distances = graph.distances[rows]
    centres = np.arange(0.0, _LAST_CENTRE_A + _STEP_A / 2, _STEP_A)
    gaussians = np.exp(-(((distances[..., None] - centres) / _STEP_A) ** 2))
    return CgcnnFormat(
        atomic_numbers=graph.atomic_numbers,
        neighbor_index=graph.targets[rows],
        distances=distances,
        distance_features=gaussians.astype(np.float32),
    )


def _extent(graph: CrystalGraph) -> str:
    nearest = "all" if graph.max_neighbors is None else f"the nearest {graph.max_neighbors}"
    return f"{nearest} within {graph.cutoff_radius:g} Å"
