import json

import numpy as np
import pytest
from crystals import NACL_CIF, NACL_POSCAR, NACL_XSF, NACL_XYZ, rocksalt, rocksalt_cubic

from nanoos.core.errors import NotFoundError, StructureRefusedError
from nanoos.structures import (
    Structure,
    find_duplicate,
    iter_paths,
    iter_structures,
    read_structure,
    read_structures_from_bytes,
)


def read_one(name: str, text: str) -> Structure:
    (outcome,) = read_structures_from_bytes(name, text.encode())
    assert outcome.error is None, outcome.error
    return outcome.structure


def pymatgen_dict() -> dict:
    return rocksalt("Fe", "O", 4.3).to_pymatgen().as_dict()


def optimade_entry(**attributes) -> dict:
    salt = rocksalt()
    return {
        "id": "odb-7",
        "type": "structures",
        "attributes": {
            "lattice_vectors": salt.lattice.tolist(),
            "cartesian_site_positions": salt.cart_coords.tolist(),
            "species_at_sites": ["Na", "Cl1"],
            "species": [
                {"name": "Na", "chemical_symbols": ["Na"], "concentration": [1.0]},
                {"name": "Cl1", "chemical_symbols": ["Cl"], "concentration": [1.0]},
            ],
            "nperiodic_dimensions": 3,
        }
        | attributes,
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("salt.cif", NACL_CIF),
        ("POSCAR", NACL_POSCAR),
        ("CONTCAR_relaxed", NACL_POSCAR),
        ("salt.vasp", NACL_POSCAR),
        ("salt.xyz", NACL_XYZ),
        ("salt.extxyz", NACL_XYZ),
        ("salt.xsf", NACL_XSF),
        ("salt.json", json.dumps(rocksalt().as_dict())),
        ("salt.json", json.dumps({"data": [optimade_entry()], "meta": {}})),
        ("salt.json", json.dumps({"data": optimade_entry()})),
        ("salt.json", json.dumps(optimade_entry())),
        ("salt.json", json.dumps(optimade_entry()["attributes"])),
        ("salt.json", json.dumps(rocksalt().to_pymatgen().as_dict())),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_every_format_by_name_and_by_content(name, text, named):
    found = read_one(name if named else "upload", text)
    assert found.formula == "NaCl"
    if name == "salt.cif":
        assert found.n_sites == 8
    else:
        assert found == rocksalt()


def test_files_on_disk_read_twice_have_one_hash(tmp_path):
    path = tmp_path / "salt.cif"
    path.write_text(NACL_CIF)
    assert read_structure(path) == read_structure(str(path))
    assert read_structure(path).label == "NaCl"


def test_windows_lines_and_byte_order_marks():
    for name, text in (
        ("a.cif", NACL_CIF),
        ("a.vasp", NACL_POSCAR),
        ("a.xyz", NACL_XYZ),
        ("a.xsf", NACL_XSF),
        ("a.json", json.dumps(rocksalt().as_dict())),
    ):
        windows = text.replace("\n", "\r\n").encode("utf-8-sig")
        (outcome,) = read_structures_from_bytes(name, windows)
        assert outcome.error is None, (name, outcome.error)
        assert outcome.structure == read_one(name, text)


# -- CIF -----------------------------------------------------------------------------------


def test_cif_operations_and_name_give_the_same():
    operations = (
        "loop_\n_space_group_symop_operation_xyz\n"
        + "\n".join(f"'{t}'" for t in ("x,y,z", "-x,-y,-z", "x,y,1/2-z", "-x,y,-z+0.5"))
        + "\n"
    )
    cif = NACL_CIF.replace("_symmetry_space_group_name_H-M 'F m -3 m'\n", operations)
    # of NaCl's sites these operations make (0 0 0), (0 0 1/2) and keep (1/2 1/2 1/2), (1/2 1/2 0)
    assert read_one("a.cif", cif).composition == {"Na": 2, "Cl": 2}
    for name in ("Fm-3m", "F m -3 m", "F_m_-3_m"):
        named = NACL_CIF.replace("'F m -3 m'", f"'{name}'")
        assert find_duplicate(read_one("a.cif", named), [rocksalt_cubic(5.6402)]) == 0
    numbered = NACL_CIF.replace(
        "_symmetry_space_group_name_H-M 'F m -3 m'", "_space_group_IT_number 225"
    )
    assert read_one("a.cif", numbered) == read_one("a.cif", NACL_CIF)
    hall = NACL_CIF.replace(
        "_symmetry_space_group_name_H-M 'F m -3 m'", "_space_group_name_Hall '-F 4 2 3'"
    )
    assert read_one("a.cif", hall).n_sites == 8


def test_cif_rounded_special_position_is_exact():
    cif = """data_hcp
_cell_length_a 2.66
_cell_length_b 2.66
_cell_length_c 4.95
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
_space_group_name_H-M_alt 'P 63/m m c'
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Zn1 0.333 0.667 0.25
"""
    found = read_one("a.cif", cif)
    assert found.n_sites == 2
    np.testing.assert_allclose(
        sorted(found.frac_coords.tolist()), [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]], atol=1e-12
    )


