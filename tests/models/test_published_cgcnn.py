"""The published CGCNN networks against the outputs of the published code."""

import json
import pickle

import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.models.published_cgcnn import (
    NETWORKS,
    PublishedCGCNN,
    published_neighbors,
    published_outputs,
    read_checkpoint,
)
from nanoos.structures import Structure
from nanoos.structures.elements import SYMBOLS
from nanoos.testing.crystals import rocksalt


@pytest.fixture(scope="module")
def reference(shared):
    path = shared / "data" / "reference" / "cgcnn_published_predictions.json"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return json.loads(path.read_text())["structures"]


@pytest.fixture(scope="module")
def folder(shared):
    path = shared / "weights" / "cgcnn"
    if not path.is_dir():
        pytest.skip(f"{path} is not there")
    return path


def crystal(record):
    data = record["structure"]
    return Structure(
        lattice=np.array(data["lattice"]),
        species=tuple(SYMBOLS[z] for z in data["atomic_numbers"]),
        frac_coords=np.array(data["frac_coords"]),
    )


def test_all_reference_outputs(reference, folder):
    outputs = published_outputs([crystal(r) for r in reference.values()], folder)
    assert len(reference) == 40
    for name in NETWORKS:
        expected = np.array([r["predictions"][name] for r in reference.values()])
        # the reference is written with six decimals
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-4, atol=6e-7, err_msg=name)


def test_properties_are_in_their_units_and_metals_have_no_gap(reference, added_weights):
    names = ["mp-971631", "mp-30878", "mp-998890"]  # GaP, TbTl, Cu: all said to be metals
    gapped = next(i for i, r in reference.items() if _is_insulator(r))
    predictions = PublishedCGCNN().predict([crystal(reference[i]) for i in [*names, gapped]])
    for identifier, prediction in zip([*names, gapped], predictions, strict=True):
        said = reference[identifier]["predictions"]
        values = {name: value.value for name, value in prediction.properties.items()}
        assert values["bulk_modulus"] == pytest.approx(10 ** said["bulk-moduli"], rel=1e-3)
        assert values["shear_modulus"] == pytest.approx(10 ** said["shear-moduli"], rel=1e-3)
        assert values["is_metal"] == pytest.approx(
            said["semi-metal-classification"], rel=1e-3, abs=6e-7
        )
        metal = said["semi-metal-classification"] >= 0.5
        expected = 0.0 if metal else said["band-gap"]
        assert values["bandgap"] == pytest.approx(expected, rel=1e-3)
        assert said["band-gap"] > 0.3  # the raw network never says metal
        assert all(value.interval(0.9) is None for value in prediction.properties.values())
        assert any("classifier" in note for note in prediction.notes)


def _is_insulator(record):
    said = record["predictions"]
    return said["semi-metal-classification"] < 0.1


def test_missing_neighbours_are_the_first_atom_beyond_the_cutoff():
    sparse = rocksalt(14.5, "K", "I")  # six neighbours at 7.25 Å, the next beyond 8 Å
    neighbors, distances = published_neighbors(sparse)
    np.testing.assert_allclose(distances[:, :6], 7.25, atol=1e-5)
    np.testing.assert_allclose(distances[:, 6:], 9.0)
    assert (neighbors[:, 6:] == 0).all()
    assert (neighbors[0, :6] == 1).all()


def test_nothing_in_a_file_is_executed(tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    path = tmp_path / "evil.pth.tar"
    path.write_bytes(pickle.dumps({"state_dict": Payload(), "args": {}, "normalizer": {}}))
    with pytest.raises(InvalidInputError):
        read_checkpoint(path)
    import torch

    torch.save({"state_dict": Payload(), "args": {}, "normalizer": {}}, path)
    with pytest.raises(InvalidInputError, match="more than numbers"):
        read_checkpoint(path)
    assert not (tmp_path / "owned").exists()


def test_unknown_element_is_refused_before_weights_are_needed():
    with pytest.raises(InvalidInputError, match="Md"):
        PublishedCGCNN().predict([rocksalt(5.0, "Md", "O")])


def test_without_weights_it_says_the_command():
    info = PublishedCGCNN().info()
    assert not info.available
    assert "nanoos models pull CGCNN-2018" in info.install_command
    assert info.test_error["bandgap"][0].mae == 0.388
    with pytest.raises(UnavailableError) as caught:
        PublishedCGCNN().predict([rocksalt()])
    assert "nanoos models add" in caught.value.hint
