"""Files that runs leave, whatever the engine: the log, tables, structures with their energies."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from nanoos.engines.telling import tell
from nanoos.structures import Structure

LOG_FILE: Final = "log.txt"
"""Of a :class:`RunLog`, in the output folder."""


class RunLog:
    """A text file that shows each line as soon as it is written; an earlier execution's stays.

    Each line is told, too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def line(self, text: str) -> None:
        """Append a line."""
        tell(text)
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(text + "\n")


def computed_frame(structure: Structure, energy_ev: float, forces: Any, stress: Any) -> Any:
    """ASE atoms that carry energy (eV), forces (eV/Å) and stress (3, 3), eV/Å^3."""
    from ase.calculators.singlepoint import SinglePointCalculator

    frame = structure.to_ase()
    results: dict[str, Any] = {"energy": energy_ev}
    if forces is not None:
        results["forces"] = np.array(forces)
    if stress is not None:
        results["stress"] = np.array(stress).ravel()[[0, 4, 8, 5, 2, 1]]
    frame.calc = SinglePointCalculator(frame, **results)
    return frame


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A CSV file."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()


def ase_text(file_format: str, frames: list[Any]) -> str:
    """A file of ASE's as text."""
    from ase.io import write as ase_write

    if file_format == "cif":
        stream = io.BytesIO()
        ase_write(stream, frames, format="cif")
        return stream.getvalue().decode()
    text = io.StringIO()
    ase_write(text, frames, format=file_format)
    return text.getvalue()
