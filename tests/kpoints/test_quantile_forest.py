"""Quantile forests as arrays: the distribution of the leaves, to the label."""

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor

from nanoos.core.errors import InvalidInputError
from nanoos.kpoints.quantile_forest import QuantileForest


@pytest.fixture(scope="module")
def grown():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 4)).astype(np.float32)
    labels = 10 + 5 * np.clip(np.round(4 * rows[:, 0] ** 2 + rng.exponential(size=300)), 0, 20)
    trees = ExtraTreesRegressor(12, min_samples_leaf=4, random_state=0).fit(rows, labels)
    forest = QuantileForest.from_sklearn(trees.estimators_, rows, labels, lowest=10.0, step=5.0)
    return rows, labels, trees, forest


def test_the_distribution_is_the_mean_over_the_leaves(grown):
    rows, labels, trees, forest = grown
    asked = rows[:40] + np.float32(0.01)
    expected = np.zeros((40, forest.n_steps))
    for tree in trees.estimators_:
        there, here = tree.apply(rows), tree.apply(asked)
        for row, leaf in enumerate(here):
            for label in labels[there == leaf]:
                expected[row, round((label - 10) / 5)] += 1 / (there == leaf).sum() / 12
    assert forest.distribution(asked) == pytest.approx(expected, abs=1e-12)


def test_its_mean_is_what_scikit_learn_predicts(grown):
    rows, _, trees, forest = grown
    lengths = 10 + 5 * np.arange(forest.n_steps)
    assert forest.distribution(rows) @ lengths == pytest.approx(trees.predict(rows))


def test_quantiles_ascend_and_the_median_halves(grown):
    rows, _, _, forest = grown
    found = forest.quantiles(rows, [0.05, 0.5, 0.95])
    assert np.all(np.diff(found, axis=1) >= 0)
    edges = 10 + 5 * (np.arange(forest.n_steps + 1) - 0.5)
    below = np.hstack([np.zeros((len(rows), 1)), forest.distribution(rows).cumsum(axis=1)])
    halves = [np.interp(q, edges, row) for q, row in zip(found[:, 1], below, strict=True)]
    assert halves == pytest.approx([0.5] * len(rows))


def test_arrays_give_it_back(grown):
    rows, _, _, forest = grown
    again = QuantileForest.from_arrays(forest.to_arrays())
    assert np.array_equal(again.distribution(rows), forest.distribution(rows))


def test_a_row_says_the_same_alone_and_among_others(grown):
    rows, _, _, forest = grown
    alone = np.concatenate([forest.distribution(row) for row in rows[:10]])
    assert np.array_equal(alone, forest.distribution(rows)[:10])


def test_other_columns_are_refused(grown):
    with pytest.raises(InvalidInputError):
        grown[3].distribution(np.zeros((2, 5)))
