"""Every kind of bad input is refused with its code, where it is, and what to do."""

import json
import os

import numpy as np
import pytest
from crystals import NACL_CIF, NACL_POSCAR, NACL_XSF, NACL_XYZ, rocksalt
from test_reading import optimade_entry, pymatgen_dict

from nanoos.core.errors import NanoosError, TooLargeError
from nanoos.structures import (
    ReadLimits,
    export_bytes,
    iter_structures,
    read_structures_from_bytes,
)


def refusal(name: str, content: str | bytes) -> NanoosError:
    data = content if isinstance(content, bytes) else content.encode()
    (outcome,) = read_structures_from_bytes(name, data)
    assert outcome.structure is None
    error = outcome.error
    assert error.hint, "say what to do"
    assert "\n" not in error.message
    assert "Traceback" not in error.message
    assert len(error.message) < 400
    return error


def ours(**changes) -> str:
    return json.dumps(rocksalt().as_dict() | changes)


def first_site(**changes) -> str:
    document = pymatgen_dict()
    document["sites"][0] |= changes
    return json.dumps(document)


BAD = [
    # partial occupancy
    ("a.cif", NACL_CIF.replace("Na1 Na 0 0 0 1.0", "Na1 Na 0 0 0 0.75(2)"), "partial_occupancy",
     ["Na1", "0.75", "line 16"]),
    ("a.cif", NACL_CIF.replace("0 0 0 1.0", "0 0 0 1.001"), "partial_occupancy", ["1.001"]),
    ("a.json", first_site(species=[{"element": "Fe", "occu": 0.5}, {"element": "Co", "occu": 0.5}]),
     "partial_occupancy", ["Site 1", "Fe/Co", "0.5"]),
    ("a.json", json.dumps(optimade_entry(species=[
        {"name": "Na", "chemical_symbols": ["Na", "vacancy"], "concentration": [0.9, 0.1]},
        {"name": "Cl1", "chemical_symbols": ["Cl"], "concentration": [1.0]}])),
     "partial_occupancy", ["Na/vacancy", "0.9"]),
    ("a.json", json.dumps(optimade_entry(species=[
        {"name": "Na", "chemical_symbols": ["Na"], "concentration": [0.9]}])),
     "partial_occupancy", ["0.9"]),
    ("a.cif", NACL_CIF.replace("_atom_site_occupancy", "_atom_site_attached_hydrogens")
     .replace("1.0", "2"), "missing_atoms", ["Na1", "hydrogen"]),
    # missing lattice
    ("a.cif", NACL_CIF.replace("_cell_length_b 5.6402(2)\n", ""), "missing_lattice",
     ["_cell_length_b"]),
    ("a.cif", NACL_CIF.replace("_cell_angle_beta 90", "_cell_angle_beta ?"), "missing_lattice",
     ["_cell_angle_beta"]),
    ("a.xyz", "2\nwater\nO 0 0 0\nH 0 0 1\n", "missing_lattice", ["Line 2"]),
    ("a.xsf", NACL_XSF.replace("PRIMVEC", "CONVVEC"), "missing_lattice", ["PRIMVEC"]),
    ("a.xsf", "ATOMS\n11 0 0 0\n", "missing_lattice", ["ATOMS"]),
    ("a.json", ours(lattice=None), "missing_lattice", []),
    ("a.json", json.dumps(optimade_entry(lattice_vectors=None)), "missing_lattice", []),
    ("a.json", json.dumps(optimade_entry(lattice_vectors=[[None] * 3, [0, 3, 0], [0, 0, 3]])),
     "missing_lattice", []),
    ("a.json", json.dumps(optimade_entry(lattice_vectors=[[3, 0, 0], [0, 3, 0]])),
     "missing_lattice", []),
    ("a.json", json.dumps({"@class": "Molecule", "sites": pymatgen_dict()["sites"]}),
     "missing_lattice", []),
    ("POSCAR", "\n".join(NACL_POSCAR.splitlines()[:4]), "missing_lattice", ["line 4"]),
    # overlap
    ("a.cif", NACL_CIF.replace("Cl1 Cl 0.5 0.5 0.5", "Cl1 Cl 0 0 0.02"), "overlapping_atoms",
     ["0.113"]),
    ("POSCAR", NACL_POSCAR.replace("0.5 0.5 0.5", "0.01 0 0.99"), "overlapping_atoms",
     ["1 (Na)", "2 (Cl)"]),
    ("a.xyz", NACL_XYZ.replace("Cl 2.82 2.82 2.82", "Cl 2.82 0 2.82"), "overlapping_atoms", []),
    # unknown elements
    ("a.cif", NACL_CIF.replace("Na1 Na", "Na1 Qq"), "unknown_element", ["'Qq'", "Na1", "line 16"]),
    ("a.cif", NACL_CIF.replace("Na1 Na", "D1 D"), "unknown_element", ["'D'"]),
    ("POSCAR", NACL_POSCAR.replace("Na Cl", "Na Xx"), "unknown_element", ["'Xx'", "line 6"]),
    ("a.xyz", NACL_XYZ.replace("Cl 2.82", "X 2.82"), "unknown_element", ["'X'", "line 4"]),
    ("a.xsf", NACL_XSF.replace("Cl", "999"), "unknown_element", ["'999'", "line 10"]),
    ("a.json", ours(species=["Na", "T"]), "unknown_element", ["site 2"]),
    ("a.json", first_site(species=[{"element": "X0+", "occu": 1}]), "unknown_element", ["site 1"]),
    # volume
    ("a.cif", NACL_CIF.replace("length_a 5.6402(2)", "length_a -5.64"), "negative_volume",
     ["-5.64"]),
    ("a.cif", NACL_CIF.replace("_cell_angle_alpha", "_cell_volume -179\n_cell_angle_alpha"),
     "negative_volume", ["-179"]),
    ("a.cif", NACL_CIF.replace("length_a 5.6402(2)", "length_a 0.0"), "zero_volume", []),
    ("a.cif", NACL_CIF.replace("_alpha 90", "_alpha 179").replace("_beta 90", "_beta 10"),
     "zero_volume", ["179"]),
    ("POSCAR", NACL_POSCAR.replace("1.0", "0.0", 1), "zero_volume", ["Line 2"]),
    ("POSCAR", NACL_POSCAR.replace("2.82 2.82 0.0", "2.82 2.82 5.64"), "zero_volume", []),
    ("POSCAR", NACL_POSCAR.replace("2.82 2.82 0.0", "2.82 2.82 5.64")
     .replace("1.0", "-40", 1), "zero_volume", []),
    ("POSCAR", NACL_POSCAR.replace("2.82 2.82 0.0", "-2.82 -2.82 0.0"), "negative_volume",
     ["left-handed"]),
    ("a.xyz", NACL_XYZ.replace('2.82 2.82 0"', '2.82 2.82 5.64"'), "zero_volume", []),
    ("a.xyz", NACL_XYZ.replace('2.82 2.82 0"', '-2.82 -2.82 0"'), "negative_volume", []),
    ("a.json", ours(lattice=np.zeros((3, 3)).tolist()), "zero_volume", []),
    ("a.json", ours(lattice=(-rocksalt().lattice).tolist()), "negative_volume", []),
    # NaN
    ("a.cif", NACL_CIF.replace("0 0 0 1.0", "0 nan 0 1.0"), "not_finite", ["Line 16"]),
    ("POSCAR", NACL_POSCAR.replace("0.5 0.5 0.5", "0.5 NaN 0.5"), "not_finite", ["Line 10"]),
    ("POSCAR", NACL_POSCAR.replace("2.82 0.0 2.82", "2.82 inf 2.82"), "not_finite", ["Line 4"]),
    ("a.xyz", NACL_XYZ.replace("Cl 2.82", "Cl nan"), "not_finite", ["Line 4"]),
    ("a.xsf", NACL_XSF.replace("Cl 2.82", "Cl NaN"), "not_finite", ["Line 10"]),
    ("a.json", ours(frac_coords=[[0, 0, 0], [float("nan"), 0, 0]]), "not_finite", ["Site 2"]),
    ("a.json", ours(lattice=[[1e999] * 3] * 3), "not_finite", []),
    # broken files
    ("a.cif", "", "empty_file", ["empty"]),
    ("POSCAR", " \n\n", "empty_file", ["white space"]),
    ("a.xyz", "", "empty_file", []),
    ("a.xyz", "\n\n", "empty_file", []),
    ("a.json", "", "empty_file", []),
    ("upload", "", "empty_file", []),
    ("upload", "hello world", "unknown_format", ["format"]),
    ("a.cif", bytes(range(256)) * 8, "binary_file", ["binary"]),
    ("POSCAR", b"\x89PNG\r\n\x1a\n\x00\x00", "binary_file", []),
    ("a.xyz", bytes(range(128, 144)) + b"\0\1\2\3", "binary_file", []),
    ("a.cif", NACL_CIF.encode("utf-16-le"), "wrong_encoding", ["UTF-16"]),
    ("a.xyz", NACL_XYZ.encode("utf-16"), "wrong_encoding", ["UTF-16"]),
    ("a.cif", b"\xff\xfe" + NACL_CIF.encode("utf-8") + b"x" * (1 - len(NACL_CIF) % 2), "wrong_encoding", []),
    ("a.cif", "data_x\n_cell_length_a 3\n", "missing_lattice", []),
    ("a.cif", NACL_CIF[: NACL_CIF.index("Na1")], "empty_structure", []),
    ("a.cif", NACL_CIF.replace("0.5 0.5 0.5 1.0", "0.5 0.5"), "malformed_file", ["columns"]),
    ("a.cif", NACL_CIF.replace("0.5 0.5 0.5 1.0", "0.5 ? 0.5 1.0"), "malformed_file", ["Line 17"]),
    ("a.cif", NACL_CIF + ";\nnever closed\n", "malformed_file", ["never closed"]),
    ("a.cif", NACL_CIF.replace("fract_x", "Cartn_x").replace("fract_y", "Cartn_y")
     .replace("fract_z", "Cartn_z"),
     "empty_structure", ["Cartesian"]),
    ("a.cif", NACL_CIF.replace("'F m -3 m'\n", "'P 1'\nloop_\n_symmetry_equiv_pos_as_xyz\nx,y\n"),
     "malformed_file", ["'x,y'", "Line 11"]),
    ("a.cif", NACL_CIF + "loop_\n_atom_site_moment_crystalaxis_x\n1.0\n", "noncollinear_spins", []),
    ("POSCAR", NACL_POSCAR[: NACL_POSCAR.index("0.5")], "malformed_file", ["Line 10", "site 2"]),
    ("POSCAR", NACL_POSCAR.replace("1 1", "1"), "malformed_file", ["2 element symbols but 1"]),
    ("POSCAR", NACL_POSCAR.replace("Direct", "Oblique"), "malformed_file", ["'Oblique'"]),
    ("POSCAR", NACL_POSCAR.replace("1 1", "0 0"), "empty_structure", []),
    ("POSCAR", NACL_POSCAR.replace("1 1", "1 -1"), "malformed_file", ["negative"]),
    ("a.xyz", NACL_XYZ.replace("species:S:1", "species:S"), "malformed_file", ["Properties"]),
    ("a.xyz", '0\nLattice="3 0 0 0 3 0 0 0 3"\n', "empty_structure", []),
    ("a.xyz", "x" * 2_000_000, "too_large", ["Line 1"]),
    ("a.xsf", NACL_XSF.replace("2 1\n", "20 1\n"), "malformed_file", ["2 of 20"]),
    ("a.xsf", "CRYSTAL\n", "malformed_file", ["PRIMCOORD"]),
    ("a.json", '{"lattice": [', "malformed_file", ["Line 1", "not JSON"]),
    ("a.json", "[" * 100_000, "invalid_json", []),
    ("a.json", "[]", "no_structures", []),
    ("a.json", "3", "invalid_json", []),
    ("a.json", ours(frac_coords=[[0, 0], [1, 1]]), "invalid_sites", []),
    ("a.json", ours(frac_coords="abc"), "invalid_json", []),
    ("a.json", json.dumps(optimade_entry(cartesian_site_positions=None)), "invalid_json", []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "code", "words"), BAD)
