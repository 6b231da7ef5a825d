"""The stages of a workflow, run one after the other with one progress; as a metal where there is no gap."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from nanoos.core.errors import EngineError, InvalidInputError
from nanoos.engines.base import Progress
from nanoos.engines.espresso.choices import may_be_metal
from nanoos.engines.espresso.convergence import run_kpoint_convergence
from nanoos.engines.espresso.cost import refuse_costly_workflow
from nanoos.engines.espresso.input_file import PwTask
from nanoos.engines.espresso.plan import Finding, Plan
from nanoos.engines.espresso.program import EspressoProgram
from nanoos.engines.espresso.saved_stages import SCRATCH
from nanoos.engines.espresso.setting import Setting, task_of
from nanoos.engines.espresso.stage_run import RELAXING, StageResult, Surroundings
from nanoos.engines.espresso.stages import run_stage
from nanoos.engines.espresso.workflows import WORKFLOWS, gap_of
from nanoos.engines.run_files import RunLog

_RUNS: Final[Mapping[str, Callable[[Plan, Any], Finding]]] = {
    **WORKFLOWS,
    "kpoint_convergence": run_kpoint_convergence,
}
_AS_METAL: Final = "metal-"
"""Begins the names of the stages that are computed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What an execution has: the program, and time.

    Attributes:
        program: Which pw.x.
        deadline: ``time.monotonic()`` at which it is given up.
        timeout_s: For the message.
    """

    program: EspressoProgram
    deadline: float
    timeout_s: float


def run_workflow(
    setting: Setting, means: Means, progress: Progress | None, log: RunLog
) -> tuple[Setting, Finding]:
    """Run a workflow to its end.

    What is an insulator by its elements alone and shows no gap in an SCF, or at the end, is computed
    again with the choices for a metal. What was computed before is kept beside it.

    Returns:
        The setting that the finding is of, and the finding.

    Raises:
        EngineError: as ``run_stage`` and the workflows say; ``too_expensive`` where the choices for a
            metal take more than is computed without ``allow_large``.
    """
    first = _Runner(setting, means, progress, log)
    try:
        finding = first.workflow()
    except _NoGapError as found:
        seen = found.stage
    else:
        gapless = finding.gap is not None and finding.gap.metal
        if not (gapless and first.may_be_metal):
            return setting, finding
        seen = finding.stages[-1].name
    metal = setting.as_metal(seen)
    _refuse_costly_metal(metal, seen, means.program.processes)
    log.line(f"{seen}: no gap, computing it again as a metal")
    again = _Runner(metal, means, progress, log, prefix=_AS_METAL, begin=first.told)
    finding = again.workflow()
    return metal, replace(finding, abandoned=tuple(first.results))


def _refuse_costly_metal(metal: Setting, seen: str, processes: int) -> None:
    try:
        refuse_costly_workflow(metal.structure, metal.parameters, metal.choices, processes)
    except InvalidInputError as error:
        raise EngineError(
            f"{seen} found no gap. As a metal {error.message}",
            hint=f"{error.hint} expected_gap_ev keeps the choices for an insulator.",
            details=error.details,
            code=error.error_code,
        ) from error


class _NoGapError(Exception):
    """A stage of what is taken for an insulator has no gap."""

    def __init__(self, stage: str) -> None:
        super().__init__(stage)
        self.stage = stage


class _Runner:
    """Runs stages one after the other and turns their progress into that of the whole."""

    def __init__(
        self,
        setting: Setting,
        means: Means,
        progress: Progress | None,
        log: RunLog,
        *,
        prefix: str = "",
        begin: float = 0.0,
    ) -> None:
        self._setting = setting
        self._means = means
        self._progress = progress
        self._log = log
        self._prefix = prefix
        self._begin = begin
        self._done = 0.0
        self.told = begin
        self.results: list[StageResult] = []
        self.may_be_metal = may_be_metal(setting.choices, setting.parameters)

    def workflow(self) -> Finding:
        """All stages; raises :class:`_NoGapError` where one shows that it may be a metal."""
        setting = self._setting
        pseudo_dir = _relative(setting.input_dir, setting.output_dir)
        task = task_of(setting, pseudo_dir=pseudo_dir, outdir=f"./{SCRATCH}")
        plan = Plan(structure=task.structure, choices=setting.choices, task=task, run=self.stage)
        return _RUNS[setting.parameters.workflow](plan, setting.parameters)

    def stage(self, name: str, task: PwTask, share: float, **options: Any) -> StageResult:
        """Run a stage that is ``share`` of the work."""
        name = self._prefix + name
        parameters = self._setting.parameters

        def tell(fraction: float, message: str) -> None:
            whole = self._begin + (1 - self._begin) * (self._done + share * fraction)
            self.told = min(0.99, max(self.told, whole))
            if self._progress is not None:
                self._progress(self.told, message)

        around = Surroundings(
            folder=self._setting.output_dir,
            program=self._means.program,
            pools=parameters.nk,
            deadline=self._means.deadline,
            timeout_s=self._means.timeout_s,
            remedies=parameters.remedies,
            checkpoint_s=60 * parameters.checkpoint_minutes,
            tell=tell,
            say=self._log.line,
        )
        tell(0.0, f"{name}: starting")
        result = run_stage(name, task, around, **options)
        self.results.append(result)
        self._done = min(0.99, self._done + share)
        self._log.line(
            f"{name}: {sum(len(c.energies_ev) for c in result.cycles)} SCF iterations, "
            f"{result.cpu_s:.1f} s of processor"
        )
        if self.may_be_metal and task.calculation in {"scf", *RELAXING}:
            gap = gap_of(result)
            if gap is not None and gap.metal:
                raise _NoGapError(name)
        return result


def _relative(folder: Path, start: Path) -> str:
    """``folder`` as seen from ``start``; short where the two stand side by side."""
    path = os.path.relpath(folder.resolve(), start.resolve())
    if len(path) > 200:  # noqa: PLR2004 - pw.x keeps 256 characters of a folder
        raise InvalidInputError(
            f"The input folder is too far from the output folder: {path}.",
            hint="Put them side by side.",
        )
    return f"{path}/"
