"""Sigma follows the errors; a confidence is a probability that was measured."""

import json

import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError
from nanoos.models.reliability import expected_calibration_error, spearman
from nanoos.models.sigma import ConfidenceModel, MonotoneMap, SigmaModel


def rows(n: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Columns, errors and their true standard deviation: two clues multiply, one misleads."""
    rng = np.random.default_rng(seed)
    spread, distance, noise = rng.random((3, n))
    sigma = 0.02 + 0.5 * spread * distance
    columns = {"spread": spread, "distance": distance, "noise": noise}
    return columns, sigma * rng.normal(size=n), sigma


def test_sigma_is_the_standard_deviation_of_errors_not_seen():
    columns, errors, _ = rows(1000, 0)
    model = SigmaModel.fit(columns, errors)
    columns, errors, truth = rows(4000, 1)
    sigma = model.predict(columns)
    assert spearman(sigma, truth) > 0.9
    assert sigma.min() > 0
    order = np.argsort(sigma)
    for part in np.array_split(order, 4):
        assert np.sqrt(np.mean(errors[part] ** 2)) == pytest.approx(sigma[part].mean(), rel=0.25)


def test_a_sigma_model_survives_its_arrays():
    columns, errors, _ = rows(200, 0)
    model = SigmaModel.fit(columns, errors, groups=[str(i // 3) for i in range(200)])
    data = json.loads(json.dumps(model.to_dict()))
    again = SigmaModel.from_arrays(model.to_arrays(), data)
    assert np.array_equal(again.predict(columns), model.predict(columns))
    with pytest.raises(InvalidInputError, match="distance"):
        again.predict({"spread": columns["spread"]})
    with pytest.raises(InvalidInputError, match="too few"):
        SigmaModel.fit({"a": np.ones(10)}, np.ones(10))


def test_a_monotone_map_rises_and_is_constant_beyond_its_ends():
    rng = np.random.default_rng(0)
    x = rng.random(1000)
    rising = MonotoneMap.fit(x, x**2 + 0.05 * rng.normal(size=1000))
    grid = rising(np.linspace(-1, 2, 50))
    assert np.all(np.diff(grid) >= 0)
    assert grid[0] == rising([-9.0])[0]
    assert rising([0.5])[0] == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize(
    ("band", "relative"), [(0.15, 0.1), (None, 0.2)], ids=["fixed", "relative"]
)
def test_confidence_is_the_share_within_the_band(band: float | None, relative: float):
    def predicted(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        _, errors, sigma = rows(3000, seed)
        value = np.random.default_rng(seed).uniform(0.5, 1.5, 3000)
        return value, 2 * sigma, value + errors

    model = ConfidenceModel.fit(*predicted(0), band=band, relative=relative)
    value, sigma, truth = predicted(1)
    model = ConfidenceModel.from_dict(json.loads(json.dumps(model.to_dict())))
    confidence = model.predict(value, sigma)
    good = np.abs(truth - value) < (band if band is not None else relative * value)
    assert expected_calibration_error(confidence, good.astype(float)) < 0.04
    assert confidence.min() >= 0
    assert confidence.max() <= 1
    assert np.ptp(confidence) > 0.3


def test_sigma_of_rows_left_out_does_not_know_their_errors():
    columns, errors, truth = rows(150, 0)
    groups = [str(i // 2) for i in range(150)]
    model, unseen = SigmaModel.crossed(columns, errors, groups=groups)
    errors[:2] *= 1000
    again, changed = SigmaModel.crossed(columns, errors, groups=groups)
    assert changed[:2] == pytest.approx(unseen[:2])
    assert again.predict(columns)[0] != pytest.approx(model.predict(columns)[0])
    assert spearman(unseen, truth) > 0.6


def test_sigma_written_with_trees_is_still_read():
    from sklearn.ensemble import GradientBoostingRegressor

    from nanoos.models.trees import TreeEnsemble

    columns, errors, _ = rows(200, 0)
    table = np.stack(list(columns.values()), axis=1).astype(np.float32)
    boosted = GradientBoostingRegressor(n_estimators=5, random_state=0).fit(table, errors)
    old = TreeEnsemble.from_sklearn(boosted.estimators_[:, 0], offset=0.0, scale=0.1)
    data = {"format": 1, "kind": "sigma", "names": list(columns), "x": [-9, 9], "y": [0.1, 1]}
    model = SigmaModel.from_arrays(old.to_arrays(), data)
    assert model.to_dict() == data
    assert np.ptp(model.predict(columns)) > 0