def test_bad_input(name, content, code, words):
    error = refusal(name, content)
    assert error.error_code == code, error.message
    for word in words:
        assert word in error.message


def test_isotopes_say_what_to_write():
    error = refusal("a.cif", NACL_CIF.replace("Na1 Na", "D1 D"))
    assert "deuterium" in error.hint
    assert "write H" in error.hint


def test_utf16_with_a_mark_and_latin1_comments_are_read():
    (marked,) = read_structures_from_bytes("a.cif", NACL_CIF.encode("utf-16"))
    assert marked.structure.formula == "NaCl"
    comment = "# Müller, Ångström\n" + NACL_CIF
    (latin,) = read_structures_from_bytes("a.cif", comment.encode("latin-1"))
    assert latin.structure == marked.structure
    title = NACL_POSCAR.replace("NaCl", "Kochsalz für Übungen", 1)
    (poscar,) = read_structures_from_bytes("POSCAR", title.encode("latin-1"))
    assert poscar.structure == rocksalt()


def huge(form: str) -> bytes:
    n = 100_000
    rows = "\n".join(f"0.{i:06d} 0.5 0.5" for i in range(n))
    if form == "cif":
        head, _, _ = NACL_CIF.partition("Na1 Na")
        labelled = "\n".join(f"Na{i} Na 0.{i:06d} 0.5 0.5 1" for i in range(n))
        return (head + labelled).encode()
    if form == "poscar":
        return NACL_POSCAR.replace("1 1", f"1 {n - 1}").encode() + rows.encode()
    if form == "xyz":
        return NACL_XYZ.replace("2\n", f"{n}\n", 1).encode() + b"Na 0 0 0\n" * (n - 2)
    if form == "xsf":
        return NACL_XSF.replace("2 1", f"{n} 1").encode() + b"Na 0 0 0\n" * (n - 2)
    document = {
        "lattice": (np.eye(3) * 100).tolist(),
        "species": ["Na"] * n,
        "frac_coords": [[i / n, 0.5, 0.5] for i in range(n)],
    }
    return json.dumps(document).encode()


