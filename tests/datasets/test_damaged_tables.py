"""Tables that are cut off, broken, locked or absurd."""

import gzip
import io
import lzma
import zipfile

import pytest
from table_files import WRITERS, cells, cgcnn_folder, frame

from nanoos.core.errors import InvalidInputError
from nanoos.datasets.readers.options import ReadOptions
from nanoos.datasets.reading import load_dataset, load_with_summary


def zipped(data):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("table.json", data)
    return packed.getvalue()


DAMAGED = {
    "first byte": lambda data: ("", b"\xaa" + data),
    "middle": lambda data: ("", data[: len(data) // 2] + b"\xe9" + data[len(data) // 2 :]),
    "cut gz": lambda data: (".gz", gzip.compress(data)[:-6]),
    "no gz": lambda data: (".gz", data),
    "broken gz": lambda data: (".gz", gzip.compress(data)[:40] + b"\0" * 40),
    "cut xz": lambda data: (".xz", lzma.compress(data)[:-6]),
    "no xz": lambda data: (".xz", data),
    "cut zip": lambda data: (".zip", zipped(data)[:-30]),
    "broken zip": lambda data: (".zip", zipped(data)[:60] + b"\0" * 40 + zipped(data)[100:]),
}


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (suffix, damage)
        for suffix in (".csv", ".json", ".jsonl", ".extxyz")
        for damage in DAMAGED
        if suffix != ".extxyz" or damage not in ("first byte", "middle")  # a bad frame is a bad row
    ],
)
def test_damaged_tables_are_refused_in_words(tmp_path, suffix, damage):
    path = tmp_path / f"table{suffix}"
    if suffix == ".extxyz":
        path.write_text(frame(0, "energy=-10.0") * 300)
    else:
        WRITERS[f"rows{suffix}"](path, [cells(0)] * 300)
    packed, data = DAMAGED[damage](path.read_bytes())
    load_dataset(path)
    path = tmp_path / f"table{suffix}{packed}"
    path.write_bytes(data)
    with pytest.raises(InvalidInputError) as caught:
        load_dataset(path)
    assert caught.value.error_code in {"malformed_file", "wrong_encoding"}
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", "[" * 200_000),
        ("a.json", '[{"band_gap": ' + "9" * 5000 + "}]"),
        ("a.csv", "a" * (65 << 20)),
        ("a.zip", ""),
    ],
)
def test_absurd_tables_are_refused_in_words(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidInputError):
        load_dataset(tmp_path / name)


def test_a_damaged_file_in_a_cgcnn_zip_is_a_bad_row(tmp_path):
    folder = cgcnn_folder(tmp_path)
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    data, cif = path.read_bytes(), (folder / "m1.cif").read_bytes()
    assert cif in data
    path.write_bytes(data.replace(cif, cif[::-1]))
    dataset, summary = load_with_summary(path, ReadOptions(targets={"bandgap": "value"}))
    assert dataset.ids == ("m0", "m2")
    assert summary.refusals == {"not_found": 1, "malformed_file": 1}
