"""Every layout that people have, with good and bad rows, read, sealed and exported again."""

import gzip
import json
import lzma
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
from small import HSE, PBE, row, salt, stream
from table_files import (
    NUMBERS,
    WRITERS,
    cells,
    cgcnn_folder,
    frame,
    write_array,
    write_csv,
    write_lines,
    write_parquet,
)

from nanoos.core.errors import InvalidInputError, NotFoundError, StructureRefusedError
from nanoos.datasets import RefusedRow, RowSource, split_train_val
from nanoos.datasets.export import export_chunks, export_dataset_to_pandas, structure_text
from nanoos.datasets.plot import cell_of_element, dataset_figure_png
from nanoos.datasets.property_columns import choose_targets, guess_target, read_number
from nanoos.datasets.readers.cells import structure_of_cell
from nanoos.datasets.readers.options import ReadOptions
from nanoos.datasets.reading import load_dataset, load_with_summary, open_rows
from nanoos.datasets.sealed import is_sealed, read_sealed
from nanoos.datasets.sealing import seal_rows
from nanoos.structures import export_bytes, write_structures

PHONONS = Path(__file__).parents[3] / "shared" / "data" / "phonons" / "phonons.parquet"


def pymatgen_dict(structure):
    return json.loads(structure.to_pymatgen().to_json())


@pytest.mark.parametrize("name", WRITERS)
def test_tables_of_every_kind_give_the_same_rows(tmp_path, name):
    records = [cells(n) | {"split": part} for n, part in enumerate(("train", "test", "valid"))]
    dataset, summary = load_with_summary(WRITERS[name](tmp_path / name, records))
    assert dataset.ids == ("mp-0", "mp-1", "mp-2")
    assert dataset.targets["bandgap"].tolist() == NUMBERS
    assert dataset.units == {"bandgap": "eV"}
    assert list(dataset.structures) == [salt(n) for n in range(3)]
    assert dataset.given_split == ("train", "test", "val")
    assert [source.as_dict() for source in dataset.sources] == [
        {"kind": "file", "name": name, "row": n, "id": f"mp-{n}"} for n in range(3)
    ]
    assert (summary.n_refused, summary.columns) == (0, {"bandgap": "band_gap_eV"})
    assert summary.sha256 == dataset.sha256
    assert summary.splits == {"train": 1, "test": 1, "val": 1}


@pytest.mark.parametrize("name", WRITERS)
def test_bad_rows_are_reported_with_place_and_reason_and_stop_nothing(tmp_path, name):
    overlapping = {"lattice": np.eye(3).tolist(), "frac_coords": [[0, 0, 0]] * 2}
    bad = [
        cells(1) | {"structure": "nonsense"},
        cells(1) | {"structure": json.dumps(overlapping | {"atomic_numbers": [8, 8]})},
        cells(1) | {"band_gap_eV": None},
        cells(1) | {"structure": None},
    ]
    path = WRITERS[name](tmp_path / name, [cells(0), *bad, cells(2)])
    dataset, summary = load_with_summary(path)
    assert dataset.ids == ("mp-0", "mp-2")
    assert [refusal.source.row for refusal in summary.refused] == [1, 2, 3, 4]
    codes = [refusal.error.error_code for refusal in summary.refused]
    assert codes == ["unknown_format", "overlapping_atoms", "no_target_value", "missing_structure"]
    assert summary.n_refused == sum(summary.refusals.values()) == 4
    assert all(refusal.error.message for refusal in summary.refused)


def test_broken_lines_of_text_tables_are_rows_that_are_refused(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", [cells(0), cells(2)])
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], '{"id": "cut', "[1]", "", lines[1]]) + "\n")
    dataset, summary = load_with_summary(path)
    assert (len(dataset), summary.refusals) == (2, {"malformed_row": 2})
    path = write_csv(tmp_path / "a.csv", [cells(0), cells(2)])
    path.write_text(path.read_text() + "mp-9,only two\r\n")
    dataset, summary = load_with_summary(path)
    assert (len(dataset), summary.refusals) == (2, {"malformed_row": 1})
    write_csv(path, [cells(0), cells(1) | {"band_gap_eV": "1,5"}])
    assert load_with_summary(path)[1].refusals == {"not_a_number": 1}