@pytest.mark.parametrize("form", ["cif", "poscar", "xyz", "xsf", "json"])
def test_a_hundred_thousand_atoms_are_refused(form):
    data = huge(form)
    error = refusal(f"a.{form}", data)
    assert error.error_code == "too_many_sites"
    assert "100,000" in error.message


def test_symmetry_cannot_make_too_many_sites():
    sites = "\n".join(f"Na{i} Na 0.{i:04d}7 0.123 0.456 1" for i in range(1, 300))
    cif = NACL_CIF.replace("Na1 Na 0 0 0 1.0\nCl1 Cl 0.5 0.5 0.5 1.0", sites)
    assert refusal("a.cif", cif).error_code == "too_many_sites"


def test_limits_on_bytes(tmp_path):
    path = tmp_path / "a.cif"
    path.write_text(NACL_CIF + "#" * 10_000)
    (outcome,) = iter_structures(path, limits=ReadLimits(max_file_bytes=5000))
    assert isinstance(outcome.error, TooLargeError)
    path = tmp_path / "a.xyz"
    path.write_text(NACL_XYZ * 10)
    limits = ReadLimits(max_stream_bytes=3 * len(NACL_XYZ) + 5)
    outcomes = list(iter_structures(path, limits=limits))
    assert [o.error is None for o in outcomes] == [True, True, True, False]


