"""Splits keep formulas together, meet the fractions and are the same in every process."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import small_dataset

from nanoos.core.errors import InvalidInputError
from nanoos.datasets import split_train_val

FORMULAS = st.lists(st.sampled_from([f"A{n}B" for n in range(12)]), min_size=1, max_size=60)
SEEDS = st.integers(0, 2**31)
many = settings(deadline=None, max_examples=60)


def parts_of(dataset, **options):
    split = split_train_val(dataset, **options)
    return [split.train, split.val, split.test]


@many
@given(formulas=FORMULAS, seed=SEEDS)
def test_no_formula_is_in_two_parts_and_no_row_is_lost(formulas, seed):
    dataset = small_dataset(formulas)
    parts = parts_of(dataset, seed=seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(formulas)))
    sets = [{formulas[row] for row in part} for part in parts]
    assert sum(map(len, sets)) == len(set(formulas))


@many
@given(formulas=FORMULAS, seed=SEEDS)
def test_fractions_are_met_as_nearly_as_the_largest_group_allows(formulas, seed):
    dataset = small_dataset(formulas)
    largest = max(formulas.count(formula) for formula in formulas)
    for part, share in zip(parts_of(dataset, seed=seed), (0.8, 0.1, 0.1), strict=True):
        assert abs(len(part) - share * len(formulas)) <= largest + 1


@many
@given(sizes=st.lists(st.integers(1, 6), min_size=30, max_size=60), seed=SEEDS)
def test_single_formulas_fill_every_part_to_the_row(sizes, seed):
    formulas = [f"A{n}" for n, size in enumerate(sizes) for _ in range(size)]
    formulas += [f"B{n}" for n in range(40)]
    for part, share in zip(
        parts_of(small_dataset(formulas), seed=seed), (0.8, 0.1, 0.1), strict=True
    ):
        assert abs(len(part) - share * len(formulas)) <= 1


def test_formulas_with_many_polymorphs_are_in_every_part_in_proportion():
    formulas = [f"A{n}" for n in range(400) for _ in range(1 + 3 * (n % 2))]
    train, val, test = parts_of(small_dataset(formulas), seed=3)
    for part in (val, test):
        share = np.mean([formulas.count(formulas[row]) > 1 for row in part])
        assert share == pytest.approx(0.8, abs=0.12)
    assert len(train) == 800


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    dataset = small_dataset([f"A{n % 25}" for n in range(100)])
    one, same, other = (split_train_val(dataset, seed=seed) for seed in (1, 1, 2))
    assert one.sha256 == same.sha256 != other.sha256


def test_the_split_does_not_depend_on_the_process():
    code = (
        "import sys; sys.path.insert(0, 'tests/datasets'); from small import small_dataset;"
        "from nanoos.datasets import split_train_val;"
        "d = small_dataset([f'A{n % 25}' for n in range(100)]);"
        "print(split_train_val(d, seed=1).sha256, d.sha256)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    dataset = small_dataset([f"A{n % 25}" for n in range(100)])
    assert ran.stdout.split() == [split_train_val(dataset, seed=1).sha256, dataset.sha256]


def test_random_divides_single_rows():
    train, val, test = parts_of(small_dataset(["A"] * 50), method="random", seed=0)
    assert [len(train), len(val), len(test)] == [40, 5, 5]
    assert sorted(np.concatenate([train, val, test]).tolist()) == list(range(50))
    assert train.tolist() != list(range(40))


def test_given_takes_the_source_at_its_word():
    dataset = small_dataset(4, split=["test", "train", "", "val"])
    train, val, test = parts_of(dataset, method="given")
    assert (train.tolist(), val.tolist(), test.tolist()) == ([1], [3], [0])
    with pytest.raises(InvalidInputError, match="without a split"):
        split_train_val(small_dataset(4), method="given")


@pytest.mark.parametrize(
    "fractions", [(0.5, 0.5), (0.9, 0.2, 0.1), (1.1, -0.1, 0.0)], ids=["two", "sum", "negative"]
)
def test_fractions_that_do_not_divide_are_refused(fractions):
    with pytest.raises(InvalidInputError, match="do not divide"):
        split_train_val(small_dataset(4), fractions=fractions)


def test_a_part_of_no_fraction_stays_empty():
    train, val, test = parts_of(small_dataset([f"A{n}" for n in range(9)]), fractions=(0.7, 0, 0.3))
    assert (len(train), len(val), len(test)) == (6, 0, 3)
