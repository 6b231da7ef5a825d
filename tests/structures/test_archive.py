import io
import stat
import struct
import zipfile

import pytest
from crystals import NACL_CIF, NACL_POSCAR, NACL_XYZ

from nanoos.structures import (
    ReadLimits,
    ReadOutcome,
    iter_structures,
    read_structures_from_bytes,
)


def zipped(members: dict[str, str | bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def read(data: bytes, **limits) -> list[ReadOutcome]:
    return list(read_structures_from_bytes("all.zip", data, limits=ReadLimits(**limits)))


def test_members_are_read_in_order_and_named():
    data = zipped({
        "b.cif": NACL_CIF,
        "deep/POSCAR": NACL_POSCAR,
        "a.xyz": NACL_XYZ * 2,
        "bad.cif": b"\0\1\2",
        "README.txt": "hello",
        "__MACOSX/._b.cif": b"\0",
    })  # fmt: skip
    outcomes = read(data)
    assert [(o.file, o.index, o.error is None) for o in outcomes] == [
        ("all.zip/a.xyz", 0, True),
        ("all.zip/a.xyz", 1, True),
        ("all.zip/b.cif", 0, True),
        ("all.zip/bad.cif", 0, False),
        ("all.zip/deep/POSCAR", 0, True),
    ]


def test_on_disk_with_any_name(tmp_path):
    path = tmp_path / "upload"
    path.write_bytes(zipped({"a.cif": NACL_CIF}))
    (outcome,) = iter_structures(path)
    assert outcome.file == f"{path}/a.cif"
    assert outcome.structure.formula == "NaCl"


@pytest.mark.parametrize(
    "name", ["../evil.cif", "a/../../evil.cif", "/etc/evil.cif", "C:/evil.cif", "..\\evil.cif"]
)
def test_names_that_point_outside(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bad, good = sorted(
        read(zipped({name: NACL_CIF, "good.cif": NACL_CIF})), key=lambda o: not o.error
    )
    assert bad.error.error_code == "unsafe_name"
    assert good.structure.formula == "NaCl"
    assert list(tmp_path.rglob("*")) == []


def test_symbolic_links_are_not_followed():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("link.cif")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    (outcome,) = read(buffer.getvalue())
    assert outcome.error.error_code == "unsafe_name"


def test_zip_inside_a_zip():
    (outcome,) = read(zipped({"inner.zip": zipped({"a.cif": NACL_CIF})}))
    assert outcome.error.error_code == "nested_zip"


def test_bomb_by_ratio_is_stopped_early():
    data = zipped({"bomb.cif": b"0" * (50 << 20), "z.cif": NACL_CIF})
    assert len(data) < 100_000
    bomb, good = read(data)
    assert bomb.error.error_code == "zip_bomb"
    assert good.error is None


def test_bomb_of_frames_is_stopped_early():
    frame = NACL_XYZ.replace("2\n", "15000\n", 1) + "Na 0 0 0\n" * 14_998
    (*_, last) = read(zipped({"bomb.xyz": frame * 60}))
    assert last.error.error_code == "zip_bomb"


def test_total_size_is_counted_not_believed():
    data = bytearray(
        zipped({f"{i}.cif": NACL_CIF + "#" * 100_000 for i in range(20)}, zipfile.ZIP_STORED)
    )
    # claim one byte for each member in the central directory
    at = 0
    while (at := data.find(b"PK\x01\x02", at)) >= 0:
        struct.pack_into("<I", data, at + 24, 1)
        at += 4
    outcomes = read(bytes(data), max_total_bytes=500_000)
    assert len(outcomes) <= 20
    assert outcomes[-1].error is not None

    honest = zipped(
        {f"{i:02}.cif": NACL_CIF + "#" * 100_000 for i in range(20)}, zipfile.ZIP_STORED
    )
    outcomes = read(honest, max_total_bytes=500_000)
    assert [o.error is None for o in outcomes] == [True] * 4 + [False]
    assert outcomes[-1].error.error_code == "zip_bomb"


def test_too_many_members():
    (outcome,) = read(zipped({f"{i}.cif": "" for i in range(30)}), max_members=20)
    assert "30 files" in outcome.error.message


def test_damaged_archives():
    data = zipped({"a.cif": NACL_CIF, "b.cif": NACL_CIF}, zipfile.ZIP_STORED)
    (cut,) = read(data[: len(data) // 2])
    assert cut.error.error_code == "damaged_zip"
    broken = data.replace(b"data_NaCl", b"data_XXXX", 1)  # the checksum of a.cif is wrong now
    first, second = read(broken)
    assert first.error.error_code == "damaged_zip"
    assert second.error is None


def test_encrypted_members():
    data = bytearray(zipped({"a.cif": NACL_CIF}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(mark) + offset] |= 1
    (outcome,) = read(bytes(data))
    assert outcome.error.error_code == "encrypted_zip"


def test_empty_and_useless_archives():
    for members in ({}, {"README.txt": "hello"}):
        (outcome,) = read(zipped(members))
        assert outcome.error.error_code == "no_structures"


def test_a_thousand_structures():
    data = zipped({f"{i:04}.vasp": NACL_POSCAR for i in range(1000)})
    assert sum(o.structure is not None for o in read(data)) == 1000
