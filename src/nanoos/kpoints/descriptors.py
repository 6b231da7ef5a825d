"""What the forest looks at: elements, electrons, cell, symmetry, and meshes of usual lengths.

Nothing here loads PyTorch or the tables of pymatgen: a first answer takes less than a second.
The table of the elements comes with the model.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.models.conformal import FloatArray
from nanoos.structures import Structure
from nanoos.structures.symmetry import symmetry_dataset

ELEMENT_COLUMNS: Final = (
    "electronegativity",
    "mass_u",
    "atomic_radius_a",
    "group",
    "period",
    "melting_point_k",
    "valence_s",
    "valence_p",
    "valence_d",
    "valence_f",
    "valence",
    "mendeleev_number",
    "electron_affinity_ev",
    "ionization_energy_ev",
    "molar_volume_cm3",
    "bulk_modulus_gpa",
    "boiling_point_k",
    "thermal_conductivity",
    "electrical_resistivity",
)
STATISTICS: Final = ("mean", "min", "max", "std")
MESH_LENGTHS_A: Final = tuple(range(10, 121, 10))

_VALENCE: Final = ELEMENT_COLUMNS.index("valence")
_CELL_COLUMNS: Final = (
    "largest_fraction",
    "smallest_fraction",
    "n_elements",
    *(f"{rank}_reciprocal_edge" for rank in ("shortest", "middle", "longest")),
    *(f"{rank}_height_a" for rank in ("largest", "middle", "smallest")),
    *(f"{rank}_edge_a" for rank in ("shortest", "middle", "longest")),
    *(f"{rank}_angle_deg" for rank in ("smallest", "middle", "largest")),
    "volume_a3",
    "volume_per_atom_a3",
    "log_n_sites",
    "valence_electrons",
    "valence_electrons_odd",
    "valence_electrons_per_atom",
    "edge_ratio",
    "reciprocal_edge_ratio",
    "space_group",
    "point_group_order",
    "primitive_sites",
    "n_symmetry_operations",
    "n_orbits",
    "orbits_per_site",
    *(f"log_points_{length}" for length in MESH_LENGTHS_A),
)
COLUMNS: Final = (
    *(f"{stat}_{name}" for stat in STATISTICS for name in ELEMENT_COLUMNS),
    *_CELL_COLUMNS,
)
"""Names of the columns of :func:`kpoint_descriptors`; electrons are those of the primitive cell."""


def kpoint_descriptors(structures: Sequence[Structure], elements: npt.ArrayLike) -> FloatArray:
    """(n_structures, len(COLUMNS)), finite.

    Args:
        structures: As they are; nothing is relaxed or reduced.
        elements: (n_elements, len(ELEMENT_COLUMNS)), by atomic number; row 0 is unused.

    Raises:
        InvalidInputError: an element that the table has no row for; code ``unknown_element``.
        StructureRefusedError: no symmetry is found.
    """
    table = np.asarray(elements, dtype=np.float64)
    rows = [_row(structure, table) for structure in structures]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(COLUMNS))


def _row(structure: Structure, table: FloatArray) -> list[float]:
    numbers, counts = np.unique(structure.atomic_numbers, return_counts=True)
    if numbers.max() >= len(table):
        raise InvalidInputError(
            f"{structure.formula}: no k-point model knows its heaviest element.",
            hint="The models cover H to Lr.",
            code="unknown_element",
        )
    shares, data = counts / counts.sum(), table[numbers]
    mean = shares @ data
    std = np.sqrt(shares @ (data - mean) ** 2)
    symmetry = _symmetry(structure)
    electrons = float(counts @ data[:, _VALENCE]) * symmetry["primitive_sites"] / counts.sum()
    return [
        *mean,
        *data.min(axis=0),
        *data.max(axis=0),
        *std,
        float(shares.max()),
        float(shares.min()),
        len(numbers),
        *_cell(structure),
        electrons,
        float(round(electrons) % 2),
        electrons / symmetry["primitive_sites"],
        *_ratios(structure),
        *symmetry.values(),
        *_log_points(structure),
    ]


def _inverse_heights(structure: Structure) -> FloatArray:
    """(3,), ascending, lengths of the reciprocal vectors without the 2π, Å^-1."""
    return np.asarray(np.sort(np.linalg.norm(np.linalg.inv(structure.lattice).T, axis=1)))


def _cell(structure: Structure) -> list[float]:
    reciprocal = _inverse_heights(structure)
    return [
        *reciprocal,
        *(1.0 / reciprocal),
        *sorted(structure.lengths),
        *sorted(structure.angles),
        structure.volume,
        structure.volume / structure.n_sites,
        float(np.log(structure.n_sites)),
    ]


def _ratios(structure: Structure) -> list[float]:
    edges, reciprocal = sorted(structure.lengths), _inverse_heights(structure)
    return [edges[2] / edges[0], float(reciprocal[2] / reciprocal[0])]


def _log_points(structure: Structure) -> list[float]:
    """Logarithm of the points of the automatic meshes of some lengths, rounded as VASP rounds."""
    steps = np.array(MESH_LENGTHS_A)[:, None] * _inverse_heights(structure)
    points = np.maximum(1, (steps + 0.5).astype(np.int64)).prod(axis=1)
    return np.log(points).tolist()  # type: ignore[no-any-return]


def _symmetry(structure: Structure) -> dict[str, float]:
    """Numbers of the space group; a cell in which none is found counts as without symmetry."""
    found = symmetry_dataset(structure)
    if found is None:
        operations, orbits, sites = 1, structure.n_sites, structure.n_sites
        order, number = 1, 1
    else:
        operations = len(found.rotations)
        order = len({tuple(rotation.ravel()) for rotation in found.rotations})
        orbits = len(np.unique(found.equivalent_atoms))
        sites = len(np.unique(found.mapping_to_primitive))
        number = int(found.number)
    return {
        "space_group": float(number),
        "point_group_order": float(order),
        "primitive_sites": float(sites),
        "n_symmetry_operations": float(operations),
        "n_orbits": float(orbits),
        "orbits_per_site": orbits / sites,
    }
