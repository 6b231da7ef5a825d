"""What pw.x says while it works, read line by line as it comes.

Numbers of record come from its XML file; this text is there while it runs, and all there is of a
run that was killed: iterations, ionic steps with their geometry, warnings, and why it stopped.
"""

import re
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from nanoos.core.units import BOHR_A, RYDBERG_EV
from nanoos.structures import Structure

FloatArray = npt.NDArray[np.float64]

_NUMBER: Final = r"[-+]?\d+\.?\d*(?:[EeDd][-+]?\d+)?"
_ENERGY: Final = re.compile(rf"^(!?)\s*total energy\s*=\s*({_NUMBER})\s*Ry")
_ACCURACY: Final = re.compile(rf"estimated scf accuracy\s*<\s*({_NUMBER})\s*Ry")
_SPENT: Final = re.compile(rf"total cpu time spent up to now is\s*({_NUMBER})\s*secs")
_CPU: Final = re.compile(
    rf"PWSCF\s*:\s*(?:(\d+)d)?\s*(?:(\d+)h)?\s*(?:(\d+)m)?\s*(?:({_NUMBER})s)?\s*CPU"
)
_SECONDS: Final = (86400.0, 3600.0, 60.0, 1.0)
_VERSION: Final = re.compile(r"Program PWSCF v\.?(\S+)")
_CONV_THR: Final = re.compile(rf"scf convergence threshold =\s*({_NUMBER})")
_K_POINTS: Final = re.compile(r"number of k points=\s*(\d+)")
_RAM: Final = re.compile(rf"Estimated total dynamical RAM >\s*({_NUMBER})\s*([MG]B)")
_OPERATIONS: Final = re.compile(r"(\d+) Sym\. Ops\.")
_FORCE: Final = re.compile(
    rf"atom\s+\d+ type\s+\d+\s+force =\s*({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})"
)
_ALAT: Final = re.compile(rf"lattice parameter \(alat\)\s*=\s*({_NUMBER})")
_ERROR: Final = re.compile(r"Error in routine\s+(\S+)\s*\(\s*(-?\d+)\s*\)")
_NEGATIVE_RHO: Final = re.compile(rf"negative rho \(up, down\):\s*({_NUMBER})\s+({_NUMBER})")
_NOT_CONVERGED_BANDS: Final = re.compile(r"c_bands:\s*(\d+) eigenvalues not converged")
_NOTABLE_RHO: Final = 1e-2
_STRESS_ROWS: Final = 3
FORCES_UNSURE: Final = "Forces are not converged with the SCF: lower conv_thr_ry_per_atom."
_KNOWN_WARNINGS: Final = (
    ("S matrix not positive definite", "pw.x met an overlap matrix that is not positive."),
    ("SCF correction compared to forces is large", FORCES_UNSURE),
    ("too few bands", "pw.x found too few bands."),
    ("DEPRECATED", ""),
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class ScfCycle:
    """One self-consistent cycle.

    Attributes:
        energies_ev: After each iteration, eV for the cell.
        accuracies_ev: Estimated error after each, eV.
        converged: None while it runs.
    """

    energies_ev: list[float] = field(default_factory=list)
    accuracies_ev: list[float] = field(default_factory=list)
    converged: bool | None = None


@dataclass(slots=True, kw_only=True)
class IonicStep:
    """A geometry with what was computed of it.

    Attributes:
        lattice: (3, 3), Å.
        frac_coords: (n_sites, 3).
        energy_ev: eV for the cell.
        forces: (n_sites, 3), eV/Å; None while they are not there.
        stress: (3, 3), eV/Å^3, tension positive; None while it is not there.
    """

    lattice: FloatArray
    frac_coords: FloatArray
    energy_ev: float
    forces: FloatArray | None = None
    stress: FloatArray | None = None


class PwOutput:
    """The state of a run as its output tells it; feed it text as it comes.

    Args:
        structure: What was in the input.
    """

    def __init__(self, structure: Structure) -> None:
        self._species = structure.species
        self._lattice = np.array(structure.lattice)
        self._coords = np.array(structure.frac_coords)
        self._rest = ""
        self._block: str | None = None
        self._rows: list[list[float]] = []
        self._unit = ""
        self._alat_a = 1.0
        self._error_open = False
        self.version: str | None = None
        self.conv_thr_ry: float | None = None
        self.n_kpoints: int | None = None
        self.cpu_s = 0.0
        self.n_operations: int | None = None
        self.cycles: list[ScfCycle] = []
        self.steps: list[IonicStep] = []
        self.unconverged = False
        self.out_of_time = False
        self.bfgs_converged = False
        self.bfgs_failed = False
        self.job_done = False
        self.error_routine: str | None = None
        self.error_lines: list[str] = []
        self.largest_negative_rho = 0.0
        self.unconverged_bands = 0
        self._warnings: list[str] = []

    def feed(self, text: str) -> None:
        """Take what was written since the last call; a line may come in pieces."""
        lines = (self._rest + text).split("\n")
        self._rest = lines.pop()
        for line in lines:
            self._line(line)

    @property
    def warnings(self) -> list[str]:
        """Sentences about what pw.x complained of in its last geometry."""
        found = list(dict.fromkeys(self._warnings))
        if self.largest_negative_rho > _NOTABLE_RHO:
            found.append(
                f"The density is negative somewhere ({self.largest_negative_rho:.3f} electrons): "
                "raise ecutrho_ry."
            )
        if self.unconverged_bands:
            found.append(f"{self.unconverged_bands} bands of the last iteration are not converged.")
        return found

    def last_geometry(self, structure: Structure) -> Structure:
        """The newest geometry that was written, as a structure."""
        return Structure(
            lattice=self._lattice,
            species=self._species,
            frac_coords=self._coords,
            spins=structure.spins,
            label=structure.label,
        )

    # -- inside -----------------------------------------------------------------------------

    def _line(self, line: str) -> None:
        if self._block is not None and self._in_block(line):
            return
        if found := _ENERGY.search(line):
            self._energy(float(found.group(2)) * RYDBERG_EV, final=bool(found.group(1)))
        elif found := _ACCURACY.search(line):
            if self.cycles and len(self.cycles[-1].accuracies_ev) < len(
                self.cycles[-1].energies_ev
            ):
                self.cycles[-1].accuracies_ev.append(_float(found.group(1)) * RYDBERG_EV)
        elif "Self-consistent Calculation" in line:
            self.cycles.append(ScfCycle())
            self._warnings.clear()
        elif found := _FORCE.search(line):
            self._force([_float(found.group(i)) for i in (1, 2, 3)])
        elif "total   stress" in line:
            self._open("stress", "")
        elif line.startswith("CELL_PARAMETERS"):
            self._open("cell", line)
        elif line.startswith("ATOMIC_POSITIONS"):
            self._open("positions", line)
        elif "convergence NOT achieved" in line:
            self.unconverged = True
            if self.cycles:
                self.cycles[-1].converged = False
        elif "convergence has been achieved" in line and self.cycles:
            self.cycles[-1].converged = True
        else:
            self._remark(line)

    def _remark(self, line: str) -> None:
        if found := _VERSION.search(line):
            self.version = found.group(1)
        elif found := _CONV_THR.search(line):
            self.conv_thr_ry = _float(found.group(1))
        elif found := _K_POINTS.search(line):
            self.n_kpoints = int(found.group(1))
        elif found := _OPERATIONS.search(line):
            self.n_operations = int(found.group(1))
        elif found := _ALAT.search(line):
            self._alat_a = float(found.group(1)) * BOHR_A
        elif found := _NEGATIVE_RHO.search(line):
            self.largest_negative_rho = max(abs(_float(found.group(i))) for i in (1, 2))
        elif found := _NOT_CONVERGED_BANDS.search(line):
            self.unconverged_bands = int(found.group(1))
        elif found := _SPENT.search(line):  # some versions count seconds of the clock here
            self.cpu_s = _float(found.group(1))
        elif found := _CPU.search(line):
            parts = zip(found.groups(), _SECONDS, strict=True)
            self.cpu_s = sum(float(part) * seconds for part, seconds in parts if part)
        elif "iteration #" in line:
            self.unconverged_bands, self.largest_negative_rho = 0, 0.0
        elif "bfgs converged" in line:
            self.bfgs_converged = True
        elif "bfgs failed" in line or "maximum number of steps has been reached" in line:
            self.bfgs_failed, self.bfgs_converged = True, False
        elif "Maximum CPU time exceeded" in line or "Program stopped by user request" in line:
            self.out_of_time = True
        elif "JOB DONE" in line:
            self.job_done = True
        elif found := _ERROR.search(line):
            self.error_routine, self._error_open = found.group(1), True
        elif self._error_open:
            self._error_open = "%%%" not in line
            if self._error_open and line.strip():
                self.error_lines.append(line.strip())
        else:
            self._warnings += [text for words, text in _KNOWN_WARNINGS if words in line and text]

    def _energy(self, energy_ev: float, *, final: bool) -> None:
        if not final:
            if self.cycles:
                self.cycles[-1].energies_ev.append(energy_ev)
            return
        if self.cycles and self.cycles[-1].converged is None:
            self.cycles[-1].energies_ev.append(energy_ev)
            self.cycles[-1].converged = True
        self.steps.append(
            IonicStep(
                lattice=self._lattice.copy(), frac_coords=self._coords.copy(), energy_ev=energy_ev
            )
        )
        self._rows = []

    def _force(self, row: list[float]) -> None:
        """The first block after an energy is the total; its parts follow."""
        if not self.steps or self.steps[-1].forces is not None:
            return
        self._rows.append(row)
        if len(self._rows) == len(self._species):
            self.steps[-1].forces = np.array(self._rows) * RYDBERG_EV / BOHR_A
            self._rows = []

    def _open(self, block: str, line: str) -> None:
        self._block, self._rows = block, []
        found = re.search(rf"[({{]\s*(\w+)\s*(?:=\s*({_NUMBER}))?", line)
        self._unit = found.group(1) if found else "alat"
        if found and found.group(2):
            self._alat_a = float(found.group(2)) * BOHR_A

    def _in_block(self, line: str) -> bool:
        """Whether the line belongs to the open block."""
        words = line.split()
        wanted = len(self._species) if self._block == "positions" else _STRESS_ROWS
        try:
            numbers = words[1:4] if self._block == "positions" else words[:3]
            row = [_float(word) for word in numbers]
        except ValueError:
            row = []
        if len(row) == 3:  # noqa: PLR2004
            self._rows.append(row)
        elif words:
            self._block = None
            return False
        if len(self._rows) == wanted:
            self._close(np.array(self._rows))
        return True

    def _close(self, rows: FloatArray) -> None:
        if self._block == "stress":
            if self.steps:  # pw.x prints pressure positive
                self.steps[-1].stress = -rows * RYDBERG_EV / BOHR_A**3
        elif self._block == "cell":
            self._lattice = rows * self._length()
        elif self._unit == "crystal":
            self._coords = rows
        else:
            self._coords = rows * self._length() @ np.linalg.inv(self._lattice)
        self._block, self._rows = None, []

    def _length(self) -> float:
        return {"angstrom": 1.0, "bohr": BOHR_A}.get(self._unit, self._alat_a)


def _float(text: str) -> float:
    return float(text.replace("D", "E").replace("d", "e"))
