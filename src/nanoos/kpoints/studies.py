"""Convergence studies: what a simulation found, kept so that models learn from it.

A study is the energy on a series of meshes. Its outcome is a length with the same meaning as the
labels of the models: the shortest one from which on no finer mesh changes the energy by more than
the tolerance.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from nanoos.core.errors import InvalidInputError
from nanoos.structures import Structure

FORMAT: Final = 1
TOLERANCE_EV: Final = 0.001
"""Of the energy of the cell, as for the labels of the models; DOI 10.1016/j.commatsci.2019.02.006."""

MIN_CONFIRMING: Final = 2
"""Finer meshes that must agree before a length counts as converged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshEnergy:
    """One calculation of a study.

    Attributes:
        length: That its mesh stands for, Å; ``kdist = 2π / length``.
        divisions: Of the mesh.
        energy_ev: Total energy of the cell, eV.
    """

    length: float
    divisions: tuple[int, int, int]
    energy_ev: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvergenceStudy:
    """The energies of one structure on ever finer meshes.

    Attributes:
        structure: What was calculated, as it was.
        energies: By ascending length.
        tolerance_ev: Of the energy of the cell, eV.
        code: Program, version and what shapes the energy (pseudopotentials, cutoffs, smearing).
        created: ISO time, UTC.
    """

    structure: Structure
    energies: tuple[MeshEnergy, ...]
    tolerance_ev: float
    code: str
    created: str = ""

    def __post_init__(self) -> None:
        lengths = [one.length for one in self.energies]
        if lengths != sorted(set(lengths)):
            raise InvalidInputError("The meshes of a study go from coarse to fine, each once.")
        if self.tolerance_ev <= 0:
            raise InvalidInputError("The tolerance of a study is a positive energy.")

    @property
    def converged_length(self) -> float | None:
        """Å; None where the finest meshes do not agree yet. See :func:`converged_length`."""
        return converged_length(self.energies, self.tolerance_ev)

    def to_dict(self) -> dict[str, Any]:
        """JSON types; :meth:`from_dict` gives the study back."""
        return {
            "format": FORMAT,
            "structure": self.structure.as_dict(),
            "formula": self.structure.formula,
            "energies": [[one.length, list(one.divisions), one.energy_ev] for one in self.energies],
            "tolerance_ev": self.tolerance_ev,
            "converged_length_a": self.converged_length,
            "code": self.code,
            "created": self.created,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The study that :meth:`to_dict` wrote.

        Raises:
            InvalidInputError: of another format.
        """
        if data.get("format") != FORMAT:
            raise InvalidInputError(
                f"A study of format {data.get('format')!r} cannot be read.",
                hint="It was written by another version of nanoos.",
            )
        return cls(
            structure=Structure.from_dict(data["structure"]),
            energies=tuple(
                MeshEnergy(length=length, divisions=(n1, n2, n3), energy_ev=energy)
                for length, (n1, n2, n3), energy in data["energies"]
            ),
            tolerance_ev=data["tolerance_ev"],
            code=data["code"],
            created=data["created"],
        )


def converged_length(energies: Sequence[MeshEnergy], tolerance_ev: float) -> float | None:
    """The shortest length whose energy all finer meshes share within the tolerance, Å.

    Lengths with the same mesh count once. None where fewer than two finer meshes confirm it:
    nothing is extrapolated.

    Args:
        energies: By ascending length.
        tolerance_ev: Of the energy of the cell, eV.
    """
    distinct = list({one.divisions: one for one in reversed(energies)}.values())[::-1]
    for index, one in enumerate(distinct[: len(distinct) - MIN_CONFIRMING]):
        finer = distinct[index + 1 :]
        if all(abs(other.energy_ev - one.energy_ev) <= tolerance_ev for other in finer):
            return one.length
    return None


class StudyFile:
    """Studies in a file of JSON lines; adding one never harms those that are there.

    Args:
        path: Made with the first study.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, study: ConvergenceStudy) -> None:
        """Append a study and wait until it is on the disk."""
        created = study.created or datetime.now(UTC).isoformat(timespec="seconds")
        line = json.dumps({**study.to_dict(), "created": created}) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            if file.tell() and self._ends_torn():
                line = "\n" + line
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def __iter__(self) -> Iterator[ConvergenceStudy]:
        """The studies, oldest first; a line that a crash cut short is left out."""
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8") as file:
            for line in file:
                with suppress(json.JSONDecodeError):
                    yield ConvergenceStudy.from_dict(json.loads(line))

    def _ends_torn(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"

    def labelled(self) -> list[tuple[Structure, float]]:
        """Structures and their converged lengths, Å: rows that training may add to its own."""
        found = ((study.structure, study.converged_length) for study in self)
        return [(structure, length) for structure, length in found if length is not None]