def test_no_usable_row_is_an_error_that_says_why(tmp_path):
    path = write_csv(tmp_path / "a.csv", [cells(0) | {"structure": "?"}])
    with pytest.raises(InvalidInputError, match="None of the 1 rows") as caught:
        load_dataset(path)
    assert caught.value.error_code == "no_rows"


STRUCTURE_CELLS = {
    "ours": lambda s: s.as_dict(),
    "ours_text": lambda s: json.dumps(s.as_dict()),
    "pymatgen": pymatgen_dict,
    "pymatgen_text": lambda s: json.dumps(pymatgen_dict(s)),
    "cif": lambda s: export_bytes([s], "cif").data.decode(),
    "poscar": lambda s: export_bytes([s], "poscar").data.decode(),
    "jarvis": lambda s: {
        "lattice_mat": s.lattice.tolist(),
        "coords": s.frac_coords.tolist(),
        "elements": list(s.species),
        "cartesian": False,
    },
    "jarvis_cartesian": lambda s: {
        "lattice_mat": s.lattice.tolist(),
        "coords": s.cart_coords.tolist(),
        "elements": list(s.species),
        "cartesian": True,
    },
}


@pytest.mark.parametrize("kind", STRUCTURE_CELLS)
def test_a_cell_holds_a_structure_in_many_ways(kind):
    found = structure_of_cell(STRUCTURE_CELLS[kind](salt(3)))
    assert found.formula == salt(3).formula
    assert found.volume == pytest.approx(salt(3).volume, rel=1e-6)
    assert not found.is_left_handed


def test_a_cell_may_name_a_file_beside_the_table_but_none_elsewhere(tmp_path):
    inside, outside = tmp_path / "set", tmp_path / "secret.cif"
    inside.mkdir()
    write_structures([salt(0)], inside / "a.cif")
    write_structures([salt(1)], outside)
    table = write_csv(inside / "t.csv", [{"file": "a.cif", "bandgap": 1}])
    assert load_dataset(table).structures[0].formula == salt(0).formula
    uploaded = open_rows(table, trusted=False)
    with pytest.raises(InvalidInputError, match="None of the"):
        seal_rows(uploaded, tmp_path / "x.parquet", name="x")
    for path in ("../secret.cif", str(outside)):
        with pytest.raises(StructureRefusedError):
            structure_of_cell(path, folder=inside)


def test_a_left_handed_cell_is_the_same_crystal_right_handed():
    plain = salt(0)
    left = plain.as_dict() | {
        "lattice": plain.lattice[[1, 0, 2]].tolist(),
        "frac_coords": plain.frac_coords[:, [1, 0, 2]].tolist(),
    }
    found = structure_of_cell(left)
    assert not found.is_left_handed
    assert found.volume == pytest.approx(plain.volume)


