"""A trial of each kind; many more by ``make chaos``."""

import random
from pathlib import Path

import pytest

from nanoos.testing.chaos import EMBEDDED_KINDS, LAB_KINDS, open_arena, run_trial


@pytest.mark.parametrize(
    ("database", "kinds"), [("sqlite", EMBEDDED_KINDS), ("postgresql", LAB_KINDS)]
)
def test_no_job_is_lost_or_finished_twice_and_no_process_is_left(
    tmp_path: Path, database: str, kinds: tuple[str, ...]
) -> None:
    rng = random.Random(20)
    with open_arena(tmp_path / "arena", database=database) as arena:
        for kind in kinds:
            report = run_trial(arena, kind, rng)
            assert report.passed, (kind, report.notes, arena.log.read_text()[-3000:])
