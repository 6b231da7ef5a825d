"""What workflows take and give."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nanoos.engines.espresso.choices import Choices
from nanoos.engines.espresso.gap import BandGap
from nanoos.engines.espresso.input_file import PwTask
from nanoos.engines.espresso.stage_run import StageResult
from nanoos.structures import Structure

StageRunner = Callable[..., StageResult]
"""``(name, task, share of the whole, **options)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What every workflow works with.

    Attributes:
        structure: What it is of.
        choices: What the rules chose.
        task: An SCF of it.
        run: Runs a stage.
    """

    structure: Structure
    choices: Choices
    task: PwTask
    run: StageRunner


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a workflow found, before it is written down.

    Attributes:
        final: Stage that energy, forces and stress are taken from.
        stages: All of them, in order.
        abandoned: Stages before them, of what was taken for an insulator and is a metal.
        values: Name with unit to number, beside those of the final stage.
        series: Name with unit to numbers.
        labels: Name to text.
        warnings: Sentences about the quality of the run.
        tables: File name to (header, rows): data files.
        pictures: File name to bytes.
        gap: Band gap, where one was looked for.
    """

    final: StageResult
    stages: tuple[StageResult, ...]
    abandoned: tuple[StageResult, ...] = ()
    values: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    tables: Mapping[str, tuple[tuple[str, ...], Any]] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    gap: BandGap | None = None
