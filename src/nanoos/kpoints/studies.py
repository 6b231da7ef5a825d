"""Convergence studies: what a simulation found, kept so that models learn from it.

A study is the energy on a series of meshes. Its outcome is a length with the same meaning as the
labels of the models: see :func:`converged_length`.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, Final, Self

from nanoos.core.errors import InvalidInputError
from nanoos.kpoints.base import KpointPrediction
from nanoos.kpoints.mesh import kdist_from_length, length_from_kdist
from nanoos.structures import Structure

FORMAT: Final = 1
TOLERANCE_EV: Final = 0.001
"""Of the energy of the cell, as for the labels of the models; DOI 10.1016/j.commatsci.2019.02.006."""

STEP_A: Final = 5.0
"""Between successive lengths of a study, Å; the first one is a step long."""

CONFIRMING_A: Final = 25.0
"""A length counts as converged when the meshes of the next five steps agree with it."""

_ROUNDING: Final = 1e-9


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
        """Å; None where the study has not come that far. See :func:`converged_length`."""
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


def study_lengths(most_a: float) -> Iterator[float]:
    """The lengths that a study tries, Å: 5, 10, 15, ... up to ``most_a``."""
    length = STEP_A
    while length <= most_a + _ROUNDING:
        yield length
        length += STEP_A


def converged_length(energies: Sequence[MeshEnergy], tolerance_ev: float) -> float | None:
    """The length at which the energy is converged, Å, as JARVIS-DFT means it.

    It is the shortest length whose mesh changes the energy of the cell by no more than the
    tolerance against the next coarser mesh, and with which the meshes of the next five steps of
    5 Å agree, too (DOI 10.1016/j.commatsci.2019.02.006). Where they do not, the search goes on:
    nothing is extrapolated. Lengths with the same mesh count once, as the shortest of them.

    Args:
        energies: By ascending length.
        tolerance_ev: Of the energy of the cell, eV.

    Returns:
        None where the study has not come that far.
    """
    distinct = list({one.divisions: one for one in reversed(energies)}.values())[::-1]
    for coarser, one in pairwise(distinct):
        if abs(one.energy_ev - coarser.energy_ev) > tolerance_ev:
            continue
        last = one.length + CONFIRMING_A
        if energies[-1].length < last - _ROUNDING:
            return None
        within = [e for e in energies if one.length < e.length <= last + _ROUNDING]
        if all(abs(e.energy_ev - one.energy_ev) <= tolerance_ev for e in within):
            return one.length
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a prediction did against a study of the same structure. Spacings in Å^-1, with the 2π.

    Attributes:
        prediction: What was predicted.
        kdist: Of the converged length.
        mesh: Of the converged length.
        within: Whether the converged spacing lies in the predicted interval.
        fine_enough: Whether the predicted mesh is at least as fine as the converged one.
        extra_points: Points of the predicted mesh over those of the converged one.
        length_error_a: Predicted (median) minus converged length, Å.
    """

    prediction: KpointPrediction
    kdist: float
    mesh: tuple[int, int, int]
    within: bool
    fine_enough: bool
    extra_points: float
    length_error_a: float

    def sentence(self) -> str:
        """What it says, for people."""
        said = self.prediction
        holds = "lies in" if self.within else "lies outside"
        fine = "fine enough" if self.fine_enough else "too coarse"
        mesh = " x ".join(str(n) for n in said.mesh.divisions)
        beyond = ", outside what it learnt from" if said.out_of_domain else ""
        return (
            f"The converged spacing {self.kdist:.4f} Å^-1 {holds} the interval {said.kdist_lower:.4f} "
            f"to {said.kdist_upper:.4f} that {said.model} {said.version} gives at {said.interval_level:g}{beyond}; its "
            f"mesh {mesh} is {fine} ({self.extra_points:.2f} times the points needed)."
        )


def judge(study: ConvergenceStudy, prediction: KpointPrediction) -> Verdict | None:
    """Compare a prediction with a study; None where the study has not converged."""
    length = study.converged_length
    if length is None:
        return None
    mesh = next(one.divisions for one in study.energies if one.length == length)
    kdist = kdist_from_length(length)
    lower, upper = prediction.kdist_lower, prediction.kdist_upper
    predicted = prediction.mesh.divisions
    return Verdict(
        prediction=prediction,
        kdist=kdist,
        mesh=mesh,
        within=lower * (1 - _ROUNDING) <= kdist <= upper * (1 + _ROUNDING),
        fine_enough=all(p >= n for p, n in zip(predicted, mesh, strict=True)),
        extra_points=prediction.mesh.n_points / prod(mesh),
        length_error_a=length_from_kdist(prediction.kdist) - length,
    )


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

    def labelled(self) -> list[ConvergenceStudy]:
        """Converged studies with the tolerance of the labels: what training may add to its rows."""
        return [
            study
            for study in self
            if study.tolerance_ev == TOLERANCE_EV and study.converged_length is not None
        ]
