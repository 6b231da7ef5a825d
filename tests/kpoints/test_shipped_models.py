"""The models of the package: what they say, on what, and what they refuse."""

import json
import subprocess
import sys
from dataclasses import replace
from math import pi
from pathlib import Path

import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError, NotFoundError
from nanoos.kpoints import KPOINT_MODELS, kpoint_model, kpoint_models, mesh_from_kdist
from nanoos.kpoints.cards import kpoint_card
from nanoos.kpoints.forest_model import FILE, ForestKpointModel, present_forest
from nanoos.potentials import installed_weights
from nanoos.structures import Structure
from nanoos.testing.crystals import rocksalt, wurtzite

FCC = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
ALUMINIUM = Structure(lattice=4.05 * FCC, species=("Al",), frac_coords=np.zeros((1, 3)))
COPPER = Structure(lattice=3.61 * FCC, species=("Cu",), frac_coords=np.zeros((1, 3)))
ORDINARY = [rocksalt(4.25), wurtzite(), ALUMINIUM, COPPER]
NAMES = [info.name for info in kpoint_models() if info.available]


@pytest.mark.parametrize("name", NAMES)
def test_a_prediction_is_consistent(name):
    for structure, found in zip(ORDINARY, kpoint_model(name).predict(ORDINARY), strict=True):
        assert found.kdist_lower <= found.kdist <= found.kdist_upper
        assert found.level == 0.95
        assert found.mesh == mesh_from_kdist(structure.lattice, found.kdist_lower)
        assert found.mesh_median == mesh_from_kdist(structure.lattice, found.kdist)
        assert (2 * pi / found.kdist_lower) % 5 == pytest.approx(0, abs=1e-6) or found.out_of_domain
        assert found.coverage is None or found.coverage.level == 0.95
        assert "0.001 eV" in found.criterion


@pytest.mark.parametrize("name", NAMES)
def test_metals_need_more_than_insulators(name):
    oxide, _, aluminium, copper = kpoint_model(name).predict(ORDINARY)
    assert aluminium.kdist < 0.75 * oxide.kdist
    assert copper.kdist < 0.75 * oxide.kdist


@pytest.mark.parametrize("name", NAMES)
def test_higher_confidence_never_gives_a_coarser_mesh(name):
    model = kpoint_model(name)
    bounds = [
        [p.kdist_lower for p in model.predict(ORDINARY, confidence=c)] for c in (0.85, 0.9, 0.95)
    ]
    assert np.all(np.diff(np.array(bounds), axis=0) <= 0)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_alone_and_among_others(name):
    model = kpoint_model(name)
    together = model.predict(ORDINARY)
    for structure, found in zip(ORDINARY, together, strict=True):
        (alone,) = model.predict([structure])
        assert alone.kdist == pytest.approx(found.kdist, rel=1e-4)
        assert alone.mesh == found.mesh


@pytest.mark.parametrize("name", NAMES)
def test_an_unusual_structure_is_flagged_and_gets_the_conservative_end(name):
    squeezed = rocksalt(3.0)
    (found,) = kpoint_model(name).predict([squeezed], confidence=0.85)
    (careful,) = kpoint_model(name).predict([squeezed], confidence=0.95)
    assert found.out_of_domain
    assert found.reasons
    assert found.kdist_lower == careful.kdist_lower


@pytest.mark.parametrize("name", NAMES)
def test_vacuum_gets_one_point_and_is_outside_of_what_was_learnt(name):
    layer = Structure(
        lattice=[[2.46, 0, 0], [-1.23, 2.13, 0], [0, 0, 18.0]],
        species=("C", "C"),
        frac_coords=[[0, 0, 0.5], [1 / 3, 2 / 3, 0.5]],
    )
    (found,) = kpoint_model(name).predict([layer], confidence=0.85)
    assert found.mesh.divisions[2] == 1
    assert any("vacuum along c" in reason for reason in found.reasons)
    assert (found.level, found.interval_level) == (0.85, 0.95)
    assert found.coverage is None, "it was measured on crystals of the domain"


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_larger_than_any_that_was_learnt_is_flagged(name):
    cell = Structure.from_ase(rocksalt().to_ase() * (4, 4, 4))
    (found,) = kpoint_model(name).predict([cell])
    assert found.out_of_domain
    assert any("128 atoms" in reason for reason in found.reasons)
    (small,) = kpoint_model(name).predict([rocksalt()])
    assert not small.out_of_domain
    assert small.interval_level == small.level


