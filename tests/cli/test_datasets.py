"""``nanoos datasets``."""

import csv

import pytest

from nanoos.datasets.export import structure_text
from nanoos.testing.crystals import rocksalt

CATIONS = ("Mg", "Ca", "Sr", "Ba", "Zn")


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "gaps.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "structure", "gap", "kept"])
        for n in range(20):
            cell = structure_text(rocksalt(4.2 + n / 100, CATIONS[n % 5]))
            writer.writerow([f"m{n}", cell, n / 2, n != 3])
    return path


@pytest.fixture
def imported(lab, table):
    return lab("datasets", "import", table, "--name", "gaps", "--target", "bandgap=gap",
               "--unit", "bandgap=eV", "--functional", "PBE", "--json").document  # fmt: skip


def test_import_list_show_and_delete(lab, imported):
    assert imported["n_rows"] == 20
    assert imported["level_of_theory"]["bandgap"]["functional"] == "PBE"
    assert lab("datasets", "list", "--json").document["items"] == [imported]
    assert lab("datasets", "show", "gaps", "--json").document == imported
    told = lab("datasets", "show", imported["id"][:8]).out
    assert "bandgap" in told
    assert "PBE" in told
    assert (
        lab("datasets", "delete", "gaps", "--yes", "--json").document["deleted"] == imported["id"]
    )
    ran = lab("datasets", "show", "gaps", "--json")
    assert (ran.code, ran.document["error"]["code"]) == (5, "not_found")


def test_refused_rows_are_told_and_end_with_3(lab, table):
    table.write_text(table.read_text() + "broken,?,1,True\n")
    options = ("--target", "bandgap=gap", "--where", "kept=true")
    ran = lab("datasets", "import", table, "--name", "a", *options)
    assert ran.code == 3
    assert "refused: broken" in ran.err
    assert lab("datasets", "show", "a", "--json").document["n_rows"] == 19


def test_columns_that_nobody_knows_are_asked_for(lab, table):
    ran = lab("datasets", "import", table, "--name", "a", "--json")
    assert ran.code == 2
    assert "--target" in ran.document["error"]["hint"]
    assert lab("datasets", "import", table, "--name", "a", "--target", "gap").code == 2


def test_no_network_ends_with_8_and_what_to_do(lab, monkeypatch):
    monkeypatch.setattr("nanoos.datasets.readers.downloads.urllib.request.urlopen", refuse)
    ran = lab("datasets", "import", "matbench:phonons", "--name", "p", "--json")
    assert (ran.code, ran.document["error"]["code"]) == (8, "no_network")
    assert "import matbench_phonons.json.gz" in ran.document["error"]["hint"]


def refuse(*_arguments: object, **_options: object) -> None:
    raise OSError("Network is unreachable")


def test_split_is_by_composition_and_can_be_written(lab, imported, tmp_path):
    found = lab("datasets", "split", "gaps", "--fractions", "0.6,0.2,0.2", "--json").document
    assert {name: part["rows"] for name, part in found["parts"].items()} == {
        "train": 12, "val": 4, "test": 4
    }  # fmt: skip
    assert sum(part["formulas"] for part in found["parts"].values()) == 5
    output = tmp_path / "split.csv"
    lab("datasets", "split", "gaps", "--output", output)
    rows = list(csv.DictReader(output.read_text().splitlines()))
    assert len(rows) == 20
    assert rows[0].keys() == {"row", "id", "formula", "part"}


def test_export_and_plot(lab, imported, tmp_path):
    for name in ("a.parquet", "a.csv", "a.extxyz"):
        ran = lab("datasets", "export", "gaps", "--output", tmp_path / name, "--json")
        assert ran.document["rows"] == 20
        again = lab("datasets", "import", tmp_path / name, "--name", name, "--json").document
        assert again["statistics"]["bandgap"]["count"] == 20
    assert lab("datasets", "export", "gaps", "--output", tmp_path / "a.what").code == 2
    lab("datasets", "plot", "gaps", "--output", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_simulations_are_a_source(lab):
    ran = lab("datasets", "import", "simulations", "--name", "s", "--json")
    assert (ran.code, ran.document["error"]["code"]) == (2, "no_rows")
