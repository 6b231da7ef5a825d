"""Tables of the documentation are what the committed results give."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_CRYSTAL_CELLS = 10
_STUDY_CELLS = 6


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])


def rows(text: str, n_cells: int) -> set[str]:
    return {line for line in text.splitlines() if line.count("|") == n_cells + 1}


def test_equations_of_state(shared):
    assert shared
    import acwf

    results = acwf.rows_of(acwf.read_results(acwf.RESULTS))
    documented = rows((ROOT / "docs/espresso.md").read_text(), _CRYSTAL_CELLS)
    assert rows(acwf.table(results), _CRYSTAL_CELLS) == documented


def test_convergence_studies():
    import kpoint_studies

    found = rows(kpoint_studies.table(kpoint_studies.judged(kpoint_studies.STUDIES)), _STUDY_CELLS)
    assert found <= rows((ROOT / "docs/kpoints.md").read_text(), _STUDY_CELLS)