def test_paths_that_cannot_be_read(tmp_path):
    fifo = tmp_path / "pipe.cif"
    os.mkfifo(fifo)
    (outcome,) = iter_structures(fifo)
    assert outcome.error.error_code == "unreadable_file"
    (outcome,) = iter_structures(tmp_path / ("x" * 300))
    assert outcome.error is not None
    dangling = tmp_path / "link.cif"
    dangling.symlink_to(tmp_path / "nowhere.cif")
    (outcome,) = iter_structures(dangling)
    assert outcome.error.error_code == "not_found"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_file_without_permission(tmp_path):
    path = tmp_path / "a.cif"
    path.write_text(NACL_CIF)
    path.chmod(0)
    (outcome,) = iter_structures(path)
    assert outcome.error.error_code == "unreadable_file"


def test_pickles_are_never_loaded(tmp_path):
    import pickle

    canary = tmp_path / "canary"

    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(canary),))

    for name in ("a.cif", "a.json", "POSCAR", "a.xyz", "upload"):
        for protocol in (0, 4):
            data = pickle.dumps(Trap(), protocol=protocol)
            assert all(o.error for o in read_structures_from_bytes(name, data))
    assert not canary.exists()


def test_exports_of_left_handed_cells_can_be_read_back():
    left = rocksalt().with_lattice(-rocksalt().lattice)
    assert left.is_left_handed
    for form in ("cif", "poscar", "extxyz", "json", "zip"):
        export = export_bytes([left], form)
        (outcome,) = read_structures_from_bytes(export.filename, export.data)
        assert outcome.error is None
