"""``nanoos features``: lines, tables, parquet, npz; one bad structure stops nothing."""

import numpy as np
import pytest

from nanoos.features import crystal_graph
from nanoos.testing.crystals import rocksalt, wurtzite

KEYS = [
    "file",
    "index",
    "id",
    "formula",
    "n_atoms",
    "n_bonds",
    "isolated_atoms",
    "scalars",
    "output",
    "error",
]


def test_json_has_one_line_for_each_structure_in_order(run, crystals, tmp_path):
    ran = run("features", crystals, "--json", "--cutoff", 8, "--neighbors", 12)
    assert ran.code == 3, ran.err
    assert [list(line) for line in ran.lines] == [KEYS] * 5
    assert [line["formula"] for line in ran.lines] == ["MgO", None, "ZnO", "NaCl", "MgO"]
    assert [line["n_bonds"] for line in ran.lines] == [24, None, 48, 24, 24]
    assert ran.lines[1]["error"]["code"]
    assert ran.lines[3]["id"] == "salt"
    assert ran.lines[0]["scalars"]["element_fractions"] == {"O": 0.5, "Mg": 0.5}
    assert not (tmp_path / "data").exists(), "no database is touched"


def test_table_names_what_was_refused(run, crystals):
    ran = run("features", crystals)
    assert ran.code == 3
    assert "b_broken.cif [0]:" in ran.err
    assert "ZnO" in ran.out
    assert "density, g/cm³" in ran.out


def test_npz_files_hold_the_graphs(run, crystals, tmp_path):
    folder = tmp_path / "made" / "graphs"
    ran = run("features", crystals, "--json", "-o", folder)
    files = sorted(folder.iterdir())
    assert [line["output"] for line in ran.lines if line["output"]] == [str(f) for f in files]
    assert [file.name for file in files] == [
        "000001_a_MgO_0.npz",
        "000003_c_ZnO_0.npz",
        "000004_d_two_0.npz",
        "000005_d_two_1.npz",
    ]
    with np.load(files[1], allow_pickle=False) as arrays:
        graph = crystal_graph(wurtzite(), 5.0)
        assert np.array_equal(np.bincount(arrays["sources"]), graph.coordination)
        assert np.sort(arrays["distances"]) == pytest.approx(np.sort(graph.distances), abs=1e-4)


def test_parquet_holds_a_row_for_each_that_has_features(run, crystals, tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("nanoos.cli.feature_sinks.ROWS_PER_GROUP", 3)
    path = tmp_path / "features.parquet"
    assert run("features", crystals, "-o", path).code == 3
    assert parquet.ParquetFile(path).num_row_groups == 2
    rows = parquet.read_table(path).to_pylist()
    assert [row["formula"] for row in rows] == ["MgO", "ZnO", "NaCl", "MgO"]
    graph = crystal_graph(rocksalt(4.2), 5.0)
    assert rows[3]["targets"] == graph.targets.tolist()
    assert rows[3]["distances"] == pytest.approx(graph.distances, rel=1e-4)
    assert dict(rows[3]["element_fractions"]) == {"O": 0.5, "Mg": 0.5}
    assert list(tmp_path.glob("*.part")) == []


def test_what_cannot_be_asked_for_is_refused_before_reading(run, crystals, tmp_path):
    assert run("features", crystals, "--cutoff", 0).code == 2
    assert run("features", crystals, "--neighbors", 0).code == 2
    wrong = run("features", crystals, "-o", tmp_path / "features.csv")
    assert wrong.code == 2
    assert "parquet" in wrong.err
    unwritable = run("features", crystals, "-o", tmp_path / "absent" / "features.parquet")
    assert unwritable.code == 2
    assert "cannot be written" in unwritable.err


def test_an_isolated_atom_is_told(run, tmp_path):
    from nanoos.structures import Structure, write_structures

    helium = Structure(lattice=np.eye(3) * 12, species=("He",), frac_coords=[[0, 0, 0]])
    write_structures([helium], tmp_path / "he.cif")
    ran = run("features", tmp_path / "he.cif")
    assert ran.code == 0
    assert "1 atoms have no neighbour within the cutoff" in ran.err
