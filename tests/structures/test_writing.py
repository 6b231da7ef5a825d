import json
import zipfile

import numpy as np
import pytest
from crystals import rocksalt, rocksalt_cubic
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Structure as PymatgenStructure

from nanoos.core.errors import InvalidInputError, StructureRefusedError
from nanoos.structures import (
    Structure,
    export_bytes,
    find_duplicate,
    iter_structures,
    read_structures_from_bytes,
    write_structures,
)


def decorated() -> Structure:
    salt = rocksalt("Fe", "O", 4.3)
    return Structure(
        lattice=salt.lattice,
        species=salt.species,
        frac_coords=salt.frac_coords,
        charges=(8 / 3, -2),
        spins=(4, -0.5),
        label='odd name: Å/"1"',
    )


def read_back(structure: Structure, form: str) -> Structure:
    export = export_bytes([structure], form)
    (outcome,) = read_structures_from_bytes(export.filename, export.data)
    if outcome.error is not None:
        raise outcome.error
    return outcome.structure


@st.composite
def crystals(draw) -> Structure:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_sites = draw(st.integers(1, 6))
    symbols = st.sampled_from(["H", "C", "Na", "Cl", "Fe", "O", "U"])
    return Structure(
        lattice=np.eye(3) * 5 + rng.uniform(-1.5, 1.5, (3, 3)),
        species=tuple(draw(symbols) for _ in range(n_sites)),
        frac_coords=rng.uniform(-1, 2, (n_sites, 3)),
        charges=tuple(rng.integers(-3, 4, n_sites)) if draw(st.booleans()) else None,
        spins=tuple(rng.uniform(-5, 5, n_sites)) if draw(st.booleans()) else None,
    )


def near(first: np.ndarray, second: np.ndarray) -> bool:
    return np.allclose(first, second, atol=1e-9)


@given(crystals())
@settings(max_examples=60, deadline=None)
def test_round_trips(structure):
    try:
        structure.validated()
    except StructureRefusedError:
        return
    for form in ("extxyz", "json", "poscar", "cif"):
        found = read_back(structure, form)
        assert found.species == structure.species
        assert near(found.frac_coords, structure.frac_coords)
        if form == "cif":
            assert near(found.lengths, structure.lengths)
            assert near(found.angles, structure.angles)
        else:
            assert near(found.lattice, structure.lattice)
        if form in {"extxyz", "json"}:
            assert found.charges == structure.charges
            assert found.spins == structure.spins


def test_charges_in_cif():
    assert read_back(decorated(), "cif").charges == pytest.approx((8 / 3, -2))


def test_cif_and_poscar_are_read_by_pymatgen():
    for form, name in (("cif", "cif"), ("poscar", "poscar")):
        data = export_bytes([rocksalt_cubic()], form).data.decode()
        found = Structure.from_pymatgen(PymatgenStructure.from_str(data, fmt=name))
        assert find_duplicate(found, [rocksalt_cubic()]) == 0


def test_several_structures(tmp_path):
    items = [rocksalt(), decorated(), rocksalt_cubic()]
    for name in ("a.cif", "a.extxyz", "a.json", "a.zip"):
        path = write_structures(items, tmp_path / name, names=["one", "two", "three"])
        outcomes = sorted(iter_structures(path), key=lambda o: o.structure.n_sites)
        assert [o.structure.formula for o in outcomes] == ["NaCl", "FeO", "NaCl"] or name == "a.zip"
        assert len(outcomes) == 3
        if name != "a.zip":
            assert {o.source_id for o in outcomes} == {"one", "two", "three"}
    with pytest.raises(InvalidInputError, match="one structure"):
        write_structures(items, tmp_path / "POSCAR")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.cif", "a.extxyz", "a.json", "a.zip"]


def test_zip_names_are_safe_and_different(tmp_path):
    names = ["../../etc/passwd", "NaCl", "nacl", "NaCl-2", "NaCl"]
    path = write_structures(
        [rocksalt()] * 5, tmp_path / "a.zip", names=names, inner_format="poscar"
    )
    with zipfile.ZipFile(path) as archive:
        found = archive.namelist()
    assert len({n.lower() for n in found}) == 5
    assert not any("/" in n or n.startswith(".") for n in found)
    assert export_bytes([rocksalt()], "zip") == export_bytes([rocksalt()], "zip")


def test_media_types_and_names():
    export = export_bytes([rocksalt()], "cif", names=["my salt"])
    assert export.filename == "my_salt.cif"
    assert export.media_type == "chemical/x-cif"
    assert json.loads(export_bytes([rocksalt()], "json").data)["species"] == ["Na", "Cl"]


@pytest.mark.parametrize(
    ("structures", "form", "names"),
    [([], "cif", None), ([rocksalt()], "docx", None), ([rocksalt()], "cif", ["a", "b"])],
)
def test_wrong_requests(structures, form, names):
    with pytest.raises(InvalidInputError):
        export_bytes(structures, form, names=names)


def test_nothing_half_written(tmp_path, monkeypatch):
    path = tmp_path / "a.cif"
    path.write_text("before")

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_structures([rocksalt()], path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.cif"]
    assert path.read_text() == "before"
    with pytest.raises(InvalidInputError):
        write_structures([rocksalt()], tmp_path / "noformat")