@pytest.mark.parametrize(
    ("group", "gamma", "n_sites"), [("R -3 m", 120, 3), ("R -3 m :H", 120, 3), ("R -3 m", 60, 1)]
)
def test_cif_rhombohedral_groups_follow_the_cell(group, gamma, n_sites):
    other = 90 if gamma == 120 else gamma
    cif = NACL_CIF.replace("'F m -3 m'", f"'{group}'").replace("Cl1 Cl 0.5 0.5 0.5 1.0\n", "")
    cif = cif.replace("_gamma 90", f"_gamma {gamma}")
    cif = cif.replace("_alpha 90", f"_alpha {other}").replace("_beta 90", f"_beta {other}")
    assert read_one("a.cif", cif).n_sites == n_sites


def test_cif_monoclinic_axis_follows_the_cell():
    cif = NACL_CIF.replace("'F m -3 m'", "'P 21/b'").replace("_gamma 90", "_gamma 100")
    found = read_one("a.cif", cif.replace("0 0 0 1.0", "0.1 0.2 0.3 1.0"))
    assert found.composition == {"Na": 4, "Cl": 2}


@pytest.mark.parametrize("group", ["'F d -3 m'", "'Q 1 2 3'"])
def test_cif_group_that_is_not_clear_is_refused(group):
    (outcome,) = read_structures_from_bytes("a.cif", NACL_CIF.replace("'F m -3 m'", group).encode())
    assert outcome.error.error_code == "unknown_symmetry"
    assert "_space_group_symop_operation_xyz" in outcome.error.hint


def test_cif_origin_choice_after_a_colon():
    cif = NACL_CIF.replace("'F m -3 m'", "'F d -3 m:1'").replace("Cl1 Cl 0.5 0.5 0.5 1.0\n", "")
    first = read_one("a.cif", cif)
    second = read_one("a.cif", cif.replace(":1", " Z"))
    assert (first.n_sites, second.n_sites) == (8, 16)  # diamond; sites of 16c


def test_cif_blocks_in_order_with_their_names():
    text = (
        "data_global\n_journal_name 'Acta'\n_text\n;\ndata_inside_a_text\n;\n"
        + NACL_CIF
        + NACL_CIF.replace("data_NaCl", "data_bad").replace("5.6402(2)", "oops", 1)
        + NACL_CIF.replace("data_NaCl", "data_KCl").replace("Na1 Na", "K1 K")
    )
    outcomes = list(read_structures_from_bytes("all.cif", text.encode()))
    assert [o.source_id for o in outcomes] == ["NaCl", "bad", "KCl"]
    assert [o.index for o in outcomes] == [0, 1, 2]
    assert outcomes[1].error.error_code == "malformed_file"
    assert "'oops'" in outcomes[1].error.message
    assert f"Line {text.splitlines().index('_cell_length_a oops') + 1}" in outcomes[1].error.message
    assert outcomes[2].structure.formula == "KCl"


@pytest.mark.parametrize(
    ("label", "element"),
    [("Na1", "Na"), ("FE2", "Fe"), ("OW", "O"), ("O1", "O"), ("CA1", "C"), ("Ca1", "Ca")],
)
def test_cif_elements_from_labels(label, element):
    cif = NACL_CIF.replace("_atom_site_type_symbol\n", "").replace("Na1 Na", label)
    assert element in read_one("a.cif", cif.replace("Cl1 Cl", "Cl1")).species


