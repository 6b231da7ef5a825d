"""The output folder of a run: files that a person can read, the result last."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from nanoos.core.records import EngineResult, Provenance, triples
from nanoos.core.units import GPA_PER_EV_A3
from nanoos.engines.base import OUTPUT_DIR, RESULT_FILE, write_result, write_text_atomically
from nanoos.engines.espresso.choices import Choices
from nanoos.engines.espresso.gap import FOLDED, is_folded
from nanoos.engines.espresso.plan import Finding
from nanoos.engines.espresso.stage_run import StageResult
from nanoos.engines.espresso.stdout import FORCES_UNSURE
from nanoos.engines.run_files import LOG_FILE, ase_text, computed_frame, csv_text
from nanoos.structures import Structure

TRAJECTORY_FILE: Final = "trajectory.extxyz"
CONVERGENCE_FILE: Final = "convergence.csv"
_FADED_MOMENT: Final = 0.02
_BLURRED: Final = 0.99
_EMPTY: Final = 1e-3
_NO_FORCE_EV_A: Final = 1e-3


def write(
    output_dir: Path,
    finding: Finding,
    choices: Choices,
    provenance: Provenance,
    wall_time_s: float,
) -> EngineResult:
    """Write everything; ``result.json`` comes last, so its presence means the run is whole."""
    structure = finding.final.structure
    texts = {
        "final.cif": ase_text("cif", [_frame(structure)]),
        "final.extxyz": ase_text("extxyz", [_final_frame(finding.final)]),
        TRAJECTORY_FILE: ase_text("extxyz", _trajectory(finding)),
        CONVERGENCE_FILE: _convergence_csv((*finding.abandoned, *finding.stages)),
    }
    texts |= {name: csv_text(header, rows) for name, (header, rows) in finding.tables.items()}
    for name, text in texts.items():
        write_text_atomically(output_dir / name, text)
    for name, picture in finding.pictures.items():
        (output_dir / name).write_bytes(picture)
    stages = (*finding.abandoned, *finding.stages)
    stage_files = [name for stage in stages for name in stage.files]
    names = (*texts, *finding.pictures, *stage_files, LOG_FILE, RESULT_FILE)
    result = _result(finding, choices, provenance, wall_time_s, files=names)
    write_result(result, output_dir)
    return result


def _result(
    finding: Finding,
    choices: Choices,
    provenance: Provenance,
    wall_time_s: float,
    *,
    files: tuple[str, ...],
) -> EngineResult:
    final = finding.final
    xml = final.xml
    labels = {
        "treated_as": "metal" if choices.metal else "insulator",
        "mesh": "x".join(str(n) for n in choices.mesh),
        **finding.labels,
        **{f"why_{name}": text for name, text in choices.reasons.items()},
    }
    tried = [f"{stage.name}: {name}" for stage in finding.stages for name in stage.attempts]
    if tried:
        labels["remedies"] = "; ".join(tried)
    cycle = final.cycles[-1] if final.cycles else None
    series = dict(finding.series)
    if cycle is not None:
        series["scf_energy_ev"] = tuple(cycle.energies_ev)
        series["scf_accuracy_ev"] = tuple(cycle.accuracies_ev)
    return EngineResult(
        success=True,
        workflow=str(provenance.parameters["workflow"]),
        energy_ev=xml.energy_ev,
        values=_values(finding, choices),
        structure=final.structure,
        provenance=provenance,
        forces=None if xml.forces is None else triples(xml.forces.tolist()),
        stress=None if xml.stress is None else triples(xml.stress.tolist()),
        series=series,
        labels=labels,
        warnings=_warnings(finding, choices),
        files=tuple(f"{OUTPUT_DIR}/{name}" for name in files),
        wall_time_s=wall_time_s,
    )


def _values(finding: Finding, choices: Choices) -> dict[str, float]:
    final, gap = finding.final, finding.gap
    xml, n_sites = final.xml, final.structure.n_sites
    every = (*finding.abandoned, *finding.stages)
    values: dict[str, float] = {
        "energy_ev_per_atom": xml.energy_ev / n_sites,
        "volume_a3_per_atom": final.structure.volume / n_sites,
        "smearing_energy_ev_per_atom": xml.smearing_energy_ev / n_sites,
        "n_scf_iterations": float(sum(len(c.energies_ev) for s in every for c in s.cycles)),
        "cpu_s": sum(stage.cpu_s for stage in every),
    }
    if xml.forces is not None:
        values["max_force_ev_a"] = float(np.linalg.norm(xml.forces, axis=1).max())
    if xml.stress is not None:
        values["pressure_gpa"] = -float(np.trace(xml.stress)) / 3 * GPA_PER_EV_A3
    if xml.fermi_ev is not None:
        values["fermi_level_ev"] = xml.fermi_ev
    if xml.total_magnetization is not None and xml.absolute_magnetization is not None:
        values["total_magnetization_bohr"] = xml.total_magnetization
        values["absolute_magnetization_bohr"] = xml.absolute_magnetization
    if gap is not None:
        values["band_gap_ev"] = gap.gap_ev
        folded = is_folded(final.structure, choices.site_species)
        if gap.metal or not folded:
            values["direct_gap_ev"] = gap.direct_gap_ev
        if gap.valence_top_ev is not None and gap.conduction_bottom_ev is not None:
            values["valence_top_ev"] = gap.valence_top_ev
            values["conduction_bottom_ev"] = gap.conduction_bottom_ev
            if not folded:
                values["gap_is_direct"] = float(gap.direct)
    return {**values, **finding.values}


def _warnings(finding: Finding, choices: Choices) -> tuple[str, ...]:
    """What a reader must know before trusting the numbers."""
    found = list(finding.warnings)
    final = finding.final
    for stage in finding.stages:
        told = stage.warnings
        if stage.xml.forces is not None and abs(stage.xml.forces).max() < _NO_FORCE_EV_A:
            told = tuple(text for text in told if text != FORCES_UNSURE)  # symmetry has them vanish
        found += [f"{stage.name}: {text}" for text in told]
        if stage.attempts:
            found.append(
                f"{stage.name} converged only with other settings: {', '.join(stage.attempts)}."
            )
        if stage.physics_changed:
            found.append(f"{stage.name}: the smearing was widened, which changes its energy.")
    if choices.polarised and (final.xml.absolute_magnetization or 0.0) < _FADED_MOMENT:
        found.append("The moments faded: the crystal is not magnetic from this start.")
    if choices.smearing is not None and final.xml.bands.occupations[:, :, -1].max() > _EMPTY:
        found.append(
            "The highest band is not empty, so that states may be missing above it: set nbnd to "
            f"more than {final.xml.bands.energies_ev.shape[2]}."
        )
    gap = finding.gap
    if gap is not None and not gap.metal:
        lowest = _least_filled(finding)
        if lowest < _BLURRED:
            found.append(
                f"The smearing blurs the gap (highest filled band {lowest:.2f} filled): "
                "set expected_gap_ev or a smaller degauss_ry."
            )
        if is_folded(final.structure, choices.site_species):
            found.append(FOLDED)
    if gap is not None and gap.metal and not choices.metal:
        found.append(
            "It was treated as an insulator, as asked for, and has no gap on this mesh: leave out "
            "what was given of expected_gap_ev, smearing, degauss_ry and occupations."
        )
    return tuple(dict.fromkeys(found))


def _least_filled(finding: Finding) -> float:
    bands = finding.final.xml.bands
    electrons = finding.final.xml.n_electrons
    if finding.final.xml.total_magnetization is not None:
        return 1.0
    filled = round(electrons / 2)
    return float(bands.occupations[0, :, :filled].min()) if filled else 1.0


def _frame(structure: Structure) -> Any:
    return structure.to_ase()


def _final_frame(stage: StageResult) -> Any:
    xml = stage.xml
    return computed_frame(stage.structure, xml.energy_ev, xml.forces, xml.stress)


def _trajectory(finding: Finding) -> list[Any]:
    """Every geometry with energy, forces and stress: each can train a potential."""
    frames = []
    for stage in finding.stages:
        for step in stage.steps:
            structure = Structure(
                lattice=step.lattice,
                species=stage.structure.species,
                frac_coords=step.frac_coords,
            )
            frame = computed_frame(structure, step.energy_ev, step.forces, step.stress)
            frame.info["stage"] = stage.name
            frames.append(frame)
    return frames or [_final_frame(finding.final)]


def _convergence_csv(stages: Sequence[StageResult]) -> str:
    rows = [
        (stage.name, number, i, energy, accuracy)
        for stage in stages
        for number, cycle in enumerate(stage.cycles, 1)
        for i, (energy, accuracy) in enumerate(
            zip(cycle.energies_ev, cycle.accuracies_ev, strict=False), 1
        )
    ]
    return csv_text(("stage", "scf", "iteration", "energy_ev", "accuracy_ev"), rows)
