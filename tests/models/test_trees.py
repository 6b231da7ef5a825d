"""Trees as arrays answer what scikit-learn answers."""

import numpy as np
import pytest
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestRegressor,
)

from nanoos.core.errors import InvalidInputError
from nanoos.models.trees import TreeEnsemble


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(400, 5)).astype(np.float32)
    table[:, 4] = np.round(table[:, 4])  # ties, and thresholds halfway between them
    return table, table[:, 0] * table[:, 1] + table[:, 4]


def test_a_forest(rows):
    forest = RandomForestRegressor(n_estimators=20, random_state=0).fit(*rows)
    ensemble = TreeEnsemble.from_sklearn(forest.estimators_, offset=0.0, scale=1 / 20)
    assert ensemble.predict(rows[0]) == pytest.approx(forest.predict(rows[0]), abs=1e-6)
    assert ensemble.n_trees == 20


def test_boosted_trees(rows):
    model = GradientBoostingRegressor(n_estimators=30, random_state=0).fit(*rows)
    ensemble = TreeEnsemble.from_sklearn(
        model.estimators_[:, 0], offset=float(rows[1].mean()), scale=0.1
    )
    assert ensemble.predict(rows[0]) == pytest.approx(model.predict(rows[0]), abs=1e-5)


def test_histogram_boosting_gives_the_logarithm_of_the_odds(rows):
    model = HistGradientBoostingClassifier(max_iter=25).fit(rows[0], rows[1] > 0)
    ensemble = TreeEnsemble.from_histogram_boosting(model)
    again = TreeEnsemble.from_arrays(ensemble.to_arrays())
    assert again.predict(rows[0]) == pytest.approx(model.decision_function(rows[0]), abs=1e-5)


def test_rows_of_another_width_are_refused(rows):
    forest = RandomForestRegressor(n_estimators=2).fit(*rows)
    ensemble = TreeEnsemble.from_sklearn(forest.estimators_, offset=0.0, scale=0.5)
    with pytest.raises(InvalidInputError, match="5 columns"):
        ensemble.predict(np.ones((1, 4)))
