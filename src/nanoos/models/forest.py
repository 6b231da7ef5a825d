"""Random forests on composition and cell, as ``nanoos train`` makes them and checkpoints keep."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.features.composition import composition_statistics
from nanoos.models.trees import TreeEnsemble
from nanoos.structures import Structure
from nanoos.structures.elements import ATOMIC_MASSES

if TYPE_CHECKING:
    from nanoos.models.checkpoints import Checkpoint

FloatArray = npt.NDArray[np.float64]

FAMILY: Final = "RandomForest"
_G_CM3_PER_U_A3: Final = 1.66053906660
_CELL: Final = (
    "volume_per_atom_a3",
    "density_g_cm3",
    "log_n_sites",
    "shortest_edge",
    "middle_edge",
    "longest_edge",
    "smallest_angle_deg",
    "middle_angle_deg",
    "largest_angle_deg",
)
"""Edges are in units of the cube root of the cell's volume."""


def forest_descriptors(structures: Iterable[Structure]) -> tuple[tuple[str, ...], FloatArray]:
    """Names of the columns, and (n_structures, n_columns): element statistics, then the cell.

    Raises:
        InvalidInputError: an element beyond Lr.
    """
    rows, compositions = [], []
    for structure in structures:
        compositions.append(structure.composition)
        rows.append(_cell_row(structure))
    table = composition_statistics(compositions)
    return (*table.names, *_CELL), np.concatenate([table.values, np.array(rows)], axis=1)


def _cell_row(structure: Structure) -> list[float]:
    volume, lattice = structure.volume, structure.lattice
    mass_u = sum(ATOMIC_MASSES[symbol] for symbol in structure.species)
    edges = np.linalg.norm(lattice, axis=1)
    cosines = [
        float(lattice[i] @ lattice[j] / (edges[i] * edges[j])) for i, j in ((1, 2), (0, 2), (0, 1))
    ]
    angles = np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))
    return [
        volume / structure.n_sites,
        mass_u * _G_CM3_PER_U_A3 / volume,
        float(np.log(structure.n_sites)),
        *(np.sort(edges) / volume ** (1 / 3)).tolist(),
        *np.sort(angles).tolist(),
    ]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forest:
    """One ensemble of trees for each target.

    Attributes:
        trees: Target to its trees, in the order of the targets.
        log10: Targets whose logarithm the trees answer.
        columns: Names of the descriptors that the trees look at.
    """

    trees: Mapping[str, TreeEnsemble]
    log10: frozenset[str]
    columns: tuple[str, ...]

    def predict(self, descriptors: FloatArray) -> FloatArray:
        """(n_structures, n_targets) in the units of the targets, from :func:`forest_descriptors`."""
        columns = [
            10.0 ** trees.predict(descriptors) if name in self.log10 else trees.predict(descriptors)
            for name, trees in self.trees.items()
        ]
        return np.stack(columns, axis=1)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All trees as arrays for a checkpoint."""
        return {
            f"{name}.{key}": array
            for name, trees in self.trees.items()
            for key, array in trees.to_arrays().items()
        }

    @classmethod
    def from_checkpoint(cls, checkpoint: "Checkpoint") -> Self:
        """The forest of a checkpoint of this family.

        Raises:
            InvalidInputError: another family, or descriptors of another version.
        """
        header = checkpoint.header
        columns = tuple(header.parameters.get("columns", ()))
        if header.family != FAMILY:
            raise InvalidInputError(f"{header.name} is a {header.family}, not a {FAMILY}.")
        arrays = {key: tensor.numpy() for key, tensor in checkpoint.members[0].items()}
        trees = {
            target.name: TreeEnsemble.from_arrays(
                {
                    key.removeprefix(f"{target.name}."): array
                    for key, array in arrays.items()
                    if key.startswith(f"{target.name}.")
                }
            )
            for target in header.targets
        }
        return cls(
            trees=trees,
            log10=frozenset(target.name for target in header.targets if target.log10),
            columns=columns,
        )
