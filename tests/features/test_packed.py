"""Neighbourhoods that depend on the crystal alone, and the arrays that hold them."""

import numpy as np
import pytest

from nanoos.features import PackedGraphs, stream_packed
from nanoos.features.neighbors import nearest_neighbors, shared_neighbors
from nanoos.structures import Structure
from nanoos.testing.crystals import perturbed, rocksalt, wurtzite


def strained(structure: Structure, amount: float) -> Structure:
    """Stretched along the first cartesian axis."""
    lattice = structure.lattice @ np.diag([1.0 + amount, 1.0, 1.0])
    return Structure(lattice=lattice, species=structure.species, frac_coords=structure.frac_coords)


def hydrogen_chain(n: int, step_a: float = 2.0) -> Structure:
    """Atoms on a line, far from its images."""
    return Structure(
        lattice=np.diag([n * step_a, 30.0, 30.0]),
        species=("H",) * n,
        frac_coords=np.array([[i / n, 0, 0] for i in range(n)]),
    )


def by_bisection(distances: np.ndarray, k: int) -> np.ndarray:
    """The shares from their definition."""
    low, high = distances[k - 1] - 0.1, distances[k - 1] + 0.1
    for _ in range(60):
        middle = (low + high) / 2
        full = np.clip((middle - distances) / 0.1 + 0.5, 0, 1).sum() >= k
        low, high = (low, middle) if full else (middle, high)
    return np.clip((high - distances) / 0.1 + 0.5, 0, 1)


@pytest.mark.parametrize("k", [1, 4, 12])
@pytest.mark.parametrize(
    "crystal",
    [rocksalt(), wurtzite(), perturbed(wurtzite()), perturbed(rocksalt())],
    ids=["rock salt", "wurtzite", "perturbed wurtzite", "perturbed rock salt"],
)
def test_shares_are_those_of_their_definition(crystal, k):
    found, shares = shared_neighbors([crystal], k)
    every = nearest_neighbors(crystal, 80)
    for site in range(crystal.n_sites):
        wanted = by_bisection(every.distances[every.centers == site], k)
        own = shares[found.centers == site]
        assert own == pytest.approx(wanted[: len(own)], abs=1e-6)
        assert wanted[len(own) :] == pytest.approx(0, abs=2e-6)
        assert own.sum() == pytest.approx(k)


def test_a_shell_that_does_not_fit_is_shared():
    found, shares = shared_neighbors([rocksalt()], 12)
    first = found.centers == 0
    assert shares[first] == pytest.approx([1.0] * 6 + [0.5] * 12)


def test_a_strain_changes_shares_no_more_than_distances():
    crystal = rocksalt()
    before = PackedGraphs.from_structures([crystal])
    for amount in (1e-6, 1e-5, 1e-4):
        after = PackedGraphs.from_structures([strained(crystal, amount)])
        width = min(before.width, after.width)
        moved = np.abs(np.sort(after.shares[:, :width]) - np.sort(before.shares[:, :width]))
        assert moved.max() <= amount * 10 / 0.1 + 1e-6


def test_atoms_with_few_neighbours_keep_them_whole():
    found, shares = shared_neighbors([hydrogen_chain(5)], 12)
    assert set(np.bincount(found.centers).tolist()) == {8}
    assert shares.tolist() == [1.0] * 40


def test_a_part_is_as_wide_as_it_needs_and_parts_join_again():
    crystals = [hydrogen_chain(4), rocksalt(), perturbed(wurtzite())]
    together = PackedGraphs.from_structures(crystals)
    assert together.widths.tolist()[:2] == [12, 18]
    parts = [together.select([i]) for i in range(3)]
    assert [part.width for part in parts] == together.widths.tolist()
    again = PackedGraphs.concatenate(parts)
    for name in ("sizes", "atomic_numbers", "neighbors", "distances", "vectors", "shares"):
        assert np.array_equal(getattr(again, name), getattr(together, name)), name
    assert again.neighbors[0, -1] == 0  # an empty place points to the atom itself
    assert again.distances[0, -1] == np.inf


def test_a_stream_holds_the_same_graphs():
    crystals = [rocksalt(), wurtzite(), rocksalt(4.0)]
    streamed = PackedGraphs.concatenate(list(stream_packed(crystals, max_atoms=4)))
    whole = PackedGraphs.from_structures(crystals)
    assert np.array_equal(streamed.shares, whole.shares)
    assert np.array_equal(streamed.neighbors, whole.neighbors)
