import numpy as np
import pytest
from crystals import grid, rocksalt, rocksalt_cubic
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoos.core.errors import StructureRefusedError
from nanoos.structures import Structure, check_structure
from nanoos.structures.checks import nearest_pair


def refusal(**parts) -> StructureRefusedError:
    defaults = {"lattice": np.eye(3) * 4, "species": ("Cu",), "frac_coords": np.zeros((1, 3))}
    with pytest.raises(StructureRefusedError) as refused:
        check_structure(Structure(**(defaults | parts)))
    assert refused.value.hint
    return refused.value


def test_good_structures_pass():
    for structure in (rocksalt(), rocksalt_cubic(), grid(5)):
        check_structure(structure)
        assert structure.validated() is structure


def test_left_handed_cells_are_crystals_too():
    salt = rocksalt()
    swapped = salt.with_lattice(-salt.lattice)
    assert swapped.is_left_handed != salt.is_left_handed
    check_structure(swapped)


def test_empty():
    assert refusal(species=(), frac_coords=np.zeros((0, 3))).error_code == "empty_structure"


def test_too_many_sites():
    error = refusal(species=("Cu",) * 20_001, frac_coords=np.zeros((20_001, 3)))
    assert error.error_code == "too_many_sites"
    assert "20,001" in error.message


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_not_finite(bad):
    lattice = np.eye(3) * 4
    lattice[1, 2] = bad
    error = refusal(lattice=lattice)
    assert error.error_code == "not_finite"
    assert "vector 2" in error.message
    error = refusal(species=("Cu", "O"), frac_coords=np.array([[0, 0, 0], [0.5, bad, 0.5]]))
    assert error.error_code == "not_finite"
    assert "Site 2 (O)" in error.message


def test_not_finite_spins():
    error = refusal(spins=(np.nan,))
    assert error.error_code == "not_finite"
    assert "spins" in error.message


@pytest.mark.parametrize(
    "lattice",
    [
        np.zeros((3, 3)),
        np.array([[4, 0, 0], [0, 4, 0], [0, 0, 0]]),
        np.array([[4, 0, 0], [0, 4, 0], [4, 4, 0]]),
        np.array([[4, 0, 0], [0, 4, 0], [4, 4, 1e-9]]),
        np.array([[400, 0, 0], [0, 400, 0], [400, 400, 1e-4]]),
    ],
)
def test_zero_volume(lattice):
    assert refusal(lattice=lattice).error_code == "zero_volume"


@pytest.mark.parametrize(("symbol", "word"), [("D", "deuterium"), ("X", "remove"), ("Qq", "Na")])
def test_unknown_element(symbol, word):
    error = refusal(species=("Cu", symbol), frac_coords=np.array([[0, 0, 0], [0.5, 0.5, 0.5]]))
    assert error.error_code == "unknown_element"
    assert "site 2" in error.message
    assert word in error.hint


def test_overlap_names_sites_and_distance():
    error = refusal(
        species=("Cu", "O", "O"),
        frac_coords=np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.55]]),
    )
    assert error.error_code == "overlapping_atoms"
    assert error.message == "Sites 2 (O) and 3 (O) are 0.200 Å apart."
    assert error.details["sites"] == [2, 3]


def test_overlap_across_the_boundary_and_at_one_place():
    across = np.array([[0.99, 0.5, 0.5], [1.01, 0.5, 1.5]])
    assert refusal(species=("Cu", "O"), frac_coords=across).details["distance_a"] == pytest.approx(
        0.08
    )
    same = np.array([[0.25, 0.5, 0.5]] * 3)
    assert refusal(species=("Cu",) * 3, frac_coords=same).details["distance_a"] == 0


def test_overlap_with_own_image():
    error = refusal(lattice=np.diag([0.3, 4, 4]))
    assert error.error_code == "overlapping_atoms"
    assert "periodic image" in error.message


def test_oblique_cells_of_good_crystals_pass():
    salt = rocksalt_cubic()
    shear = np.array([[1, 0, 0], [57, 1, 0], [-31, 12, 1]])
    oblique = Structure(
        lattice=shear @ salt.lattice,
        species=salt.species,
        frac_coords=salt.frac_coords @ np.linalg.inv(shear),
    )
    check_structure(oblique)
    assert nearest_pair(oblique.lattice, oblique.frac_coords, cutoff_a=3.0)[2] == pytest.approx(
        2.82
    )


@pytest.mark.parametrize("few_pairs", [50_000, 0], ids=["compared", "searched"])
@given(seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_nearest_pair_agrees_with_brute_force(few_pairs, seed):
    rng = np.random.default_rng(seed)
    lattice = rng.normal(size=(3, 3)) * 2 + np.eye(3) * 3
    if abs(np.linalg.det(lattice)) < 3:
        return
    coords = rng.uniform(-2, 2, size=(rng.integers(1, 6), 3))
    shifts = np.stack(np.meshgrid(*[np.arange(-5, 6)] * 3), axis=-1).reshape(-1, 3)
    vectors = (coords[:, None, None] - coords[None, :, None] + shifts) @ lattice
    # bring the difference near the origin first, so that five cells are enough
    base = coords[:, None] - coords[None, :]
    base -= np.round(base)
    vectors = (base[:, :, None, :] + shifts) @ lattice
    distances = np.linalg.norm(vectors, axis=-1)
    distances[distances < 1e-12] = np.inf
    cutoff = 1.5
    expected = distances.min()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("nanoos.structures.checks._FEW_PAIRS", few_pairs)
        found = nearest_pair(lattice, coords, cutoff_a=cutoff)
    if expected < cutoff:
        assert found is not None
        assert found[2] == pytest.approx(expected, abs=1e-9)
    else:
        assert found is None


def test_thousands_of_sites_pass():
    large = grid(27)  # 19,683 sites
    check_structure(large)
