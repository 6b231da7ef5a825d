"""The folder LAMMPS runs in: begun, gone on in after a kill, cleared at the end."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Final

from nanoos.engines.base import RESULT_FILE, hashes, write_text_atomically
from nanoos.engines.lammps.case import Case
from nanoos.engines.lammps.parameters import DynamicsParameters
from nanoos.engines.lammps.script import SCRIPT_FILE, resume_script
from nanoos.engines.lammps.supervision import restart_files

STARTED_FILE: Final = "started.json"
"""Hashes of the input that an output folder was begun with."""
INPUT_LINK: Final = "input"


def begin(input_dir: Path, output_dir: Path) -> None:
    """Make the folder; what another input or a finished run left there is removed."""
    output_dir.mkdir(parents=True, exist_ok=True)
    wanted = json.dumps(hashes(input_dir), indent=1)
    mark = output_dir / STARTED_FILE
    same = False
    with suppress(FileNotFoundError):
        same = mark.read_text(encoding="utf-8") == wanted
    if not same or (output_dir / RESULT_FILE).exists():
        for pattern in ("*.lammps", "*.lammpstrj", RESULT_FILE, "final.dump", "screen.txt"):
            for path in output_dir.glob(pattern):
                path.unlink()
        write_text_atomically(mark, wanted)
    link = output_dir / INPUT_LINK
    link.unlink(missing_ok=True)
    link.symlink_to(input_dir.resolve(), target_is_directory=True)


def next_part(case: Case, output_dir: Path) -> tuple[int, int, str]:
    """Number of the part to run, the step it begins at, and its script."""
    restarts = restart_files(output_dir)
    if not isinstance(case.parameters, DynamicsParameters) or not restarts:
        for path in [*output_dir.glob("*.lammps"), *output_dir.glob("*.lammpstrj")]:
            path.unlink()
        return 0, 0, f"{INPUT_LINK}/{SCRIPT_FILE}"
    step, restart = restarts[0]
    part = 1 + max(int(path.name.split(".")[1]) for path in output_dir.glob("log.*.lammps"))
    text = resume_script(
        case.potential, case.parameters, restart=restart.name, step=step, part=part
    )
    script = f"resume.{part}.lammps"
    write_text_atomically(output_dir / script, text)
    return part, step, script


def forget_part(output_dir: Path, part: int, step: int) -> None:
    """Remove a part that cannot go on, and the restart file that it went on from."""
    (output_dir / f"restart.{step}.lammps").unlink()
    for name in (f"log.{part}.lammps", f"resume.{part}.lammps", f"trajectory.{part}.lammpstrj"):
        (output_dir / name).unlink(missing_ok=True)


def distrust(output_dir: Path) -> None:
    """Let the next execution begin anew: the state that was saved may be why this one failed."""
    (output_dir / STARTED_FILE).unlink(missing_ok=True)


def remove_scratch(output_dir: Path) -> None:
    """The raw dumps are in the trajectory now, and nothing is left to take up again."""
    for pattern in ("restart.*.lammps", "*.lammpstrj", "final.dump", STARTED_FILE, "screen.txt"):
        for path in output_dir.glob(pattern):
            path.unlink()
    (output_dir / INPUT_LINK).unlink(missing_ok=True)
