"""The output folder of a run: files that a person can read, the result last."""

from pathlib import Path
from typing import Any, Final

from nanoos.core.records import EngineResult, Provenance, triples
from nanoos.engines.base import OUTPUT_DIR, RESULT_FILE, write_result, write_text_atomically
from nanoos.engines.mlip.finding import Finding
from nanoos.engines.run_files import LOG_FILE, ase_text, csv_text

EOS_FILE: Final = "eos.csv"
FINAL_FILES: Final = ("final.cif", "final.extxyz")
TRAJECTORY_FILE: Final = "trajectory.extxyz"


def write(
    output_dir: Path, finding: Finding, provenance: Provenance, wall_time_s: float
) -> EngineResult:
    """Write everything; ``result.json`` comes last, so its presence means the run is whole."""
    texts = {
        "final.cif": ase_text("cif", [finding.structure.to_ase()]),
        "final.extxyz": ase_text("extxyz", [finding.structure.to_ase()]),
    }
    if finding.workflow == "equation_of_state":
        texts[EOS_FILE] = _eos_csv(finding)
    if finding.steps:
        texts[TRAJECTORY_FILE] = _trajectory(finding)
    texts |= finding.texts
    for name, text in texts.items():
        write_text_atomically(output_dir / name, text)
    result = engine_result(
        finding, provenance, wall_time_s, files=(*texts, *finding.written, LOG_FILE, RESULT_FILE)
    )
    write_result(result, output_dir)
    return result


def engine_result(
    finding: Finding, provenance: Provenance, wall_time_s: float, *, files: tuple[str, ...]
) -> EngineResult:
    """The finding as the record that is stored; ``files`` are names in the output folder."""
    result = finding.result
    return EngineResult(
        success=True,
        workflow=finding.workflow,
        energy_ev=result.energy_ev,
        values=finding.values,
        structure=finding.structure,
        provenance=provenance,
        forces=triples(result.forces.tolist()),
        stress=None if result.stress is None else triples(result.stress.tolist()),
        magmoms=None if result.magmoms is None else tuple(result.magmoms.tolist()),
        series=finding.series,
        labels=finding.labels,
        warnings=finding.warnings,
        files=tuple(f"{OUTPUT_DIR}/{name}" for name in files),
        wall_time_s=wall_time_s,
    )


def _eos_csv(finding: Finding) -> str:
    columns = ("volume_a3_per_atom", "energy_ev_per_atom", "fitted_energy_ev_per_atom")
    rows = zip(*(finding.series[name] for name in columns), strict=True)
    return csv_text(columns, rows)


def _trajectory(finding: Finding) -> str:
    frames = []
    for step in finding.steps:
        frame: Any = step.structure.to_ase()
        frame.info["energy"] = step.energy_ev
        frames.append(frame)
    return ase_text("extxyz", frames)
