"""``nanoos kpoints``: lines, a table, inputs; one bad structure stops nothing."""

from math import ceil, pi

import pytest

from nanoos.core.errors import NotFoundError
from nanoos.pseudopotentials import get_family

KEYS = [
    "file",
    "index",
    "id",
    "formula",
    "model",
    "level",
    "kdist",
    "kdist_lower",
    "kdist_upper",
    "mesh",
    "out_of_domain",
    "error",
]


def test_json_has_one_line_for_each_structure_in_order(run, crystals, tmp_path):
    ran = run("kpoints", crystals, "--json", "--confidence", 0.9)
    assert ran.code == 3, ran.err
    assert [list(line)[: len(KEYS)] for line in ran.lines] == [KEYS] * 5
    assert [line["formula"] for line in ran.lines] == ["MgO", None, "ZnO", "NaCl", "MgO"]
    assert ran.lines[1]["error"]["code"]
    assert ran.lines[1]["mesh"] is None
    assert ran.lines[3]["id"] == "salt"
    oxide = ran.lines[0]
    assert oxide["error"] is None
    assert (oxide["model"], oxide["level"]) == ("RF", 0.9)
    height = 4.25 / 3**0.5
    assert oxide["mesh"] == [ceil(2 * pi / height / oxide["kdist_lower"] - 1e-9)] * 3
    assert not (tmp_path / "data").exists(), "no database is touched"


def test_table_says_what_converged_means_and_names_what_was_refused(run, crystals):
    ran = run("kpoints", crystals)
    assert ran.code == 3
    assert "b_broken.cif [0]:" in ran.err
    assert "ZnO" in ran.out
    assert "0.001 eV" in ran.err


@pytest.mark.parametrize(
    ("options", "code"),
    [(("--confidence", 0.5), 2), (("--model", "RFF"), 5)],
    ids=["a level that was not calibrated", "no such model"],
)
def test_a_wrong_option_is_no_error_of_a_structure(run, crystals, options, code):
    ran = run("kpoints", crystals, "--json", *options)
    assert ran.code == code
    assert '"mesh"' not in ran.out


def test_without_pseudopotentials_the_input_is_refused_and_the_mesh_is_not(run, crystals, tmp_path):
    with pytest.raises(NotFoundError):
        get_family("absent")
    ran = run(
        "kpoints", crystals / "a_MgO.cif", "--json", "--write-input", "--family", "absent",
        "-o", tmp_path / "made",
    )  # fmt: skip
    assert ran.code == 3
    (line,) = ran.lines
    assert line["mesh"]
    assert "absent" in line["error"]["message"]
    assert line["input"] is None