def test_cif_charges():
    charged = read_one("a.cif", NACL_CIF.replace("Na1 Na", "Na1 Na1+").replace("Cl1 Cl", "Cl1 Cl-"))
    assert charged.charges == (1.0,) * 4 + (-1.0,) * 4
    half = read_one("a.cif", NACL_CIF.replace("Na1 Na", "Na1 Na1+"))
    assert half.charges is None


# -- POSCAR --------------------------------------------------------------------------------


def test_poscar_negative_scale_is_the_volume():
    found = read_one("POSCAR", NACL_POSCAR.replace("1.0", "-100.0", 1))
    assert found.volume == pytest.approx(100)


def test_poscar_cartesian_selective_scaled():
    text = """salt
2.0
0.0 1.41 1.41
1.41 0.0 1.41
1.41 1.41 0.0
Na_pv Cl/3f2a
1 1
Selective dynamics
Cartesian
0 0 0 T T F
1.41 1.41 1.41 F F F

0.0 0.0 0.0
0.0 0.0 0.0
"""
    assert read_one("POSCAR", text) == rocksalt()
    three_scales = text.replace("2.0", "2.0 2.0 2.0", 1)
    assert read_one("POSCAR", three_scales) == rocksalt()


def test_poscar_of_vasp_4():
    without = NACL_POSCAR.replace("Na Cl\n", "")
    assert read_one("POSCAR", without.replace("NaCl", "Na Cl")) == rocksalt()
    trailing = without.replace("0 0 0", "0 0 0 Na").replace("0.5 0.5 0.5", "0.5 0.5 0.5 Cl")
    assert read_one("POSCAR", trailing) == rocksalt()
    (outcome,) = read_structures_from_bytes("POSCAR", without.encode())
    assert outcome.error.error_code == "unknown_element"
    assert "VASP 5" in outcome.error.hint


def test_poscar_element_twice():
    text = NACL_POSCAR.replace("Na Cl\n1 1", "Na Cl Na\n1 1 1") + "0.25 0.25 0.25\n"
    assert read_one("POSCAR", text).species == ("Na", "Cl", "Na")


# -- extended XYZ -----------------------------------------------------------------------------


def test_xyz_frames_ids_charges_spins():
    comment = NACL_XYZ.splitlines()[1]
    magnetic = comment.replace(
        "pos:R:3", "pos:R:3:forces:R:3:initial_magmoms:R:1:initial_charges:R:1"
    ).replace("id=salt", 'id="second one" energy=-1.5 stress="0 0 0" config={a b}')
    text = NACL_XYZ + f"2\n{magnetic}\nNa 0 0 0 1 2 3 0.5 1\nCl 2.82 2.82 2.82 1 2 3 -0.5 -1\n\n"
    first, second = read_structures_from_bytes("run.extxyz", text.encode())
    assert (first.source_id, second.source_id) == ("salt", "second one")
    assert second.structure.spins == (0.5, -0.5)
    assert second.structure.charges == (1, -1)
    assert first.structure == rocksalt()
    assert first.structure.label == "salt"


def test_xyz_written_by_ase(tmp_path):
    import ase.io

    atoms = [rocksalt().to_ase(), rocksalt_cubic().to_ase()]
    atoms[1].info["id"] = "mp-22862"
    atoms[1].set_initial_magnetic_moments([0.25] * 8)
    ase.io.write(tmp_path / "run.extxyz", atoms)
    first, second = iter_structures(tmp_path / "run.extxyz")
    assert first.structure == rocksalt()
    assert second.structure.spins == (0.25,) * 8
    assert second.source_id == "mp-22862"


def test_xyz_goes_on_after_bad_frames():
    bad_row = NACL_XYZ.replace("Cl 2.82", "Cl abc")
    cut = "\n".join(NACL_XYZ.splitlines()[:3]) + "\n"
    stray = "not a count\nmore\n"
    last = NACL_XYZ.replace("salt", "last")
    text = NACL_XYZ + bad_row + cut + NACL_XYZ + stray + last
    outcomes = list(read_structures_from_bytes("run.xyz", text.encode()))
    assert [o.error is None for o in outcomes] == [True, False, False, True, False, True]
    assert [o.index for o in outcomes] == list(range(6))
    assert "Line 8" in outcomes[1].error.message
    assert "'abc'" in outcomes[1].error.message
    assert "1 of 2 atoms" in outcomes[2].error.message
    assert "'not a count'" in outcomes[4].error.message
    assert outcomes[5].source_id == "last"


