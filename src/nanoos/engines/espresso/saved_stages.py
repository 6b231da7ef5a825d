"""What starts of pw.x leave behind, and how a later execution goes on from it.

A finished stage is read again, a relaxation goes on from its last geometry, an SCF from its last
checkpoint or else its last density, each with the remedies that were tried before. What an SCF
that did not converge left is never taken up.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from nanoos.core.errors import EngineError
from nanoos.engines.base import write_text_atomically
from nanoos.engines.child_process import last_lines
from nanoos.engines.espresso.failures import breaks_the_eigensolver
from nanoos.engines.espresso.input_file import PREFIX, PwTask, Value, pw_input
from nanoos.engines.espresso.remedies import Remedy, resumed_ladder
from nanoos.engines.espresso.stage_run import (
    RELAXING,
    StageResult,
    StageRun,
    Surroundings,
    result_of,
)
from nanoos.engines.espresso.stdout import PwOutput
from nanoos.engines.espresso.xml_output import read_pw_xml

SCRATCH: Final = ".scratch"
"""Where pw.x keeps wavefunctions and densities: hidden, so no part of what a run leaves."""
CHECKPOINT: Final = ".checkpoint"
DENSITY: Final = "charge-density.dat"
_WAVEFUNCTIONS: Final = "wfc1.dat"
FROM_DENSITY: Final[Mapping[str, Mapping[str, Value]]] = {"electrons": {"startingpot": "file"}}
"""Settings of an SCF that begins with a saved density."""
_FROM_WAVEFUNCTIONS: Final[Mapping[str, Mapping[str, Value]]] = {
    "electrons": {"startingpot": "file", "startingwfc": "file"}
}
Kept = Literal["density", "wavefunctions"]
"""What an SCF can take over from the stage before; wavefunctions where it has the same k-points."""
_STAGE_NAME: Final = "stage"
_HOW_IT_BEGINS: Final = ("max_seconds", "startingpot", "startingwfc")
"""Keywords that say how a start begins and ends, not what is computed."""


def finished(name: str, run: StageRun, around: Surroundings) -> StageResult | None:
    """A stage that an earlier execution finished; None where there is none of the same input."""
    try:
        record = json.loads((around.folder / f"{name}.done.json").read_text(encoding="utf-8"))
        if record["input_sha256"] != run.digest:
            _discard(name, around.folder)
            return None
        ended = StageRun(
            task=run.task,
            digest=run.digest,
            stems=list(record["starts"]),
            tried=list(record["attempts"]),
            physics=bool(record["physics_changed"]),
        )
        readers = _replay(ended, around.folder)
        xml = read_pw_xml(around.folder / f"{ended.stems[-1]}.xml")
    except (OSError, ValueError, KeyError, TypeError, EngineError):
        return None
    return result_of(name, ended, xml, readers[-1])


def take_up(name: str, run: StageRun, around: Surroundings, density: Path) -> None:
    """Prepare to go on from what a killed execution left of this stage."""
    folder = around.folder
    earlier = _starts(name, folder)
    if not earlier:
        return
    first = folder / f"{name}.in"
    if not _same_task(first.read_text(encoding="utf-8"), pw_input(run.task)):
        _discard(name, folder)
        return
    run.stems = earlier
    readers = _replay(run, folder)
    _take_up_remedies(name, run, around)
    if run.task.calculation in RELAXING:
        if run.steps:
            run.task = replace(run.task, structure=readers[-1].last_geometry(run.task.structure))
            around.say(f"{name}: going on from geometry {len(run.steps)}")
        return
    said = last_lines(folder / f"{earlier[-1]}.err")
    broke = readers[-1].unconverged or breaks_the_eigensolver(readers[-1], said)
    if run.task.calculation == "scf" and broke:
        forget_saved(run, around)
    saved = folder / CHECKPOINT
    if _checkpoint_of(saved) == run.digest:
        shutil.rmtree(folder / SCRATCH, ignore_errors=True)
        shutil.copytree(saved, folder / SCRATCH)
        run.task = run.task.with_settings({"control": {"restart_mode": "restart"}})
        around.say(f"{name}: going on from the last checkpoint")
    elif run.task.calculation == "scf" and density.exists() and not run.task.choices.polarised:
        run.task = run.task.with_settings(FROM_DENSITY)
        around.say(f"{name}: going on from the last density")
    else:
        around.say(f"{name}: nothing of it was saved, starting again")


def apply_remedy(remedy: Remedy, run: StageRun) -> None:
    """Let the next start try this, on top of the remedies before."""
    run.tried.append(remedy.name)
    run.physics = run.physics or remedy.physics
    run.task = from_scratch(run.task).with_settings(remedy.changes)


def record_remedies(name: str, run: StageRun, around: Surroundings) -> None:
    """Write down what was tried, for people and for an execution that goes on from here."""
    path = _attempts_file(name, around.folder)
    write_text_atomically(path, json.dumps(run.tried, indent=1) + "\n")


def _take_up_remedies(name: str, run: StageRun, around: Surroundings) -> None:
    try:
        tried = json.loads(_attempts_file(name, around.folder).read_text(encoding="utf-8"))
        found = resumed_ladder(run.task, tried, around.remedies)
    except (OSError, ValueError, TypeError):
        return
    if not tried or found is None:
        return
    remedies, run.rungs = found
    for remedy in remedies:
        apply_remedy(remedy, run)
    around.say(f"{name}: going on with {run.tried[-1]}")


def _attempts_file(name: str, folder: Path) -> Path:
    return folder / f"{name}.attempts.json"


def taken_over(saved: Path, kept: Kept) -> Mapping[str, Mapping[str, Value]]:
    """Settings of an SCF that begins with what the stage before left in ``saved``."""
    if not (saved / DENSITY).exists():
        return {}
    with_them = kept == "wavefunctions" and (saved / _WAVEFUNCTIONS).exists()
    return _FROM_WAVEFUNCTIONS if with_them else FROM_DENSITY


def _replay(run: StageRun, folder: Path) -> list[PwOutput]:
    """Read the outputs of the starts there were."""
    readers: list[PwOutput] = []
    structure = run.task.structure
    for stem in run.stems:
        reader = PwOutput(structure)
        path = folder / f"{stem}.out"
        if path.exists():
            reader.feed(path.read_text(encoding="ascii", errors="replace"))
        structure = reader.last_geometry(structure)
        run.add(reader)
        readers.append(reader)
    return readers


def _starts(name: str, folder: Path) -> list[str]:
    found: list[str] = []
    while (folder / f"{(stem := name if not found else f'{name}-{len(found) + 1}')}.in").exists():
        found.append(stem)
    return found


def _same_task(one: str, other: str) -> bool:
    def lines(text: str) -> list[str]:
        return [x for x in text.splitlines() if not any(word in x for word in _HOW_IT_BEGINS)]

    return lines(one) == lines(other)


def _discard(name: str, folder: Path) -> None:
    for stem in _starts(name, folder):
        for suffix in (".in", ".out", ".err", ".xml"):
            (folder / f"{stem}{suffix}").unlink(missing_ok=True)
    (folder / f"{name}.done.json").unlink(missing_ok=True)
    _attempts_file(name, folder).unlink(missing_ok=True)


def save_checkpoint(run: StageRun, around: Surroundings) -> None:
    """Keep what a clean stop wrote, where the next start cannot spoil it."""
    if run.task.calculation in RELAXING:
        return
    part = around.folder / f"{CHECKPOINT}.part"
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(around.folder / SCRATCH, part)
    (part / _STAGE_NAME).write_text(run.digest, encoding="ascii")
    shutil.rmtree(around.folder / CHECKPOINT, ignore_errors=True)
    part.rename(around.folder / CHECKPOINT)
    run.task = run.task.with_settings({"control": {"restart_mode": "restart"}})


def goes_on(run: StageRun, around: Surroundings) -> bool:
    """Whether the next execution finds something to go on from: a stage, a geometry, an SCF."""
    folder = around.folder
    if any(folder.glob("*.done.json")) or _checkpoint_of(folder / CHECKPOINT) == run.digest:
        return True
    if run.task.calculation in RELAXING:
        return bool(run.steps)
    density = folder / SCRATCH / f"{PREFIX}.save" / DENSITY
    return run.task.calculation == "scf" and density.exists()


def _checkpoint_of(saved: Path) -> str | None:
    try:
        return (saved / _STAGE_NAME).read_text(encoding="ascii")
    except OSError:
        return None


def took_up(task: PwTask) -> bool:
    """Whether a task begins with something that was saved."""
    return (
        task.keyword("electrons", "startingpot") == "file"
        or task.keyword("control", "restart_mode") == "restart"
    )


def from_scratch(task: PwTask) -> PwTask:
    """The task without what makes it begin with something saved."""
    settings = {name: dict(words) for name, words in task.settings.items()}
    if task.calculation in {"scf", *RELAXING}:
        for name in ("startingpot", "startingwfc"):
            settings.get("electrons", {}).pop(name, None)
    settings.get("control", {}).pop("restart_mode", None)
    return replace(task, settings=settings)


def forget_saved(run: StageRun, around: Surroundings) -> None:
    """Throw away what cannot be used; the next start begins afresh."""
    shutil.rmtree(around.folder / SCRATCH, ignore_errors=True)
    shutil.rmtree(around.folder / CHECKPOINT, ignore_errors=True)
    run.task = from_scratch(run.task)
