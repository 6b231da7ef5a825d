"""A workflow through as many starts of VASP as it takes.

Every start works in a hidden folder and leaves its input and output as ``NAME.INCAR``,
``NAME.vasprun.xml`` and so on; the POTCAR is licensed and stays behind.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from nanoos.core.errors import EngineError
from nanoos.core.units import GPA_PER_EV_A3
from nanoos.engines.base import Progress, write_text_atomically
from nanoos.engines.vasp import input_files
from nanoos.engines.vasp.choices import Choices
from nanoos.engines.vasp.parameters import RelaxParameters, VaspParameters, VcRelaxParameters
from nanoos.engines.vasp.potcars import Potcar
from nanoos.engines.vasp.program import VaspProgram
from nanoos.engines.vasp.reading import OUTCAR_FILE, VASPRUN_FILE, VaspRun, read_run
from nanoos.engines.vasp.supervision import STDERR_FILE, STDOUT_FILE, Start, supervise
from nanoos.structures import Structure

SCRATCH: Final = ".scratch"
"""Where VASP works: hidden, so no part of what a run leaves."""
KEPT: Final = (
    *("INCAR", "KPOINTS", "POSCAR", "OSZICAR", OUTCAR_FILE, VASPRUN_FILE),
    *(STDOUT_FILE, STDERR_FILE),
)


@dataclass(slots=True, kw_only=True)
class Workshop:
    """What the starts of an execution share, and how far they are.

    Attributes:
        parameters: What was asked for.
        choices: What the rules chose.
        potcars: Element to POTCAR.
        program: Which VASP.
        folder: The output folder.
        deadline: ``time.monotonic()`` at which the execution is given up.
        timeout_s: For the message.
        progress: Told (fraction, message).
        say: Told lines for the log.
        runs: Name of each start that ended well to what it gave.
        files: Names of the files that the starts left.
        done: Share of the work, as far as it can be told.
    """

    parameters: VaspParameters
    choices: Choices
    potcars: Mapping[str, Potcar]
    program: VaspProgram
    folder: Path
    deadline: float
    timeout_s: float
    progress: Progress | None
    say: Callable[[str], None]
    runs: dict[str, VaspRun] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    done: float = 0.0

    def start(self, name: str, structure: Structure, *, share: float, moving: bool) -> VaspRun:
        """Run VASP once.

        Args:
            name: Of its files.
            structure: What is computed.
            share: Of the work that is left.
            moving: False for a single point whatever the workflow.

        Raises:
            EngineError: as :func:`supervise`, ``no_result``, ``scf_not_converged``.
        """
        folder = self._prepared(structure, moving=moving)
        before, told = self.done, self.done

        def tell(fraction: float, message: str) -> None:
            nonlocal told
            told = max(told, min(0.99, before + share * fraction * (1.0 - before)))
            self.done = told
            if self.progress is not None:
                self.progress(told, message)

        tell(0.0, f"{name}: starting")
        start = Start(
            program=self.program,
            folder=folder,
            deadline=self.deadline,
            timeout_s=self.timeout_s,
            ediff_ev=structure.n_sites * self.parameters.ediff_ev_per_atom,
            relaxing=moving,
            label=name,
        )
        try:
            supervise(start, tell)
        finally:
            self._keep(name)
        run = read_run(folder, input_files.site_order(structure))
        self.say(f"{name}: {len(run.steps)} geometries, {run.cpu_s:.1f} s of processor")
        if not run.scf_converged:
            raise EngineError(
                f"The SCF did not converge in {name} ({len(run.scf_energies_ev[-1])} iterations).",
                hint="Check the structure and its spin; algorithm All, a wider sigma_ev or more "
                "max_scf_steps may help.",
                details={"stage": name, "energies_ev": list(run.scf_energies_ev[-1])},
                code="scf_not_converged",
            )
        self.runs[name] = run
        return run

    def _prepared(self, structure: Structure, *, moving: bool) -> Path:
        folder = self.folder / SCRATCH
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        texts = {
            "INCAR": input_files.incar(structure, self.parameters, self.choices, moving=moving),
            "KPOINTS": input_files.kpoints(self.choices),
            "POSCAR": input_files.poscar(structure),
        }
        for name, text in texts.items():
            write_text_atomically(folder / name, text)
        (folder / "POTCAR").write_bytes(potcar_bytes(structure, self.potcars))
        return folder

    def _keep(self, name: str) -> None:
        for file in KEPT:
            path = self.folder / SCRATCH / file
            if path.is_file() and path.stat().st_size:
                shutil.copyfile(path, self.folder / f"{name}.{file}")
                self.files.append(f"{name}.{file}")


def potcar_bytes(structure: Structure, potcars: Mapping[str, Potcar]) -> bytes:
    """The POTCAR of a structure: those of its elements in the order of the POSCAR."""
    return b"".join(potcars[element].read() for element in dict.fromkeys(structure.species))


def run_workflow(shop: Workshop, structure: Structure) -> None:
    """Run what the parameters say.

    Raises:
        EngineError: as :meth:`Workshop.start`; ``relax_not_converged``.
    """
    if not isinstance(shop.parameters, RelaxParameters):
        shop.start("scf", structure, share=1.0, moving=False)
        return
    most = shop.parameters.max_continuations
    for turn in range(most + 1):
        suffix = f"-{turn + 1}" if turn else ""
        run = shop.start(f"relax{suffix}", structure, share=0.6, moving=True)
        structure = run.structure
        if not run.relaxed:
            shop.say(f"relax{suffix}: the forces are not there yet")
            continue
        if not isinstance(shop.parameters, VcRelaxParameters):
            return
        fresh = shop.start(f"final{suffix}", structure, share=0.5, moving=False)
        if _is_settled(fresh, shop.parameters.pressure_tolerance_gpa):
            return
        shop.say(f"final{suffix}: pressure is left in a basis of the relaxed cell")
    last = list(shop.runs.values())[-1]
    force = float(np.linalg.norm(last.forces, axis=1).max())
    raise EngineError(
        f"The relaxation did not converge in {most + 1} starts; the largest force is "
        f"{force:.3f} eV/Å.",
        hint="Raise max_steps or max_continuations, or begin nearer to the minimum.",
        details={"starts": most + 1, "max_force_ev_a": force},
        code="relax_not_converged",
    )


def _is_settled(fresh: VaspRun, tolerance_gpa: float) -> bool:
    """Whether the pressure with the plane waves of the final cell is none.

    VASP relaxes a cell with the plane waves of the first one; its stress is that of those.
    """
    if fresh.stress is None:
        return True
    return bool(abs(np.trace(fresh.stress)) / 3 * GPA_PER_EV_A3 <= tolerance_gpa)