class TestColumns:
    @pytest.mark.parametrize(
        ("column", "target", "unit", "cell", "value"),
        [
            ("band_gap_eV", "bandgap", "eV", "1.5", 1.5),
            ("Band Gap (meV)", "bandgap", "eV", 1500, 1.5),
            ("gap pbe", "bandgap", "eV", 1.5, 1.5),
            ("formation_energy_eV_per_atom", "formation_energy", "eV/atom", -1, -1.0),
            ("energy_eV_per_atom", "energy_per_atom", "eV/atom", -1, -1.0),
            ("log10(K_VRH)", "bulk_modulus", "GPa", 2.0, 100.0),
            ("last_phdos_peak_cm-1", "last_phonon_peak", "cm^-1", 300, 300.0),
            ("refractive_index_n", "refractive_index", "1", 1.7, 1.7),
            ("is_metal", "is_metal", "1", "True", 1.0),
        ],
    )
    def test_well_known_names(self, column, target, unit, cell, value):
        found = guess_target(column)
        assert (found.target, found.unit) == (target, unit)
        assert found.value(cell) == pytest.approx(value)

    @pytest.mark.parametrize(
        "column",
        [
            "formation_energy_eV",
            "formation_energy_ev_natom",
            "energy",
            "n",
            "nsites",
            "gap_gllbsc_eV",
        ],
    )
    def test_names_that_may_mean_something_else_are_not_guessed(self, column):
        assert guess_target(column) is None

    def test_a_mapping_needs_a_unit_that_is_known(self):
        columns = ["x", "gap_gllbsc_eV", "weird"]
        (found,) = choose_targets(columns, {"bandgap": "gap_gllbsc_eV"}, {})
        assert (found.column, found.unit) == ("gap_gllbsc_eV", "eV")
        (found,) = choose_targets(columns, {"hardness": "weird"}, {"hardness": "GPa"})
        assert found.unit == "GPa"
        (found,) = choose_targets(columns, {"bulk_modulus": "x"}, {"bulk_modulus": "log10(GPa)"})
        assert found.value(2) == 100
        for wanted, units, code in (
            ({"hardness": "weird"}, {}, "unknown_unit"),
            ({"bandgap": "weird"}, {"bandgap": "GPa"}, "unlike_unit"),
            ({"bandgap": "absent"}, {}, "invalid_input"),
            ({}, {}, "no_target"),
        ):
            with pytest.raises(InvalidInputError) as caught:
                choose_targets(columns, wanted, units)
            assert caught.value.error_code == code

    def test_two_columns_for_one_property_are_not_chosen_between(self):
        with pytest.raises(InvalidInputError) as caught:
            choose_targets(["band_gap_eV", "gap pbe"], {}, {})
        assert caught.value.error_code == "ambiguous_columns"

    @pytest.mark.parametrize("cell", [None, "", "na", "NaN", math.nan, "none"])
    def test_nothing_known(self, cell):
        assert read_number(cell, "x") is None

    @pytest.mark.parametrize("cell", ["abc", math.inf, "1.2.3", [1]])
    def test_no_number(self, cell):
        with pytest.raises(InvalidInputError) as caught:
            read_number(cell, "x")
        assert caught.value.error_code == "not_a_number"


def test_conditions_choose_rows_and_columns_can_be_named(tmp_path):
    records = [
        {"name": f"n{n}", "x": structure_text(salt(n)), "gap": NUMBERS[n], "ok": n != 1}
        for n in range(3)
    ]
    options = ReadOptions(
        targets={"bandgap": "gap"},
        structure_column="x",
        id_column="name",
        where={"ok": "true"},
        level_of_theory=HSE,
    )
    dataset = load_dataset(write_parquet(tmp_path / "a.parquet", records), options)
    assert dataset.ids == ("n0", "n2")
    assert dataset.level_of_theory == {"bandgap": HSE}
    with pytest.raises(InvalidInputError, match="no column 'y'"):
        load_dataset(
            tmp_path / "a.parquet", ReadOptions(targets=options.targets, structure_column="y")
        )
    with pytest.raises(InvalidInputError) as caught:
        load_dataset(tmp_path / "a.parquet", ReadOptions(targets={"bandgap": "gap"}))
    assert caught.value.error_code == "no_structure_column"


@pytest.mark.parametrize("packed", [False, True])
def test_a_cgcnn_folder_and_a_zip_of_one(tmp_path, packed):
    path = folder = cgcnn_folder(tmp_path)
    if packed:
        path = tmp_path / "set.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in folder.iterdir():
                archive.write(file, f"data/{file.name}")
    options = ReadOptions(targets={"bandgap": "value", "formation_energy": "value2"})
    dataset, summary = load_with_summary(path, options)
    assert dataset.ids == ("m0", "m1", "m2")
    assert dataset.targets["formation_energy"].tolist() == [-1, -2, -3]
    assert summary.refusals == {"not_found": 1}
    with pytest.raises(InvalidInputError) as caught:
        load_dataset(path)
    assert caught.value.error_code == "no_target"
    assert "--target" in caught.value.hint


def test_extended_xyz_gives_energy_per_atom_largest_force_and_its_keys(tmp_path):
    path = tmp_path / "frames.extxyz.xz"
    text = (
        frame(0, "energy=-10.0 hardness=3") + "9\ncut off\n" + frame(1, "energy=-12.0 hardness=4")
    )
    path.write_bytes(lzma.compress(text.encode()))
    dataset, summary = load_with_summary(path)
    assert dataset.targets["energy_per_atom"].tolist() == [-5.0, -6.0]
    assert dataset.targets["max_force"].tolist() == [5.0, 5.0]
    assert dataset.ids == ("f0", "f1")
    assert summary.n_refused == 1
    options = ReadOptions(targets={"hardness": "hardness"}, units={"hardness": "GPa"})
    assert load_dataset(path, options).targets["hardness"].tolist() == [3.0, 4.0]


