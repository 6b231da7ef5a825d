"""The value itself: rows that hang together, statistics, hash, packing, normalisation."""

from dataclasses import replace

import numpy as np
import pytest
from small import salt, small_dataset

from nanoos.core.errors import InvalidInputError, NotFoundError
from nanoos.datasets import PackedStructures, TargetNormaliser, iqr_outliers
from nanoos.structures import Structure
from nanoos.testing.crystals import rocksalt, wurtzite


def test_packed_structures_are_the_structures():
    spin = replace(rocksalt(cation="Fe"), spins=(4.0, 0.0))
    given = [rocksalt(), wurtzite(), spin, rocksalt(5.0, "Na", "Cl")]
    packed = PackedStructures.from_structures(given)
    assert list(packed) == given
    assert packed[-1] == given[-1]
    assert packed[2].spins == (4.0, 0.0)
    assert packed[0].spins is None
    assert list(packed[1:3]) == given[1:3]
    assert list(packed.select([3, 0, 3])) == [given[3], given[0], given[3]]
    assert packed.n_sites.tolist() == [2, 4, 2, 2]
    with pytest.raises(IndexError):
        packed[4]


def test_select_keeps_every_part_of_a_row_together():
    dataset = small_dataset(10, split=["train"] * 8 + ["test"] * 2)
    chosen = dataset.select([9, 3])
    assert chosen.ids == ("row-9", "row-3")
    assert chosen.targets["bandgap"].tolist() == [9.0, 3.0]
    assert [source.row for source in chosen.sources] == [9, 3]
    assert chosen.given_split == ("test", "train")
    assert list(chosen.structures) == [salt(9), salt(3)]
    assert chosen.reduced_formulas == (salt(9).formula, salt(3).formula)
    assert chosen.units == dataset.units


def test_parts_of_another_length_are_refused():
    dataset = small_dataset(3)
    with pytest.raises(InvalidInputError, match="3 structures but 2 values of ids"):
        replace(dataset, ids=("a", "b"))
    with pytest.raises(InvalidInputError, match="has no unit"):
        replace(dataset, units={})


def test_targets_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        small_dataset(3).targets["bandgap"][0] = 7


def test_an_unknown_target_is_named_with_those_there_are():
    with pytest.raises(NotFoundError) as caught:
        small_dataset(3).target("gap")
    assert "bandgap" in caught.value.hint


class TestHash:
    def test_depends_on_rows_order_numbers_and_units_only(self):
        dataset = small_dataset(5)
        same = replace(dataset, name="other", ids=tuple("abcde"), level_of_theory={})
        assert same.sha256 == dataset.sha256
        different = [
            dataset.select([0, 1, 2, 4, 3]),
            dataset.select([0, 1, 2, 3]),
            replace(dataset, units={"bandgap": "meV"}),
            replace(dataset, targets={"bandgap": dataset.targets["bandgap"] + 1e-9}),
            replace(dataset, targets={"gap": dataset.targets["bandgap"]}, units={"gap": "eV"}),
            replace(dataset, structures=[*dataset.structures[:4], rocksalt(9.0)]),
        ]
        assert len({dataset.sha256, *(one.sha256 for one in different)}) == 7

    def test_the_order_of_targets_and_the_kind_of_nan_do_not_matter(self):
        values = {"a": [1.0, np.nan], "b": [0.0, 2.0]}
        other = {"b": [-0.0, 2.0], "a": [1.0, -np.nan]}
        one, two = (small_dataset(2, targets=targets) for targets in (values, other))
        assert one.sha256 == two.sha256


def test_statistics_leave_out_what_is_missing():
    dataset = small_dataset(5, targets={"a": [1.0, 2.0, 3.0, 10.0, np.nan], "b": [np.nan] * 5})
    a, b = dataset.statistics()["a"], dataset.statistics()["b"]
    assert (a.count, a.missing, a.mean, a.min, a.max, a.unit) == (4, 1, 4.0, 1.0, 10.0, "eV")
    assert a.std == pytest.approx(np.std([1, 2, 3, 10], ddof=1))
    assert a.quantiles[0.5] == 2.5
    assert (b.count, b.missing, b.mean, b.quantiles) == (0, 5, None, {})


def test_duplicates_are_groups_of_rows_with_one_structure():
    dataset = small_dataset(5)
    structures = list(dataset.structures)
    structures[3] = Structure(
        lattice=structures[1].lattice,
        species=structures[1].species,
        frac_coords=structures[1].frac_coords + 1.0,  # the same crystal, wrapped otherwise
    )
    assert replace(dataset, structures=structures).duplicates() == [(1, 3)]
    assert dataset.duplicates() == []


def test_elements_are_counted_by_row():
    counts = small_dataset(20).element_counts()
    assert counts["O"] == 20
    assert counts["Mg"] == 2


class TestOutliers:
    def test_tukeys_fences(self):
        values = [*range(1, 10), 100.0, np.nan, -50.0]
        report = iqr_outliers(values)
        known = np.array([*range(1, 10), 100.0, -50.0])
        q1, q3 = np.quantile(known, [0.25, 0.75])
        assert (report.lower, report.upper) == (q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1))
        assert report.indices.tolist() == [9, 11]
        assert report.n_known == 11
        assert report.as_dict()["n_outliers"] == 2

    def test_a_reference_sets_the_fences(self):
        assert iqr_outliers([5.0, 50.0], reference=[1.0, 2.0, 3.0]).indices.tolist() == [0, 1]

    def test_nothing_known_is_nothing_odd(self):
        assert iqr_outliers([np.nan]).indices.size == 0
        assert iqr_outliers([]).as_dict()["lower"] is None

    def test_the_factor_must_be_positive(self):
        with pytest.raises(InvalidInputError):
            iqr_outliers([1.0], factor=0)


class TestNormaliser:
    def test_goes_there_and_back(self):
        values = np.array([1.0, 2.0, np.nan, 6.0])
        for log10 in (False, True):
            one = TargetNormaliser.fit(values, log10=log10)
            there = one.transform(values)
            assert np.nanmean(there) == pytest.approx(0)
            assert np.nanstd(there) == pytest.approx(1)
            np.testing.assert_allclose(one.inverse(there), values)
            assert TargetNormaliser(**one.as_dict()) == one

    def test_sigma_scales_with_the_slope(self):
        one = TargetNormaliser.fit([1.0, 10.0, 100.0], log10=True)
        mean, step = one.transform([10.0]), 1e-6
        slope = (one.inverse(mean + step) - one.inverse(mean - step)) / (2 * step)
        np.testing.assert_allclose(one.inverse_sigma([0.3], mean), 0.3 * slope, rtol=1e-6)
        flat = TargetNormaliser(mean=1.0, std=2.0)
        assert flat.inverse_sigma([0.5], [9.0]).tolist() == [1.0]

    def test_equal_numbers_do_not_divide_by_zero(self):
        assert TargetNormaliser.fit([3.0, 3.0]).transform([3.0, 4.0]).tolist() == [0.0, 1.0]

    def test_no_logarithm_of_zero_and_nothing_of_nothing(self):
        with pytest.raises(InvalidInputError, match="no logarithm"):
            TargetNormaliser.fit([0.0, 1.0], log10=True)
        with pytest.raises(InvalidInputError):
            TargetNormaliser.fit([np.nan])
