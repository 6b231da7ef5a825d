"""Rows of extended XYZ: the keys of the comment line, the energy per atom, the largest force."""

import io
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from nanoos.core.errors import InvalidInputError, NanoosError
from nanoos.datasets.property_columns import read_number
from nanoos.datasets.readers.cells import refusal_of
from nanoos.datasets.readers.tables import Table
from nanoos.datasets.readers.unpacking import unpacked
from nanoos.structures.io.extxyz import comment_fields, extxyz_entries
from nanoos.structures.io.outcome import DEFAULT_LIMITS

_COUNT: Final = re.compile(rb"\s*(\d+)\s*$")
_ENERGY_KEYS: Final = ("energy", "free_energy", "dft_energy", "total_energy")
_FORCE_COLUMNS: Final = ("forces", "force", "dft_forces")
_OWN_KEYS: Final = frozenset({"lattice", "properties", "pbc", "cell"})
ENERGY_COLUMN: Final = "energy_eV_per_atom"
FORCE_COLUMN: Final = "max_force_eV_per_A"


def frames_table(path: Path, *, name: str) -> Table:
    """An extended XYZ file (``.gz``, ``.xz`` too), frame by frame.

    The columns are the keys of the first frame's comment line, and two that are worked out:
    ``energy_eV_per_atom`` where a frame has an energy (eV, of the cell), and
    ``max_force_eV_per_A``, the norm of the largest force, where it has forces (eV/Å).

    Raises:
        InvalidInputError: the file has no frame that can be read.
    """
    stream = unpacked(path, name)
    records = _records(stream)
    before: list[Mapping[str, Any] | NanoosError] = []
    for record in records:
        before.append(record)
        if not isinstance(record, NanoosError):
            return Table(
                name=name,
                columns=list(record),
                records=chain(before, records),
                close=stream.close,
            )
    reason = before[0] if before else "it is empty"
    raise InvalidInputError(
        f"{name} holds no frame that can be read: {reason}",
        hint="A frame is a count, a comment line and as many rows as the count says.",
        code="malformed_file",
    )


def _records(stream: IO[bytes]) -> Iterator[Mapping[str, Any] | NanoosError]:
    with stream:
        for frame in _frames(stream):
            try:
                yield _record(frame)
            except Exception as problem:  # noqa: BLE001 - one bad frame never fails the rest
                yield refusal_of(problem)


def _frames(stream: IO[bytes]) -> Iterator[list[bytes]]:
    """The lines of each frame; what stands between frames is skipped, a short one is short."""
    line = stream.readline()
    while line:
        count = _COUNT.match(line)
        if count is None:
            line = stream.readline()
            continue
        frame = [line, stream.readline()]
        line = stream.readline()
        while line and len(frame) < int(count[1]) + 2 and not _COUNT.match(line):
            frame.append(line)
            line = stream.readline()
        yield frame


def _record(frame: list[bytes]) -> dict[str, Any]:
    entry = next(extxyz_entries(io.BytesIO(b"".join(frame)), DEFAULT_LIMITS))
    structure = entry.build()
    fields = comment_fields(frame[1].decode("utf-8", errors="replace").strip())
    record: dict[str, Any] = {k: v for k, v in fields.items() if k not in _OWN_KEYS}
    if entry.source_id is not None:
        record.setdefault("id", entry.source_id)
    energy = next((fields[key] for key in _ENERGY_KEYS if key in fields), None)
    number = read_number(energy, "energy")
    if number is not None:
        record[ENERGY_COLUMN] = number / structure.n_sites
    forces = _forces(fields.get("properties", ""), frame[2:])
    if forces is not None:
        record[FORCE_COLUMN] = float(np.linalg.norm(forces, axis=1).max())
    record["structure"] = structure
    return record


def _forces(properties: str, rows: list[bytes]) -> Any:
    """(n_sites, 3) forces, None where there are none."""
    parts = properties.split(":")
    start = 0
    for column, width in zip(parts[::3], parts[2::3], strict=False):
        if column.lower() in _FORCE_COLUMNS and width == "3":
            return np.array([row.split()[start : start + 3] for row in rows], dtype=np.float64)
        start += int(width)
    return None
