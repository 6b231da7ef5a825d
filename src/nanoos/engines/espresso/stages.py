"""A stage of a workflow (an SCF, a relaxation) through as many starts of pw.x as it takes.

Every start leaves ``STAGE.in``, ``STAGE.out`` and, when it succeeded, ``STAGE.xml``; the second is
``STAGE-2`` and so on. A finished stage leaves ``STAGE.done.json`` last, so an execution that was
killed goes on where it was: finished stages are read again, a relaxation goes on from its last
geometry, an SCF from its last checkpoint or else its last density, a stage that needed remedies
with the one that was interrupted.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

from nanoos.core.errors import EngineError
from nanoos.core.units import RYDBERG_EV
from nanoos.engines.base import write_text_atomically
from nanoos.engines.child_process import crashed, last_lines
from nanoos.engines.espresso.failures import breaks_the_eigensolver, failure
from nanoos.engines.espresso.input_file import PREFIX, PwTask, Value, pw_input
from nanoos.engines.espresso.remedies import Failure, Remedy, ladder
from nanoos.engines.espresso.saved_stages import (
    CHECKPOINT,
    DENSITY,
    SCRATCH,
    Kept,
    apply_remedy,
    finished,
    forget_saved,
    from_scratch,
    goes_on,
    record_remedies,
    save_checkpoint,
    take_up,
    taken_over,
    took_up,
)
from nanoos.engines.espresso.stage_run import (
    RELAXING,
    StageResult,
    StageRun,
    Surroundings,
    result_of,
)
from nanoos.engines.espresso.stdout import PwOutput
from nanoos.engines.espresso.supervision import Start, supervise
from nanoos.engines.espresso.xml_output import PwXml, read_pw_xml

_SETTLED: Final = 2.0
_WORTH_GOING_ON: Final = 3


def run_stage(
    name: str,
    task: PwTask,
    around: Surroundings,
    *,
    max_continuations: int = 0,
    stress_target: tuple[float, float] | None = None,
    keep_density: bool = False,
    take_over: Kept | None = None,
) -> StageResult:
    """Bring a stage to its end, or say why that cannot be.

    Args:
        name: Of its files.
        task: What to compute.
        around: Folder, program, clock.
        max_continuations: How often a relaxation goes on from its last geometry.
        stress_target: Pressure and tolerance, eV/Å^3, that a relaxed cell is held to.
        keep_density: Whether what follows reads the density: a finished stage whose density is
            gone is computed again.
        take_over: What of the stage before an SCF begins with, where it is there.

    Raises:
        EngineError: ``scf_not_converged``, ``relax_not_converged``, ``timeout``, ``qe_failed``.
        TransientError: killed from outside, disk full.
    """
    text = pw_input(task)
    digest = hashlib.sha256(text.encode()).hexdigest()
    run = StageRun(task=task, digest=digest, slice_s=around.checkpoint_s)
    saved = around.folder / SCRATCH / f"{PREFIX}.save"
    density = saved / DENSITY
    found = finished(name, run, around)
    if found is not None and (density.exists() or not keep_density):
        around.say(f"{name}: finished before")
        return found
    take_up(name, run, around, density)
    if take_over is not None and not run.stems:
        run.task = run.task.with_settings(taken_over(saved, take_over))
    while True:
        outcome = _start(name, run, around)
        if isinstance(outcome, PwXml):
            if not _cell_is_settled(outcome, stress_target):
                _continue(name, run, around, max_continuations, "the stresses in a fresh basis")
                continue
            return _finish(name, run, outcome, around)
        if outcome == "out_of_time":
            continue
        if outcome == "not_relaxed":
            _continue(name, run, around, max_continuations, "the forces")
            continue
        if outcome == "again":
            continue
        if run.rungs is None:
            run.rungs = ladder(run.task, outcome, around.remedies)
        remedy = next(run.rungs, None)
        if remedy is None:
            raise _given_up(name, run, outcome)
        _try(remedy, run, around, name)


def _finish(name: str, run: StageRun, xml: PwXml, around: Surroundings) -> StageResult:
    folder = around.folder
    reader = PwOutput(run.task.structure)
    reader.feed((folder / f"{run.stems[-1]}.out").read_text(encoding="ascii", errors="replace"))
    document = {
        "input_sha256": run.digest,
        "starts": run.stems,
        "attempts": run.tried,
        "physics_changed": run.physics,
        "ended": time.time(),
    }
    write_text_atomically(folder / f"{name}.done.json", json.dumps(document, indent=1) + "\n")
    shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)
    return result_of(name, run, xml, reader)


# -- starts ------------------------------------------------------------------------------------

Outcome = PwXml | Failure | Literal["out_of_time", "not_relaxed", "again"]


def _start(name: str, run: StageRun, around: Surroundings) -> Outcome:
    """Start pw.x once; what came of it."""
    stem = name if not run.stems else f"{name}-{len(run.stems) + 1}"
    folder = around.folder
    settings: dict[str, Mapping[str, Value]] = {}
    if run.slice_s < around.timeout_s:
        settings["control"] = {"max_seconds": round(run.slice_s, 1)}
    task = run.task.with_settings(settings)
    write_text_atomically(folder / f"{stem}.in", pw_input(task))
    run.stems.append(stem)
    reader = PwOutput(task.structure)
    conv_thr = task.keyword("electrons", "conv_thr")
    relaxing = task.calculation in RELAXING
    output, errors = folder / f"{stem}.out", folder / f"{stem}.err"
    left_from_before = folder / SCRATCH / f"{PREFIX}.xml"
    left_from_before.unlink(missing_ok=True)

    def tell(fraction: float, message: str) -> None:
        run.told = max(run.told, run.begun_at + (1.0 - run.begun_at) * fraction)
        around.tell(run.told, message)

    code = supervise(
        Start(
            command=around.program.arguments(f"{stem}.in", around.pools),
            environment=around.program.environment(),
            folder=folder,
            output=output,
            errors=errors,
            deadline=around.deadline,
            timeout_s=around.timeout_s,
            conv_thr_ev=float(conv_thr or 1e-6) * RYDBERG_EV,
            relaxing=relaxing,
            steps_before=len(run.steps),
            label=stem,
        ),
        reader,
        tell,
    )
    run.add(reader)
    if relaxing:
        run.task = replace(run.task, structure=reader.last_geometry(task.structure))
    return _judged(stem, run, reader, code, around)


def _judged(stem: str, run: StageRun, reader: PwOutput, code: int, around: Surroundings) -> Outcome:
    folder = around.folder
    output, errors = folder / f"{stem}.out", folder / f"{stem}.err"
    if reader.unconverged:
        around.say(f"{stem}: the SCF did not converge")
        return "unconverged"
    if reader.out_of_time:
        around.say(f"{stem}: stopped for a checkpoint")
        if _too_short(run, reader):
            run.slice_s *= 2
        save_checkpoint(run, around)
        return "out_of_time"
    if reader.bfgs_failed and reader.job_done:
        return "not_relaxed"
    if not reader.job_done or code != 0 or reader.error_routine:
        if breaks_the_eigensolver(reader, last_lines(errors)):
            around.say(f"{stem}: the diagonalisation failed")
            return "diagonalisation"
        saved = goes_on(run, around)
        error = failure(reader, code, folder, output, errors, resumable=saved)
        unusable = isinstance(error, EngineError) or crashed(error)
        if unusable and run.task.calculation == "scf" and took_up(run.task):
            around.say(f"{stem}: what was saved cannot be used, starting afresh: {error}")
            forget_saved(run, around)
            return "again"
        raise error
    xml = read_pw_xml(folder / SCRATCH / f"{PREFIX}.xml")
    if xml.scf_converged is False and run.task.calculation in {"scf", *RELAXING}:
        return "unconverged"  # nscf and bands have no SCF, and say false
    if run.task.calculation in RELAXING and not reader.bfgs_converged:
        return "not_relaxed"
    shutil.copyfile(folder / SCRATCH / f"{PREFIX}.xml", folder / f"{stem}.xml")
    return xml


def _too_short(run: StageRun, reader: PwOutput) -> bool:
    """Whether a clean stop came before there was much to go on from.

    An SCF goes on from an iteration; a relaxation from its last geometry only, without what the
    start had learnt of the curvature, so that it should get a few.
    """
    if run.task.calculation in RELAXING:
        return len(reader.steps) < _WORTH_GOING_ON
    return not any(cycle.energies_ev for cycle in reader.cycles)


def _cell_is_settled(xml: PwXml, target: tuple[float, float] | None) -> bool:
    """Whether the stress in the basis of the final cell is what was asked for.

    pw.x relaxes a cell with the plane waves of the first one; its last SCF takes those of the
    final cell, and shows the Pulay stress that was left.
    """
    if target is None or xml.stress is None:
        return True
    pressure, tolerance = target
    off = -float(xml.stress.trace()) / 3 - pressure
    return abs(off) <= _SETTLED * tolerance


def _continue(name: str, run: StageRun, around: Surroundings, most: int, what: str) -> None:
    """Go on from the last geometry, unless that was done often enough."""
    run.continuations += 1
    if run.continuations > most:
        forces = run.steps[-1].forces if run.steps else None
        left = "" if forces is None else f"; the largest force is {abs(forces).max():.3f} eV/Å"
        raise EngineError(
            f"{name} did not converge {what} in {len(run.steps)} geometries{left}.",
            hint="Raise max_steps or max_continuations, or begin nearer to the minimum.",
            details={"geometries": len(run.steps), "continuations": most},
            code="relax_not_converged",
        )
    around.say(f"{name}: going on from geometry {len(run.steps)}, {what} are not there yet")
    run.task = from_scratch(run.task)


def _try(remedy: Remedy, run: StageRun, around: Surroundings, name: str) -> None:
    around.say(f"{name}: trying {remedy.name}")
    if run.task.calculation in {"scf", *RELAXING}:
        forget_saved(run, around)  # another start must not go on from what did not converge
    if run.task.calculation not in RELAXING:
        run.begun_at = run.told
    apply_remedy(remedy, run)
    record_remedies(name, run, around)


def _given_up(name: str, run: StageRun, outcome: str) -> EngineError:
    last = run.cycles[-1].accuracies_ev[-1:] if run.cycles else []
    reached = f" (estimated accuracy {last[0]:.1e} eV)" if last else ""
    what = (
        "The diagonalisation failed" if outcome == "diagonalisation" else "The SCF did not converge"
    )
    tried = f" Tried: {', '.join(run.tried)}." if run.tried else ""
    return EngineError(
        f"{what} in {name}{reached}.{tried}",
        hint="Check the structure and its spin; a denser mesh, higher cutoffs or more "
        "max_scf_steps may help.",
        details={"attempts": run.tried, "stage": name},
        code="scf_not_converged",
    )
