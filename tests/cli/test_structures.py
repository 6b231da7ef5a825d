"""``structures``, ``show`` and ``export``."""

import zipfile

import pytest

from nanoos.structures import read_structure
from nanoos.testing.crystals import rocksalt


@pytest.fixture
def imported(lab, crystals):
    """The crystals of the folder, stored: the lines of the import."""
    return lab("structures", "import", crystals, "--json").lines


def test_import_prints_one_line_for_each_structure(lab, crystals):
    ran = lab("structures", "import", crystals, "--json")
    assert ran.code == 3
    statuses = [(line["index"], line["status"], line["formula"]) for line in ran.lines]
    assert statuses == [
        (0, "imported", "MgO"),
        (0, "refused", None),
        (0, "imported", "ZnO"),
        (0, "imported", "NaCl"),
        (1, "imported", "MgO"),
    ]
    for line in ran.lines:
        assert list(line) == ["file", "index", "status", "id", "formula", "error"]
        assert (line["id"] is None) is (line["status"] == "refused")
        assert (line["error"] is None) is (line["status"] != "refused")
    refusal = ran.lines[1]
    assert refusal["file"].endswith("b_broken.cif")
    assert set(refusal["error"]) == {"code", "message"}


def test_importing_again_is_all_duplicates_and_no_failure(imported, lab, crystals):
    ran = lab("structures", "import", crystals / "a_MgO.cif", crystals / "d_two.extxyz", "--json")
    assert ran.code == 0
    assert {line["status"] for line in ran.lines} == {"duplicate"}
    assert ran.lines[0]["id"] == imported[0]["id"]


def test_a_person_is_told_what_was_refused_and_why(lab, crystals):
    ran = lab("structures", "import", crystals)
    assert ran.code == 3
    assert "b_broken.cif" in ran.err
    assert ran.out.split() == ["imported", "4", "duplicate", "0", "refused", "1"]


def test_a_missing_file_is_a_refused_line(lab, tmp_path):
    ran = lab("structures", "import", tmp_path / "absent.cif", "--json")
    assert ran.code == 3
    assert ran.lines[0]["error"]["code"] == "not_found"


def test_list_filters_and_pages(imported, lab):
    first = lab("structures", "list", "--elements", "O", "--limit", "2", "--json").document
    assert first["total"] == 3
    rest = lab(
        "structures", "list", "--elements", "O", "--cursor", first["next"], "--json"
    ).document
    formulas = [item["formula"] for item in first["items"] + rest["items"]]
    assert sorted(formulas) == ["MgO", "MgO", "ZnO"]
    assert rest["next"] is None
    assert "structure" not in first["items"][0]
    table = lab("structures", "list")
    assert "volume, Å³" in table.out
    assert "NaCl" in table.out


def test_show_gives_the_cell_and_its_units(imported, lab):
    assert "a, b, c, Å" in lab("structures", "show", "ZnO").out
    document = lab("structures", "show", imported[2]["id"][:8], "--json").document
    assert document["id"] == imported[2]["id"]
    assert document["structure"]["species"] == ["Zn", "Zn", "O", "O"]


def test_a_formula_of_several_structures_must_be_told_apart(imported, lab):
    ran = lab("structures", "show", "MgO", "--json")
    assert ran.code == 6
    ids = {imported[0]["id"], imported[4]["id"]}
    assert set(ran.document["error"]["details"]["ids"]) == ids


def test_export_writes_what_can_be_read_again(imported, lab, tmp_path):
    target = tmp_path / "out.cif"
    assert lab("structures", "export", imported[0]["id"], "-o", target).code == 0
    written = read_structure(target)
    assert written.formula == "MgO"
    assert written.volume == pytest.approx(rocksalt().volume)
    ran = lab("export", "-q", "elements=O and sites<=2", "-o", tmp_path / "out.zip", "--json")
    assert ran.document["structures"] == 2
    assert len(zipfile.ZipFile(tmp_path / "out.zip").namelist()) == 2


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("element=O", "'elements'"),
        ("elements=O nonsense", "elements=Li,O"),
        ("formula>=MgO", "elements=Li,O"),
        ("sites=many", "elements=Li,O"),
    ],
)
def test_a_query_that_is_not_understood_is_refused(lab, tmp_path, query, hint):
    ran = lab("export", "-q", query, "-o", tmp_path / "x.zip")
    assert ran.code == 2
    assert hint in ran.err
    assert not (tmp_path / "x.zip").exists()


def test_an_empty_query_result_is_not_found(lab, tmp_path):
    assert lab("export", "-q", "elements=Xe", "-o", tmp_path / "x.cif").code == 5


def test_a_place_that_cannot_be_written_is_a_clear_error(imported, lab, tmp_path):
    ran = lab("export", "-o", tmp_path / "absent" / "x.zip")
    assert ran.code == 2
    assert "cannot be written" in ran.err
    assert lab("export", "-o", tmp_path / "x.unknown").code == 2
    assert lab("export", "-o", "-", "--format", "zip", "--json").code == 2


def test_delete_asks_first(imported, lab):
    text = imported[3]["id"]
    refused = lab("structures", "delete", text, stdin="n\n")
    assert refused.code == 1
    assert lab("structures", "show", text).code == 0
    assert lab("structures", "delete", text, "--yes", "--json").document == {"deleted": text}
    assert lab("structures", "show", text).code == 5


def test_show_tells_predictions_and_where_they_came_from(lab, crystals):
    lab("predict", crystals / "c_ZnO.cif", "--model", "STUB", "--save", "--json")
    document = lab("show", "ZnO", "--level", "0.8", "--json").document
    (prediction,) = document["predictions"]
    assert prediction["model"] == "STUB"
    assert prediction["properties"]["bandgap"]["unit"] == "eV"
    assert prediction["properties"]["bandgap"]["level"] == 0.8
    assert document["simulations"] == []
    shown = lab("show", "ZnO")
    assert "STUB 1" in shown.out
    assert "prediction" in shown.out
    assert "they mean nothing" in shown.err
