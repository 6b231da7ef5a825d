"""Crystal graphs against other codes, under symmetry operations, and for difficult cells."""

from dataclasses import replace

import numpy as np
import pytest
from ase.neighborlist import primitive_neighbor_list

from nanoos.core.errors import InvalidInputError, StructureRefusedError, TooLargeError
from nanoos.features import crystal_graph, extract_structure_features, features_to_cgcnn_format
from nanoos.features.neighbors import nearest_neighbors, neighbor_list
from nanoos.features.packed import PackedGraphs, stream_packed
from nanoos.structures import Structure, read_structures_from_bytes
from nanoos.testing.crystals import perturbed, rocksalt, wurtzite


def supercell(structure: Structure, *repeats: int) -> Structure:
    grid = np.stack(np.meshgrid(*(range(n) for n in repeats), indexing="ij"), -1).reshape(-1, 3)
    coords = structure.frac_coords[:, None] + grid
    return Structure(
        lattice=structure.lattice * np.array(repeats)[:, None],
        species=tuple(s for s in structure.species for _ in grid),
        frac_coords=coords.reshape(-1, 3) / repeats,
    )


def sheared(structure: Structure, factor: int) -> Structure:
    """The same crystal in a skewed cell, its atoms in cells far away."""
    shear = np.array([[1, 0, 0], [factor, 1, 0], [factor, -factor, 1]])
    coords = structure.frac_coords @ np.linalg.inv(shear) + [[3, -2, 7]]
    return Structure(
        lattice=shear @ structure.lattice, species=structure.species, frac_coords=coords
    )


def as_rows(sources, targets, images):
    """Bonds as sorted rows, to compare whatever the order."""
    rows = np.column_stack([sources, targets, images])
    return rows[np.lexsort(rows.T[::-1])]


