"""The output folder of a run: files that a person can read, the result last."""

import csv
import io
import json
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from nanoos.core.records import EngineResult, Provenance, triples
from nanoos.engines.base import OUTPUT_DIR, RESULT_FILE, write_text_atomically
from nanoos.engines.mlip.finding import Finding
from nanoos.structures import Structure

LOG_FILE: Final = "log.txt"
EOS_FILE: Final = "eos.csv"
FINAL_FILES: Final = ("final.cif", "final.extxyz")
TRAJECTORY_FILE: Final = "trajectory.extxyz"


class RunLog:
    """A text file that shows each line as soon as it is written; an earlier execution's stays."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("a", encoding="utf-8", buffering=1)

    def line(self, text: str) -> None:
        """Append a line."""
        self._stream.write(text + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()


def write(
    output_dir: Path, finding: Finding, provenance: Provenance, wall_time_s: float
) -> EngineResult:
    """Write everything; ``result.json`` comes last, so its presence means the run is whole."""
    texts = {
        "final.cif": _ase_text("cif", [finding.structure]),
        "final.extxyz": _ase_text("extxyz", [finding.structure]),
    }
    if finding.workflow == "equation_of_state":
        texts[EOS_FILE] = _eos_csv(finding)
    if finding.steps:
        texts[TRAJECTORY_FILE] = _ase_text(
            "extxyz",
            [step.structure for step in finding.steps],
            energies=[step.energy_ev for step in finding.steps],
        )
    texts |= finding.texts
    for name, text in texts.items():
        write_text_atomically(output_dir / name, text)
    result = engine_result(
        finding, provenance, wall_time_s, files=(*texts, *finding.written, LOG_FILE, RESULT_FILE)
    )
    write_text_atomically(output_dir / RESULT_FILE, json.dumps(result.as_dict(), indent=1) + "\n")
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
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(columns)
    writer.writerows(zip(*(finding.series[name] for name in columns), strict=True))
    return stream.getvalue()


def _ase_text(
    file_format: str, structures: list[Structure], *, energies: list[float] | None = None
) -> str:
    from ase.io import write as ase_write

    frames: list[Any] = [structure.to_ase() for structure in structures]
    for frame, energy in zip(frames, energies or [], strict=False):
        frame.info["energy"] = energy
    if file_format == "cif":
        stream = io.BytesIO()
        ase_write(stream, frames, format="cif")
        return stream.getvalue().decode()
    text = io.StringIO()
    ase_write(text, frames, format=file_format)
    return text.getvalue()