def test_matbench_files_are_known(tmp_path):
    path = tmp_path / "matbench_phonons.json.gz"
    document = {
        "index": ["mb-phonons-0001", "mb-phonons-0002"],
        "columns": ["structure", "last phdos peak"],
        "data": [[pymatgen_dict(salt(n)), 100.0 * (n + 1)] for n in range(2)],
    }
    path.write_bytes(gzip.compress(json.dumps(document).encode()))
    dataset = load_dataset(path)
    assert dataset.targets["last_phonon_peak"].tolist() == [100, 200]
    assert dataset.units == {"last_phonon_peak": "cm^-1"}
    assert dataset.level_of_theory["last_phonon_peak"].functional == "PBEsol"
    assert dataset.ids == ("mb-phonons-0001", "mb-phonons-0002")
    assert dataset.sources[0].kind == "matbench"


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_jarvis_files_are_known(tmp_path, suffix):
    records = [
        {
            "jid": f"JVASP-{n}",
            "formation_energy_peratom": -0.5 * n,
            "optb88vdw_bandgap": 1.0 + n,
            "mbj_bandgap": "na",
            "bulk_modulus_kv": "na" if n else 120.5,
            "atoms": STRUCTURE_CELLS["jarvis"](salt(n)),
        }
        for n in range(2)
    ]
    plain = write_array(tmp_path / "jdft_3d.json", records)
    path = tmp_path / f"jdft_3d.json{suffix}"
    if suffix:
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(plain, "jdft_3d-12-12-2022.json")
    dataset = load_dataset(path)
    assert dataset.targets["bandgap"].tolist() == [1.0, 2.0]
    assert dataset.targets["bulk_modulus"][0] == 120.5
    assert np.isnan(dataset.targets["bulk_modulus"][1])
    assert {level.functional for level in dataset.level_of_theory.values()} == {"OptB88vdW"}
    assert dataset.sources[1].as_dict()["id"] == "JVASP-1"


def test_unknown_and_missing_files(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "a.parquet").write_text("x")
    (tmp_path / "a.json").write_text('{"columns": ["a"]}')
    (tmp_path / "b.json").write_text('[{"structure": ')
    for name in ("a.txt", "a.parquet", "a.json", "b.json", "."):
        with pytest.raises(InvalidInputError):
            load_dataset(tmp_path / name)
    with pytest.raises(NotFoundError):
        load_dataset(tmp_path / "absent.csv")


@pytest.mark.skipif(not PHONONS.is_file(), reason="the shared data is not here")
def test_a_published_table_needs_no_options_and_keeps_its_split():
    dataset = load_dataset(PHONONS)
    assert len(dataset) == 1151
    assert dataset.units == {"last_phonon_peak": "cm^-1"}
    split = split_train_val(dataset, method="given")
    assert sum(len(part) for part in split.parts().values()) == 1151
    train, test = (
        {dataset.reduced_formulas[row] for row in part} for part in (split.train, split.test)
    )
    assert not train & test