LEFT_HANDED = Structure(
    lattice=[[3.1, 0, 0], [0.4, 3.3, 0], [0.2, 0.1, -4.7]],
    species=("Ti", "O"),
    frac_coords=[[0.1, 0.2, 0.3], [0.6, 0.55, 0.9]],
)
CASES = {
    "one-atom": Structure(
        lattice=2.87 / 2 * (1 - 2 * np.eye(3)), species=("Fe",), frac_coords=[[0.2, 0.1, 0.4]]
    ),
    "wurtzite": perturbed(wurtzite()),
    "thin": Structure(lattice=np.diag([1.1, 14, 15]), species=("C",), frac_coords=[[0, 0, 0.5]]),
    "left-handed": LEFT_HANDED,
    "skewed": sheared(perturbed(rocksalt()), 3),
    "outside": Structure(
        lattice=LEFT_HANDED.lattice,
        species=LEFT_HANDED.species,
        frac_coords=LEFT_HANDED.frac_coords + np.array([[12, -7, 3], [-0.5, 40, 0]]),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_bonds_are_those_of_ase(name: str) -> None:
    structure = CASES[name]
    graph = crystal_graph(structure, 5.37)
    i, j, distances, images = primitive_neighbor_list(
        "ijdS", [True] * 3, structure.lattice, structure.cart_coords, 5.37
    )
    assert np.array_equal(
        as_rows(graph.sources, graph.targets, graph.images), as_rows(i, j, images)
    )
    assert np.sort(graph.distances) == pytest.approx(np.sort(distances), abs=1e-9)
    ends = structure.cart_coords[graph.targets] + graph.images @ structure.lattice
    assert graph.vectors == pytest.approx(ends - structure.cart_coords[graph.sources])
    assert np.all(np.diff(graph.sources) >= 0)
    same = np.diff(graph.sources) == 0
    assert np.all(np.diff(graph.distances)[same] > -2e-4), "the nearest first"


def test_the_bonds_are_those_of_matscipy_in_a_large_cell() -> None:
    matscipy = pytest.importorskip("matscipy.neighbours")
    structure = perturbed(supercell(rocksalt(), 10, 10, 11))
    assert structure.n_sites == 2200
    graph = crystal_graph(structure, 5.0)
    i, j, images = matscipy.neighbour_list("ijS", structure.to_ase(), 5.0)
    assert np.array_equal(
        as_rows(graph.sources, graph.targets, graph.images), as_rows(i, j, images)
    )


@pytest.mark.parametrize("factor", [20, 1000, 20_000])
def test_a_very_skewed_cell_gives_the_bonds_of_the_crystal(factor: int) -> None:
    crystal = perturbed(rocksalt())
    plain, skewed = crystal_graph(crystal, 6.0), crystal_graph(sheared(crystal, factor), 6.0)
    assert skewed.n_bonds == plain.n_bonds
    assert skewed.distances == pytest.approx(plain.distances, abs=1e-5)
    assert np.linalg.norm(skewed.vectors, axis=1) == pytest.approx(skewed.distances)


def test_rotation_turns_the_vectors_and_nothing_else() -> None:
    crystal = perturbed(wurtzite())
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    turned = Structure(
        lattice=crystal.lattice @ turn, species=crystal.species, frac_coords=crystal.frac_coords
    )
    (before, scalars), (after, scalars_after) = (
        extract_structure_features(one, 5.0) for one in (crystal, turned)
    )
    assert np.array_equal(before.targets, after.targets)
    assert np.array_equal(before.images, after.images)
    assert after.distances == pytest.approx(before.distances)
    assert after.vectors == pytest.approx(before.vectors @ turn)
    assert scalars_after.volume_per_atom_a3 == pytest.approx(scalars.volume_per_atom_a3)


def test_permutation_permutes_the_atoms_and_nothing_else() -> None:
    crystal = perturbed(wurtzite())
    order = np.array([2, 0, 3, 1])
    permuted = Structure(
        lattice=crystal.lattice,
        species=tuple(crystal.species[i] for i in order),
        frac_coords=crystal.frac_coords[order],
    )
    before, after = crystal_graph(crystal, 5.0), crystal_graph(permuted, 5.0)
    assert np.array_equal(
        as_rows(before.sources, before.targets, before.images),
        as_rows(order[after.sources], order[after.targets], after.images),
    )
    assert np.array_equal(before.atom_features[order], after.atom_features)


@pytest.mark.parametrize("max_neighbors", [None, 5], ids=["radius", "nearest"])
def test_every_copy_in_a_supercell_has_the_bonds_of_its_atom(max_neighbors: int | None) -> None:
    crystal = perturbed(wurtzite())
    (small, few), (large, many) = (
        extract_structure_features(one, 5.0, max_neighbors=max_neighbors)
        for one in (crystal, supercell(crystal, 2, 1, 3))
    )
    assert np.array_equal(large.coordination, np.repeat(small.coordination, 6))
    for atom in range(large.n_atoms):
        assert large.distances[large.sources == atom] == pytest.approx(
            small.distances[small.sources == atom // 6]
        )
    assert many.packing_fraction == pytest.approx(few.packing_fraction)
    assert many.element_fractions == pytest.approx(few.element_fractions)


def test_nearest_graph_is_the_beginning_of_the_radius_graph() -> None:
    for crystal in CASES.values():
        every, nearest = crystal_graph(crystal, 8.0), crystal_graph(crystal, 8.0, max_neighbors=12)
        starts = np.cumsum(every.coordination) - every.coordination
        rank = np.arange(every.n_bonds) - starts[every.sources]
        assert np.array_equal(every.targets[rank < 12], nearest.targets)
        assert np.array_equal(every.images[rank < 12], nearest.images)
        assert nearest.coordination.max() <= 12


def test_ranking_by_five_columns_is_ranking_by_one_number(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = [nearest_neighbors(crystal, 9) for crystal in CASES.values()]
    monkeypatch.setattr("nanoos.features.neighbors._LARGEST_KEY", 0)
    for one, crystal in zip(quick, CASES.values(), strict=True):
        slow = nearest_neighbors(crystal, 9)
        assert np.array_equal(one.neighbors, slow.neighbors)
        assert np.array_equal(one.images, slow.images)


def test_isolated_atoms_are_nodes_without_bonds() -> None:
    helium = Structure(
        lattice=np.eye(3) * 30,
        species=("He", "H", "H"),
        frac_coords=[[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5 + 0.74 / 30]],
    )
    graph, scalars = extract_structure_features(helium)
    assert graph.isolated_atoms.tolist() == [0]
    assert graph.coordination.tolist() == [0, 1, 1]
    assert graph.distances == pytest.approx([0.74, 0.74])
    assert scalars.mean_electronegativity is None, "Pauling gives none for helium"
    with pytest.raises(InvalidInputError, match="no neighbour"):
        neighbor_list(helium, 5.0)
    alone = Structure(lattice=np.eye(3) * 30, species=("He",), frac_coords=[[0, 0, 0]])
    assert crystal_graph(alone).n_bonds == 0
    assert crystal_graph(alone, max_neighbors=12).n_bonds == 0


def test_what_cannot_be_a_graph_is_refused() -> None:
    for wrong in (0.0, -1.0, float("nan"), 25.0):
        with pytest.raises(InvalidInputError, match="cutoff radius"):
            crystal_graph(rocksalt(), wrong)
    for few in (0, 2000):
        with pytest.raises(InvalidInputError, match="neighbours"):
            crystal_graph(rocksalt(), 5.0, max_neighbors=few)
    with pytest.raises(TooLargeError, match="bonds"):
        crystal_graph(supercell(rocksalt(), 20, 20, 20), 20.0)


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("zero_volume", {"lattice": np.zeros((3, 3))}),
        ("not_finite", {"frac_coords": np.full((2, 3), np.nan)}),
        ("unknown_element", {"species": ("Xx", "O")}),
        ("empty_structure", {"species": (), "frac_coords": np.zeros((0, 3))}),
        ("overlapping_atoms", {"frac_coords": np.zeros((2, 3))}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_impossible_structure_is_refused_as_everywhere(code: str, changes: dict) -> None:
    with pytest.raises(StructureRefusedError) as caught:
        extract_structure_features(replace(rocksalt(), **changes))
    assert caught.value.error_code == code


def test_partial_occupancies_are_refused_where_they_are_read() -> None:
    cif = (
        "data_x\n_cell_length_a 4\n_cell_length_b 4\n_cell_length_c 4\n_cell_angle_alpha 90\n"
        "_cell_angle_beta 90\n_cell_angle_gamma 90\n_symmetry_space_group_name_H-M 'P 1'\nloop_\n"
        "_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n"
        "_atom_site_fract_z\n_atom_site_occupancy\nFe1 Fe 0 0 0 0.5\n"
    )
    (outcome,) = read_structures_from_bytes("half.cif", cif.encode())
    assert outcome.structure is None
    assert outcome.error.error_code == "partial_occupancy"


def test_scalars_of_rocksalt_by_hand() -> None:
    a = 4.25
    _, scalars = extract_structure_features(rocksalt(a))
    volume = a**3 / 4
    assert scalars.element_fractions == {"O": 0.5, "Mg": 0.5}
    assert scalars.mean_mass_u == pytest.approx((24.305 + 15.999) / 2, abs=1e-3)
    assert scalars.mean_electronegativity == pytest.approx((1.31 + 3.44) / 2)
    assert scalars.mean_radius_a == pytest.approx((1.41 + 0.66) / 2)
    assert scalars.volume_per_atom_a3 == pytest.approx(volume / 2)
    assert scalars.density_g_cm3 == pytest.approx(40.304 / 0.602214 / volume, rel=1e-3)
    spheres = 4 / 3 * np.pi * (1.41**3 + 0.66**3)
    assert scalars.packing_fraction == pytest.approx(spheres / volume)


def test_cgcnn_format_is_the_nearest_twelve() -> None:
    crystal = perturbed(wurtzite())
    graph = crystal_graph(crystal, 8.0)
    dense = features_to_cgcnn_format(graph)
    packed = PackedGraphs.from_structures([crystal])
    assert np.array_equal(dense.neighbor_index, packed.neighbors[:, :12])
    assert dense.distances == pytest.approx(packed.distances[:, :12], rel=1e-6)
    assert dense.distance_features.shape == (4, 12, 41)
    d = dense.distances[1, 5]
    assert dense.distance_features[1, 5, 10] == pytest.approx(np.exp(-(((d - 2.0) / 0.2) ** 2)))


def test_cgcnn_format_refuses_a_graph_that_is_cut_too_short() -> None:
    for graph in (crystal_graph(rocksalt(), 2.5), crystal_graph(rocksalt(), 8.0, max_neighbors=6)):
        with pytest.raises(InvalidInputError, match="cut too short") as caught:
            features_to_cgcnn_format(graph)
        assert caught.value.error_code == "graph_too_short"
        assert features_to_cgcnn_format(graph, 6).neighbor_index.shape == (2, 6)


def test_packed_graphs_stream_in_bounded_parts() -> None:
    crystals = [rocksalt(), wurtzite(), supercell(rocksalt(), 2, 2, 2), rocksalt(5.6, "Na", "Cl")]
    parts = list(stream_packed(iter(crystals), max_atoms=6))
    assert [part.sizes.tolist() for part in parts] == [[2, 4], [16], [2]]
    whole, joined = PackedGraphs.from_structures(crystals), PackedGraphs.concatenate(parts)
    assert np.array_equal(whole.neighbors, joined.neighbors)
    assert np.array_equal(whole.vectors, joined.vectors)


def test_packed_graph_of_an_atom_with_too_few_neighbours_is_padded() -> None:
    pair = Structure(
        lattice=np.eye(3) * 30, species=("H", "H"), frac_coords=[[0, 0, 0], [0, 0, 0.74 / 30]]
    )
    packed = PackedGraphs.from_structures([pair], k=3)
    assert packed.neighbors.tolist() == [[1, 0, 0], [0, 1, 1]]
    assert np.isinf(packed.distances[:, 1:]).all()
    assert packed.vectors[0, 0] == pytest.approx([0, 0, 0.74])
    assert not packed.vectors[:, 1:].any()
