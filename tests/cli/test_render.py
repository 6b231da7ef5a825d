"""Tables, documents and progress."""

import math
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pytest

from nanoos.cli.documents import to_document
from nanoos.cli.render import Column, cell_text, console, named_number, print_table, progress

COLUMNS = (
    Column(title="name", of=lambda row: row[0], shrinks=True),
    Column(title="value, eV", of=lambda row: row[1], right=True),
)


@dataclass(frozen=True)
class Record:
    id: uuid.UUID
    made: datetime
    numbers: tuple[float, ...]


def test_documents_hold_json_types_only():
    record = Record(
        uuid.UUID(int=1), datetime(2026, 1, 2, 3, tzinfo=UTC), (1.0, math.nan, math.inf)
    )
    assert to_document(record) == {
        "id": str(uuid.UUID(int=1)),
        "made": "2026-01-02T03:00:00Z",
        "numbers": [1.0, None, None],
    }
    assert to_document({"a": np.float64(2.0), 1: np.arange(2), "s": {"b", "a"}}) == {
        "a": 2.0,
        "1": [0, 1],
        "s": ["a", "b"],
    }
    with pytest.raises(TypeError, match="object"):
        to_document(object())


def test_a_piped_table_is_never_cut(capsys):
    print_table(COLUMNS, [("x" * 300, 1.0)], empty="")
    assert "x" * 300 in capsys.readouterr().out


def test_a_narrow_terminal_cuts_the_column_that_may_shrink(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    print_table(COLUMNS, [("x" * 300, -1.2345)], empty="")
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines()) <= 40
    assert "-1.234" in out
    assert "…" in out


def test_an_empty_table_is_a_sentence_on_standard_error(capsys):
    print_table(COLUMNS, [], empty="Nothing there.")
    assert capsys.readouterr() == ("", "Nothing there.\n")


def test_no_color_is_respected(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert console().color_system is not None
    monkeypatch.setenv("NO_COLOR", "1")
    assert console().no_color


def test_square_brackets_are_text_and_no_markup(capsys):
    print_table(COLUMNS, [("two.extxyz [1] [red]", None)], empty="")
    assert "two.extxyz [1] [red]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "yes"),
        (0.0, "0.000"),
        (1.5e-5, "1.5e-05"),
        (123456.0, "1.235e+05"),
        (("a", "b"), "a, b"),
        ("two\nlines", "two lines"),
    ],
)
def test_cells(value, text):
    assert cell_text(value) == text


@pytest.mark.parametrize(
    ("name", "what", "unit"),
    [
        ("energy_ev_per_atom", "energy", "eV/atom"),
        ("max_force_ev_a", "max force", "eV/Å"),
        ("volume_a3_per_atom", "volume", "Å³/atom"),
        ("bulk_modulus_gpa", "bulk modulus", "GPa"),
        ("fit_r2", "fit r2", ""),
    ],
)
def test_units_leave_the_name(name, what, unit):
    assert named_number(name, 1.0) == (what, 1.0, unit)


def test_counts_are_whole_and_answers_are_yes_or_no():
    assert str(named_number("n_scf_iterations", 6.0)[1]) == "6"
    assert named_number("gap_is_direct", 0.0) == ("gap is direct", False, "")


def test_progress_is_silent_where_nobody_watches(capsys):
    with progress("working") as report:
        report(0.5, "half")
    assert capsys.readouterr() == ("", "")