class TestSealing:
    def test_unlike_levels_are_never_pooled(self, tmp_path):
        rows = [row(0, level_of_theory={"bandgap": PBE}), row(1, level_of_theory={"bandgap": HSE})]
        path = tmp_path / "x.parquet"
        with pytest.raises(InvalidInputError, match="never pooled") as caught:
            seal_rows(stream(rows, level_of_theory={"bandgap": PBE}), path, name="x")
        assert caught.value.error_code == "unlike_levels"
        assert not path.exists()

    def test_everything_comes_back_over_several_groups(self, tmp_path, monkeypatch):
        monkeypatch.setattr("nanoos.datasets.sealing._ROWS_PER_GROUP", 3)
        spinning = row(6).structure
        spinning = type(spinning)(
            lattice=spinning.lattice,
            species=spinning.species,
            frac_coords=spinning.frac_coords,
            spins=(1.0, -1.0),
        )
        rows = [row(n, split="val" if n == 2 else None) for n in range(6)]
        rows += [row(6, structure=spinning), row(7, targets={}), row(8, structure=salt(0))]
        refusal = RefusedRow(
            source=RowSource(kind="file", name="x", row=3), error=InvalidInputError("no")
        )
        path = tmp_path / "x.parquet"
        given = stream([*rows[:4], refusal, *rows[4:]], level_of_theory={"bandgap": PBE})
        summary = seal_rows(given, path, name="x")
        assert is_sealed(path)
        dataset = read_sealed(path)
        assert list(dataset.structures) == [one.structure for one in rows]
        assert dataset.structures[6].spins == (1.0, -1.0)
        assert dataset.ids == tuple(one.id for one in rows)
        assert list(dataset.sources) == [one.source for one in rows]
        assert np.isnan(dataset.targets["bandgap"][7])
        assert dataset.given_split[2] == "val"
        assert dataset.level_of_theory == {"bandgap": PBE}
        assert dataset.sha256 == summary.sha256
        assert (summary.n_duplicates, summary.duplicates) == (1, (("row-0", "row-8"),))
        assert summary.refused == (refusal,)
        json.dumps(summary.as_dict())

    def test_a_failed_source_leaves_no_file(self, tmp_path):
        def rows():
            yield row(0)
            raise OSError("gone")

        with pytest.raises(OSError, match="gone"):
            seal_rows(stream(rows()), tmp_path / "x.parquet", name="x")
        assert list(tmp_path.iterdir()) == []

    def test_other_files_are_no_data_sets(self, tmp_path):
        path = write_parquet(tmp_path / "a.parquet", [cells(0)])
        assert not is_sealed(path)
        with pytest.raises(InvalidInputError, match="not a sealed data set"):
            read_sealed(path)


@pytest.fixture
def dataset(tmp_path):
    rows = [row(n, split="train", targets={"bandgap": n / 3}) for n in range(5)]
    rows.append(row(5, targets={}, id='odd "name", 1'))
    seal_rows(stream(rows, level_of_theory={"bandgap": PBE}), tmp_path / "in.parquet", name="in")
    return read_sealed(tmp_path / "in.parquet")


@pytest.mark.parametrize("kind", ["parquet", "csv", "extxyz"])
def test_what_is_exported_can_be_imported_again(tmp_path, dataset, kind):
    path = tmp_path / f"out.{kind}"
    path.write_bytes(b"".join(export_chunks(dataset, kind)))
    again, summary = load_with_summary(path)
    assert summary.refusals == {"no_target_value": 1}
    np.testing.assert_allclose(again.targets["bandgap"], dataset.targets["bandgap"][:5])
    assert again.ids == dataset.ids[:5]
    assert again.given_split == dataset.given_split[:5]
    if kind != "extxyz":  # which has Cartesian coordinates
        assert again.content_hashes == dataset.content_hashes[:5]


def test_pandas_has_every_row_with_units(dataset):
    frame = export_dataset_to_pandas(dataset)
    assert list(frame.columns) == [
        "id", "formula", "nsites", "structure", "bandgap_eV", "split", "source"
    ]  # fmt: skip
    assert len(frame) == 6
    assert frame["bandgap_eV"].isna().sum() == 1
    assert frame.attrs["units"] == {"bandgap": "eV"}
    assert frame.attrs["sha256"] == dataset.sha256
    assert structure_of_cell(frame["structure"][2]) == dataset.structures[2]


def test_the_picture_is_a_png_and_every_element_has_a_place_of_its_own(dataset):
    assert dataset_figure_png(dataset).startswith(b"\x89PNG")
    places = {number: cell_of_element(number) for number in range(1, 104)}
    assert len(set(places.values())) == 103
    assert places[1] == (1, 1.0)
    assert places[2] == (18, 1.0)
    assert places[5] == (13, 2.0)
    assert places[26] == (8, 4.0)
    assert places[72] == (4, 6.0)
    assert places[57] == (3, 8.4)
    assert places[103] == (17, 9.4)
    assert places[86] == (18, 6.0)
