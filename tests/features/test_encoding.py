"""Graphs as bytes: exact, small, readable by others, refused when broken; streams stay flat."""

import dataclasses
import io
import tracemalloc

import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError, StructureRefusedError
from nanoos.features import (
    FEATURE_VERSION,
    CrystalGraph,
    FeatureParameters,
    crystal_graph,
    decode_graph,
    encode_graph,
    graph_to_npz,
    iter_features,
    stream_packed,
)
from nanoos.structures import Structure
from nanoos.testing.crystals import perturbed, rocksalt, wurtzite


def equal(one: CrystalGraph, other: CrystalGraph) -> bool:
    return all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name))
        for field in dataclasses.fields(CrystalGraph)
    )


@pytest.mark.parametrize("max_neighbors", [None, 12], ids=["radius", "nearest"])
def test_what_is_read_is_exactly_what_was_written(max_neighbors: int | None) -> None:
    for crystal in (perturbed(wurtzite()), rocksalt()):
        graph = crystal_graph(crystal, 6.0, max_neighbors=max_neighbors)
        assert equal(decode_graph(encode_graph(graph)), graph)


def test_wide_integers_and_no_bonds_are_kept() -> None:
    n = 300
    chain = Structure(
        lattice=np.diag([2.0 * n, 20, 20]),
        species=("Fe",) * n,
        frac_coords=np.column_stack([np.arange(n) / n + 500, np.zeros(n), np.zeros(n)]),
    )
    chain.frac_coords.flags.writeable = True
    chain.frac_coords[0, 0] -= 1000  # far away from its neighbours: an image above 127
    graph = crystal_graph(chain, 3.0)
    assert np.abs(graph.images).max() > 127
    assert equal(decode_graph(encode_graph(graph)), graph)
    alone = Structure(lattice=np.eye(3) * 30, species=("He",), frac_coords=[[0, 0, 0]])
    assert equal(decode_graph(encode_graph(crystal_graph(alone))), crystal_graph(alone))


def test_the_bytes_are_a_safetensors_file_and_small() -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    graph = crystal_graph(wurtzite(), 8.0)
    data = encode_graph(graph)
    tensors = safetensors.load(data)
    assert tensors["targets"].tolist() == graph.targets.tolist()
    assert tensors["positions"] == pytest.approx(graph.positions)
    assert len(data) < 5 * graph.n_bonds + 1200, "an index, an image and a share of the header"


def test_npz_holds_every_array() -> None:
    graph = crystal_graph(wurtzite(), 5.0)
    with np.load(io.BytesIO(graph_to_npz(graph)), allow_pickle=False) as arrays:
        assert arrays["distances"] == pytest.approx(graph.distances, rel=1e-6)
        assert arrays["vectors"].shape == (graph.n_bonds, 3)
        names = arrays["atom_feature_names"].tolist()
        zinc = dict(zip(names, arrays["atom_features"][0], strict=True))
        assert str(arrays["feature_version"]) == FEATURE_VERSION
    assert zinc == pytest.approx(
        {"atomic_number": 30, "mass_u": 65.38, "electronegativity": 1.65, "covalent_radius_a": 1.22}
    )


def test_broken_bytes_are_refused_in_words() -> None:
    good = encode_graph(crystal_graph(rocksalt(), 5.0))
    wrong = [
        b"",
        b"short",
        good[:200],
        good[:-9],
        b"\xff" * 100,
        good.replace(b'"feature_version":"1"', b'"feature_version":"9"'),
        good.replace(b'"targets"', b'"other_x"'),
        good.replace(b'"dtype":"U8"', b'"dtype":"Q8"'),
    ]
    for data in wrong:
        with pytest.raises(InvalidInputError, match="not features of version") as caught:
            decode_graph(data)
        assert caught.value.error_code == "broken_features"


def test_parameters_name_the_features() -> None:
    assert FeatureParameters().hash == FeatureParameters(cutoff_radius=5).hash
    assert FeatureParameters().hash != FeatureParameters(cutoff_radius=5.1).hash
    assert FeatureParameters().hash != FeatureParameters(max_neighbors=12).hash
    with pytest.raises(InvalidInputError):
        FeatureParameters(cutoff_radius=-1)


def test_one_refused_structure_never_ends_the_stream() -> None:
    flat = Structure(lattice=np.zeros((3, 3)), species=("H",), frac_coords=[[0, 0, 0]])
    found = list(iter_features([rocksalt(), flat, wurtzite()], FeatureParameters()))
    assert [one.graph is not None for one in found] == [True, False, True]
    assert isinstance(found[1].error, StructureRefusedError)


def test_memory_stays_flat_however_many_stream_through() -> None:
    def crystals(count: int):
        return (rocksalt(4.0 + 0.0001 * number) for number in range(count))

    def peak(count: int) -> int:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        for features in iter_features(crystals(count), FeatureParameters(cutoff_radius=3.0)):
            assert features.graph is not None
        for part in stream_packed(crystals(count), k=6, max_atoms=50):
            assert part.n_atoms <= 50
        return tracemalloc.get_traced_memory()[1] - before

    list(iter_features(crystals(1), FeatureParameters()))
    tracemalloc.start()
    try:
        few, many = peak(50), peak(1000)
    finally:
        tracemalloc.stop()
    assert many < few + 100_000, "bytes; 1,000 graphs held would be megabytes"
