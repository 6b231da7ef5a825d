"""Crystal structures: the value, files, symmetry, prototypes."""

from nanoos.structures.checks import check_structure
from nanoos.structures.dimensionality import dimensionality
from nanoos.structures.io import (
    ReadLimits,
    ReadOutcome,
    export_bytes,
    iter_paths,
    iter_structures,
    read_structure,
    read_structure_from_bytes,
    read_structures_from_bytes,
    write_structures,
)
from nanoos.structures.matching import duplicate_key, find_duplicate
from nanoos.structures.structure import Structure, reduced_formula
from nanoos.structures.symmetry import (
    SymmetryInfo,
    analyze_symmetry,
    conventional_cell,
    primitive_cell,
)

__all__ = [
    "ReadLimits",
    "ReadOutcome",
    "Structure",
    "SymmetryInfo",
    "analyze_symmetry",
    "check_structure",
    "conventional_cell",
    "dimensionality",
    "duplicate_key",
    "export_bytes",
    "find_duplicate",
    "iter_paths",
    "iter_structures",
    "primitive_cell",
    "read_structure",
    "read_structure_from_bytes",
    "read_structures_from_bytes",
    "reduced_formula",
    "write_structures",
]