def test_xyz_is_streamed(tmp_path):
    path = tmp_path / "long.xyz"
    path.write_text(NACL_XYZ * 2000)
    frames = iter_structures(path)
    next(frames)
    assert sum(1 for _ in frames) == 1999


# -- XSF ---------------------------------------------------------------------------------------


def test_xsf_animation():
    body = NACL_XSF.split("PRIMCOORD")[1]
    text = NACL_XSF.replace("# rock salt", "ANIMSTEPS 2").replace("PRIMCOORD", "PRIMCOORD 1")
    outcomes = list(read_structures_from_bytes("a.axsf", (text + "PRIMCOORD 2" + body).encode()))
    assert [o.structure for o in outcomes] == [rocksalt(), rocksalt()]


def test_xsf_written_by_ase(tmp_path):
    import ase.io

    ase.io.write(tmp_path / "a.xsf", rocksalt_cubic().to_ase())
    assert read_structure(tmp_path / "a.xsf") == rocksalt_cubic()


# -- JSON --------------------------------------------------------------------------------------


def test_json_lists_and_identifiers():
    document = [
        {"id": "one", **rocksalt().as_dict()},
        {"material_id": "mp-1", "structure": pymatgen_dict()},
        optimade_entry(),
        {"lattice": (np.eye(3) * 3).tolist(), "atomic_numbers": [29], "frac_coords": [[0, 0, 0]]},
        {"nothing": "here"},
    ]
    outcomes = list(read_structures_from_bytes("a.json", json.dumps(document).encode()))
    assert [o.source_id for o in outcomes] == ["one", "mp-1", "odb-7", None, None]
    assert [o.structure.formula if o.structure else None for o in outcomes] == [
        "NaCl", "FeO", "NaCl", "Cu", None,
    ]  # fmt: skip
    assert outcomes[4].error.error_code == "invalid_json"


def test_json_of_pymatgen_keeps_charges_and_spins():
    salt = rocksalt("Fe", "O", 4.3)
    decorated = Structure(
        lattice=salt.lattice,
        species=salt.species,
        frac_coords=salt.frac_coords,
        charges=(2, -2),
        spins=(4, 0),
    )
    text = json.dumps(decorated.to_pymatgen().as_dict())
    assert read_one("a.json", text) == decorated


# -- several files -----------------------------------------------------------------------------


def test_folder_is_read_in_order_and_only_known_names(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.cif").write_text(NACL_CIF)
    (tmp_path / "a.xyz").write_text(NACL_XYZ * 2)
    (tmp_path / "c.cif").write_bytes(b"\x00\x01\x02" * 50)
    (tmp_path / "sub" / "POSCAR").write_text(NACL_POSCAR)
    (tmp_path / "README.md").write_text("not a structure")
    (tmp_path / ".hidden.cif").write_text(NACL_CIF)
    outcomes = list(iter_structures(tmp_path))
    names = [o.file.removeprefix(f"{tmp_path}/") for o in outcomes]
    assert names == ["a.xyz", "a.xyz", "b.cif", "c.cif", "sub/POSCAR"]
    assert [o.index for o in outcomes] == [0, 1, 0, 0, 0]
    assert [o.error is None for o in outcomes] == [True, True, True, False, True]


def test_several_paths_and_missing_ones(tmp_path):
    (tmp_path / "a.cif").write_text(NACL_CIF)
    first, second = iter_paths([tmp_path / "missing.cif", str(tmp_path / "a.cif")])
    assert isinstance(first.error, NotFoundError)
    assert second.structure.formula == "NaCl"


def test_folder_without_structures(tmp_path):
    (outcome,) = iter_structures(tmp_path)
    assert outcome.error.error_code == "no_structures"


def test_read_structure_raises(tmp_path):
    with pytest.raises(NotFoundError):
        read_structure(tmp_path / "no.cif")
    (tmp_path / "two.xyz").write_text(NACL_XYZ * 2)
    with pytest.raises(StructureRefusedError) as refused:
        read_structure(tmp_path / "two.xyz")
    assert refused.value.error_code == "several_structures"
    with pytest.raises(NotFoundError):
        read_structure("bad\0name.cif")


def test_a_folder_of_cifs_is_read_whole(tmp_path):
    for number in range(200):
        (tmp_path / f"{number}.cif").write_text(NACL_CIF)
    assert sum(o.structure is not None for o in iter_structures(tmp_path)) == 200
