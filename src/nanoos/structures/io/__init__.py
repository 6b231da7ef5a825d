"""Structure files: reading, one outcome for each structure, and writing."""

from nanoos.structures.io.formats import Format, format_of_name
from nanoos.structures.io.outcome import DEFAULT_LIMITS, ReadLimits, ReadOutcome
from nanoos.structures.io.reading import (
    iter_paths,
    iter_structures,
    read_structure,
    read_structure_from_bytes,
    read_structures_from_bytes,
)
from nanoos.structures.io.writing import (
    MEDIA_TYPES,
    Export,
    export_bytes,
    write_atomically,
    write_structures,
)

__all__ = [
    "DEFAULT_LIMITS",
    "MEDIA_TYPES",
    "Export",
    "Format",
    "ReadLimits",
    "ReadOutcome",
    "export_bytes",
    "format_of_name",
    "iter_paths",
    "iter_structures",
    "read_structure",
    "read_structure_from_bytes",
    "read_structures_from_bytes",
    "write_atomically",
    "write_structures",
]