def test_a_forest_of_ones_own_answers_in_place_of_the_shipped_one(tmp_path, monkeypatch):
    shipped = kpoint_model("RF")
    card = replace(shipped.answerer.card, version="1+3", metrics={})
    monkeypatch.setattr(installed_weights, "_folder", tmp_path)
    ForestKpointModel(shipped.parts, replace(shipped.answerer, card=card)).save(tmp_path / FILE)
    present_forest.cache_clear()
    try:
        (found,) = kpoint_model("RF").predict([rocksalt()])
        assert (found.version, found.coverage) == ("1+3", None)
        (tmp_path / FILE).write_bytes(b"no weights")
        present_forest.cache_clear()
        broken = kpoint_models()[0]
        assert not broken.available
        assert FILE in broken.unavailable_reason
    finally:
        present_forest.cache_clear()


def test_pulled_weights_are_listed_as_untried(tmp_path, monkeypatch):
    monkeypatch.setattr(installed_weights, "_folder", tmp_path)
    weights = installed_weights.InstalledWeights(
        name="kpoints-goldilocks-QRF95",
        family="goldilocks",
        folder=tmp_path / "kpoints-goldilocks-QRF95",
        files={"QRF95.pkl": "0" * 64},
        license="CC-BY-4.0",
        source="Patyukova et al.",
        added_at="2026-11-01T00:00:00Z",
    )
    weights.folder.mkdir()
    (weights.folder / "QRF95.pkl").write_bytes(b"a pickle")
    manifest = weights.folder / installed_weights.MANIFEST
    manifest.write_text(json.dumps(weights.as_dict()))
    last = kpoint_models()[-1]
    assert (last.name, last.untried, last.available) == (weights.name, True, False)
    assert not any(one.untried for one in kpoint_models()[:-1])


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_what_was_learnt_and_measured(name):
    info = kpoint_model(name).info()
    card = kpoint_card(info)
    assert info.label_code in card
    assert info.criterion in card
    assert "the 88 rows whose structure and label belong together" in card
    assert "split: test: measured once" in card


@pytest.mark.parametrize("name", NAMES)
def test_a_level_that_was_not_calibrated_is_refused(name):
    with pytest.raises(InvalidInputError) as caught:
        kpoint_model(name).predict(ORDINARY, confidence=0.99)
    assert caught.value.error_code == "unknown_level"


@pytest.mark.parametrize("name", NAMES)
def test_an_element_beyond_the_table_is_refused(name):
    structure = Structure(lattice=4 * np.eye(3), species=("Rf",), frac_coords=np.zeros((1, 3)))
    with pytest.raises(InvalidInputError, match="Rf") as caught:
        kpoint_model(name).predict([structure])
    assert caught.value.error_code == "unknown_element"


def test_the_default_is_there_and_its_card_says_what_converged_means():
    first = kpoint_models()[0]
    assert first.name == "RF"
    assert first.available
    assert "VASP" in first.label_code
    assert first.weights_sha256


def test_one_that_is_missing_says_so():
    for info in kpoint_models():
        assert info.available or info.unavailable_reason


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(NotFoundError, match="RFF") as caught:
        kpoint_model("RFF")
    assert "'RF'" in (caught.value.hint or "")
    assert KPOINT_MODELS.canonical_name("rf") == "RF"


def test_a_file_gives_the_same_model_again(tmp_path):
    model = kpoint_model("RF")
    assert isinstance(model, ForestKpointModel)
    digest = model.save(tmp_path / "again.safetensors")
    again = ForestKpointModel.load(tmp_path / "again.safetensors")
    assert again.answerer.sha256 == digest
    assert again.predict(ORDINARY)[0].kdist == model.predict(ORDINARY)[0].kdist


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "none.safetensors"
    path.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ")
    with pytest.raises(InvalidInputError) as caught:
        ForestKpointModel.load(path)
    assert caught.value.error_code == "invalid_weights"


def test_the_forest_needs_neither_pytorch_nor_scikit_learn():
    code = (
        "import sys, numpy as np\n"
        "from nanoos.kpoints import kpoint_model\n"
        "from nanoos.testing.crystals import rocksalt\n"
        "kpoint_model('RF').predict([rocksalt()])\n"
        "heavy = {'torch', 'sklearn', 'pandas', 'pymatgen.core'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_weights_are_plain_arrays():
    for path in (Path(sys.modules["nanoos.kpoints"].__file__).parent / "weights").iterdir():
        assert path.suffix == ".safetensors"


def test_the_published_forest_is_pinned_and_never_answers():
    from nanoos.potentials.published_weights import PUBLISHED, UNTRIED_FAMILIES

    known = PUBLISHED["kpoints-goldilocks-QRF95"]
    assert known.files.keys() == known.urls.keys()
    assert all(len(digest) == 64 for digest in known.files.values())
    assert known.family in UNTRIED_FAMILIES
    assert not known.gives
    assert sorted(KPOINT_MODELS.names()) == ["ALIGNN", "RF"]
