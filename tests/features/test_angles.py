"""Angles and dihedrals against values by hand."""

import numpy as np
import pytest

from nanoos.core.errors import TooLargeError
from nanoos.features import crystal_graph, dihedrals, line_graph
from nanoos.structures import Structure
from nanoos.testing.crystals import perturbed, rocksalt, wurtzite

BOX_A = 30.0


def molecule(*positions: list[float]) -> Structure:
    coords = np.array(positions) / BOX_A
    return Structure(lattice=np.eye(3) * BOX_A, species=("O",) * len(coords), frac_coords=coords)


def test_angles_of_water_like_and_of_diamond() -> None:
    bent = np.radians(104.5)
    water = molecule([0, 0, 0], [1, 0, 0], [np.cos(bent), np.sin(bent), 0])
    lines = line_graph(crystal_graph(water, 1.2))
    assert lines.angles == pytest.approx([bent, bent]), "once from either bond"
    diamond = Structure(
        lattice=3.567 / 2 * (1 - np.eye(3)), species=("C", "C"), frac_coords=[[0] * 3, [0.25] * 3]
    )
    tetrahedral = line_graph(crystal_graph(diamond, 1.6))
    assert len(tetrahedral.first) == 2 * 4 * 3
    assert tetrahedral.cosines == pytest.approx(-1 / 3)


def test_rocksalt_has_right_and_straight_angles() -> None:
    lines = line_graph(crystal_graph(rocksalt(), 2.2))
    degrees, counts = np.unique(np.round(np.degrees(lines.angles), 6), return_counts=True)
    assert dict(zip(degrees, counts, strict=True)) == {90.0: 48, 180.0: 12}


def test_the_pairs_are_all_that_share_their_atom() -> None:
    graph = crystal_graph(perturbed(wurtzite()), 3.4)
    lines = line_graph(graph)
    expected = {
        (a, b)
        for a in range(graph.n_bonds)
        for b in range(graph.n_bonds)
        if a != b and graph.sources[a] == graph.sources[b]
    }
    assert set(zip(lines.first.tolist(), lines.second.tolist(), strict=True)) == expected
    a, b = lines.first[7], lines.second[7]
    ends = np.linalg.norm(graph.vectors[a] - graph.vectors[b])
    cosine = (graph.distances[a] ** 2 + graph.distances[b] ** 2 - ends**2) / (
        2 * graph.distances[a] * graph.distances[b]
    )
    assert lines.cosines[7] == pytest.approx(cosine)


@pytest.mark.parametrize("degrees", [0.0, 60.0, 90.0, -120.0, 180.0])
def test_the_dihedral_of_a_chain_is_the_one_it_was_built_with(degrees: float) -> None:
    twist = np.radians(degrees)
    # looking from j to k, i is up (y) and l is turned from it clockwise for positive angles
    end = [1.0, np.cos(twist), np.sin(twist)]
    chain = molecule([0, 1, 0], [0, 0, 0], [1, 0, 0], end)
    found = dihedrals(crystal_graph(chain, 1.2))
    graph = crystal_graph(chain, 1.2)
    inner = np.flatnonzero((graph.sources == 1) & (graph.targets == 2))
    along = found.angles[np.isin(found.middle, inner) & (graph.targets[found.last] == 3)]
    assert np.cos(along) == pytest.approx(np.cos(twist))
    assert np.sin(along) == pytest.approx(np.sin(twist), abs=1e-9)
    atoms = chain.to_ase()
    assert np.cos(along) == pytest.approx(np.cos(np.radians(atoms.get_dihedral(0, 1, 2, 3))))
    assert np.sin(along) == pytest.approx(
        np.sin(np.radians(atoms.get_dihedral(0, 1, 2, 3))), abs=1e-9
    )


def test_dihedrals_do_not_turn_back_and_are_nan_on_a_line() -> None:
    straight = molecule([0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0])
    found = dihedrals(crystal_graph(straight, 1.2))
    assert len(found.angles) == 2, "i-j-k-l and back, no chain that uses a bond twice"
    assert np.isnan(found.angles).all()


def test_a_graph_of_too_many_angles_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nanoos.features.angles.MAX_PAIRS", 100)
    graph = crystal_graph(rocksalt(), 5.0)
    with pytest.raises(TooLargeError, match="angles"):
        line_graph(graph)
    with pytest.raises(TooLargeError, match="dihedrals"):
        dihedrals(graph)


def test_atoms_without_bonds_have_no_angles() -> None:
    graph = crystal_graph(molecule([0, 0, 0]), 5.0)
    assert len(line_graph(graph).angles) == len(dihedrals(graph).angles) == 0
