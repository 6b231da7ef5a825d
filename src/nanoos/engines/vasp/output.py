"""The output folder of a run: files that a person can read, the result last."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from nanoos.core.records import EngineResult, Provenance, triples
from nanoos.core.units import GPA_PER_EV_A3
from nanoos.engines.base import OUTPUT_DIR, RESULT_FILE, write_result, write_text_atomically
from nanoos.engines.espresso.gap import FOLDED, is_folded
from nanoos.engines.run_files import LOG_FILE, ase_text, computed_frame, csv_text
from nanoos.engines.vasp.choices import Choices
from nanoos.engines.vasp.reading import VaspRun
from nanoos.structures import Structure

TRAJECTORY_FILE: Final = "trajectory.extxyz"
CONVERGENCE_FILE: Final = "convergence.csv"
UNTESTED: Final = (
    "VASP is licensed: this engine was tested on VASP's files, never with the program itself."
)
_FADED_MOMENT: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What the starts of a workflow gave.

    Attributes:
        workflow: Its name.
        runs: Name of each start to what it gave; the last is the result.
        files: Names of the files that they left.
        provenance: How.
        wall_time_s: Seconds.
        choices: What the rules chose; None for what was run by hand.
    """

    workflow: str
    runs: Mapping[str, VaspRun]
    files: Sequence[str]
    provenance: Provenance
    wall_time_s: float
    choices: Choices | None = None


def write(output_dir: Path, finished: Finished) -> EngineResult:
    """Write everything; ``result.json`` comes last, so its presence means the run is whole."""
    final = list(finished.runs.values())[-1]
    texts = {
        "final.cif": ase_text("cif", [final.structure.to_ase()]),
        "final.extxyz": ase_text("extxyz", [_frame(final)]),
        TRAJECTORY_FILE: ase_text("extxyz", _trajectory(finished.runs)),
        CONVERGENCE_FILE: _convergence(finished.runs),
    }
    for name, text in texts.items():
        write_text_atomically(output_dir / name, text)
    files = (*texts, *finished.files, LOG_FILE, RESULT_FILE)
    result = result_of(finished, tuple(f"{OUTPUT_DIR}/{name}" for name in files))
    write_result(result, output_dir)
    return result


def result_of(finished: Finished, files: tuple[str, ...]) -> EngineResult:
    """The result of a workflow."""
    final = list(finished.runs.values())[-1]
    steps = [step for run in finished.runs.values() for step in run.steps]
    labels = {"gap_from": "mesh of the SCF", "potcars": ", ".join(final.titels)}
    choices = finished.choices
    if choices is not None:
        labels |= {
            "treated_as": "metal" if choices.metal else "insulator",
            "mesh": "x".join(str(n) for n in choices.mesh),
            **{f"why_{name}": text for name, text in choices.reasons.items()},
        }
    series: dict[str, tuple[float, ...]] = {"scf_energy_ev": final.scf_energies_ev[-1]}
    if len(steps) > 1:
        series |= {
            "step_energy_ev": tuple(step.energy_ev for step in steps),
            "step_volume_a3": tuple(float(abs(np.linalg.det(s.lattice))) for s in steps),
            "step_max_force_ev_a": tuple(_largest(step.forces) for step in steps),
        }
    return EngineResult(
        success=True,
        workflow=finished.workflow,
        energy_ev=final.energy_ev,
        values=_values(finished, final),
        structure=final.structure,
        provenance=finished.provenance,
        forces=triples(final.forces.tolist()),
        stress=None if final.stress is None else triples(final.stress.tolist()),
        magmoms=final.magmoms,
        series=series,
        labels=labels,
        warnings=_warnings(finished, final),
        files=files,
        wall_time_s=finished.wall_time_s,
    )


def _values(finished: Finished, final: VaspRun) -> dict[str, float]:
    n = final.structure.n_sites
    runs = finished.runs.values()
    values = {
        "energy_ev_per_atom": final.energy_ev / n,
        "energy_sigma0_ev_per_atom": final.energy_sigma0_ev / n,
        "smearing_energy_ev_per_atom": final.smearing_energy_ev / n,
        "volume_a3_per_atom": final.structure.volume / n,
        "max_force_ev_a": _largest(final.forces),
        "n_steps": float(sum(len(run.steps) for run in runs) - 1),
        "n_scf_iterations": float(sum(len(scf) for run in runs for scf in run.scf_energies_ev)),
        "cpu_s": sum(run.cpu_s for run in runs),
    }
    if final.stress is not None:
        values["pressure_gpa"] = -float(np.trace(final.stress)) / 3 * GPA_PER_EV_A3
    if final.fermi_ev is not None:
        values["fermi_level_ev"] = final.fermi_ev
    if final.total_magnetization is not None:
        values["total_magnetization_bohr"] = final.total_magnetization
    gap = final.gap
    if gap is not None:
        values["band_gap_ev"] = gap.gap_ev
        folded = _folded(finished, final)
        if gap.metal or not folded:
            values["direct_gap_ev"] = gap.direct_gap_ev
        if gap.valence_top_ev is not None and gap.conduction_bottom_ev is not None:
            values["valence_top_ev"] = gap.valence_top_ev
            values["conduction_bottom_ev"] = gap.conduction_bottom_ev
            if not folded:
                values["gap_is_direct"] = float(gap.direct)
    return values


def _folded(finished: Finished, final: VaspRun) -> bool:
    choices = finished.choices
    moments = (0.0,) * final.structure.n_sites if choices is None else choices.moments
    pairs = list(zip(final.structure.species, moments, strict=True))
    return is_folded(final.structure, [pairs.index(pair) for pair in pairs])


def _warnings(finished: Finished, final: VaspRun) -> tuple[str, ...]:
    """What a reader must know before trusting the numbers."""
    found = [UNTESTED]
    for name, run in finished.runs.items():
        found += [f"{name}: {text}" for text in run.warnings]
    choices, gap = finished.choices, final.gap
    if gap is not None and not gap.metal and _folded(finished, final):
        found.append(FOLDED)
    if choices is not None:
        moments = final.magmoms or (final.total_magnetization or 0.0,)
        if choices.polarised and max(map(abs, moments)) < _FADED_MOMENT:
            found.append("The moments faded: the crystal is not magnetic from this start.")
        if gap is not None and gap.metal and not choices.metal:
            found.append(
                "It was treated as an insulator and has no gap on this mesh: set expected_gap_ev "
                "to 0."
            )
    return tuple(dict.fromkeys(found))


def _largest(forces: Any) -> float:
    return 0.0 if forces is None else float(np.linalg.norm(forces, axis=1).max())


def _frame(run: VaspRun) -> Any:
    return computed_frame(run.structure, run.energy_ev, run.forces, run.stress)


def _trajectory(runs: Mapping[str, VaspRun]) -> list[Any]:
    """Every geometry with energy, forces and stress: each can train a potential."""
    frames = []
    for name, run in runs.items():
        for step in run.steps:
            structure = Structure(
                lattice=step.lattice, species=run.structure.species, frac_coords=step.frac_coords
            )
            frame = computed_frame(structure, step.energy_ev, step.forces, step.stress)
            frame.info["stage"] = name
            frames.append(frame)
    return frames


def _convergence(runs: Mapping[str, VaspRun]) -> str:
    rows = [
        (name, number, i, energy)
        for name, run in runs.items()
        for number, energies in enumerate(run.scf_energies_ev, 1)
        for i, energy in enumerate(energies, 1)
    ]
    return csv_text(("stage", "scf", "iteration", "energy_ev"), rows)
