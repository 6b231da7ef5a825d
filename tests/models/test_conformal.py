"""Intervals hold as often as they say, whatever the errors are like."""

import json
import math

import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError
from nanoos.models.conformal import ConformalCalibrator, conformal_quantile
from nanoos.models.reliability import beta_binomial_interval, quartile_names
from nanoos.models.zero_inflated import ZeroInflatedCalibrator

LEVELS = (0.8, 0.9, 0.95)


def test_the_quantile_counts_the_new_row_too():
    scores = np.arange(1.0, 10.0)  # nine scores: the ninth smallest is needed for 0.9
    assert conformal_quantile(scores, 0.9) == 9
    assert conformal_quantile(scores, 0.5) == 5
    assert conformal_quantile(scores, 0.91) == math.inf


def sample(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions, a sigma that is wrong by a factor, and heavy-tailed truths."""
    rng = np.random.default_rng(seed)
    sigma = np.exp(rng.normal(size=n))
    value = rng.normal(size=n)
    return value, 0.3 * sigma, value + sigma * rng.standard_t(3, size=n)


@pytest.mark.parametrize("signed", [False, True], ids=["both_sides", "signed"])
def test_coverage_is_nominal_for_heavy_tails(signed: bool):
    calibrator = ConformalCalibrator.fit(*sample(1200, 0), signed=signed)
    value, sigma, truth = sample(4000, 1)
    for level, (lower, upper) in calibrator.quantiles(value, sigma).items():
        observed = np.mean((lower <= truth) & (truth <= upper))
        low, high = beta_binomial_interval(level, 1200, 4000, 0.999)
        assert low <= observed <= high, level


def test_lopsided_errors_get_lopsided_intervals():
    rng = np.random.default_rng(0)
    truth = rng.exponential(size=2000)
    calibrator = ConformalCalibrator.fit(np.zeros(2000), np.ones(2000), truth, signed=True)
    lower, upper = calibrator.quantiles(0.0, 1.0)[0.9]
    assert upper[0] == pytest.approx(-math.log(0.05), rel=0.1)
    assert lower[0] == pytest.approx(-math.log(0.95), abs=0.02), "the interval may start above"


def test_a_group_is_calibrated_alone_where_it_has_the_rows():
    rng = np.random.default_rng(0)
    n = 3000
    groups = np.where(np.arange(n) < 2000, "oxide", "metal")
    groups[:30] = "rare"
    width = np.where(groups == "metal", 5.0, 1.0)
    truth = rng.normal(size=n) * width
    calibrator = ConformalCalibrator.fit(np.zeros(n), np.ones(n), truth, groups=groups)
    reach = {g: calibrator.quantiles(0.0, 1.0, g)[0.9][1][0] for g in ("oxide", "metal", "rare")}
    assert reach["oxide"] == pytest.approx(1.645, rel=0.1)
    assert reach["metal"] == pytest.approx(8.22, rel=0.1)
    assert reach["rare"] == calibrator.quantiles(0.0, 1.0, "never seen")[0.9][1][0]
    assert set(calibrator.counts) == {"*", "oxide", "metal"}


def test_bins_of_sigma_repair_a_sigma_of_the_wrong_shape():
    def rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        sigma = rng.uniform(0.1, 1, n)
        return np.zeros(n), sigma, rng.normal(size=n) * sigma**3

    value, sigma, truth = rows(8000, 1)
    worst = {}
    for bins in (1, 4):
        calibrator = ConformalCalibrator.fit(*rows(3000, 0), sigma_bins=bins)
        lower, upper = calibrator.quantiles(value, sigma)[0.9]
        inside = (lower <= truth) & (truth <= upper)
        quartile = np.array(quartile_names(sigma))
        worst[bins] = max(abs(inside[quartile == q].mean() - 0.9) for q in np.unique(quartile))
    assert worst[1] > 0.08
    assert worst[4] < 0.03


def test_intervals_stay_within_the_bounds_and_within_each_other():
    value, sigma, truth = sample(800, 0)
    calibrator = ConformalCalibrator.fit(
        value, sigma, np.clip(truth, 0, 2), lower_bound=0, upper_bound=2
    )
    last_lower, last_upper = np.full(800, np.inf), np.full(800, -np.inf)
    for lower, upper in calibrator.quantiles(value, sigma).values():
        assert lower.min() >= 0
        assert upper.max() <= 2
        assert np.all(lower <= last_lower)
        assert np.all(upper >= last_upper)
        last_lower, last_upper = lower, upper


def test_levels_that_the_rows_cannot_give_are_left_out():
    calibrator = ConformalCalibrator.fit(np.zeros(30), np.ones(30), np.arange(30.0))
    assert max(calibrator.levels) == 0.95
    with pytest.raises(InvalidInputError, match="too few"):
        ConformalCalibrator.fit([0.0], [1.0], [1.0], levels=(0.9,))


@pytest.mark.parametrize(
    ("value", "sigma", "truth"),
    [([1.0, 2.0], [1.0], [1.0]), ([1.0], [1.0], [math.nan]), ([], [], []), ([1.0], [0.0], [1.0])],
    ids=["lengths", "nan", "empty", "zero_sigma"],
)
def test_what_cannot_be_calibrated_on_is_refused(value, sigma, truth):
    with pytest.raises(InvalidInputError):
        ConformalCalibrator.fit(value, sigma, truth)


def test_a_calibrator_survives_json():
    rng = np.random.default_rng(0)
    calibrator = ConformalCalibrator.fit(
        *sample(1500, 0), groups=rng.choice(["a", "b"], 1500), sigma_bins=2, lower_bound=-50
    )
    again = ConformalCalibrator.from_dict(json.loads(json.dumps(calibrator.to_dict())))
    assert again == calibrator
    with pytest.raises(InvalidInputError, match="format"):
        ConformalCalibrator.from_dict(calibrator.to_dict() | {"format": 99})


def gaps(n: int, seed: int) -> tuple[np.ndarray, ...]:
    """Like band gaps: 42 % exact zeros, of which some look like insulators, and the reverse."""
    rng = np.random.default_rng(seed)
    zero = rng.random(n) < 0.42
    clue = rng.normal(size=n) * 1.0 + np.where(zero, 1.3, -1.3)
    probability = 1 / (1 + np.exp(-2 * clue))
    truth = np.where(zero, 0.0, rng.gamma(2.0, 1.0, n) + 0.02)
    wide = 0.1 + 0.4 * rng.random(n) + 1.6 * probability * (1 - probability)
    value = np.maximum(0, (1 - probability) * truth + rng.standard_t(4, n) * 0.3 * wide)
    value += (1 - probability) * 1.2 * zero
    sigma = wide * (0.05 + 0.95 * (1 - probability)) + 0.01
    return value, sigma, truth, probability


def test_both_kinds_of_a_property_with_zeros_are_covered():
    *fitted, chance = gaps(1500, 0)
    calibrator = ZeroInflatedCalibrator.fit(*fitted, chance)
    value, sigma, truth, probability = gaps(6000, 1)
    found = calibrator.quantiles(value, sigma, probability)
    plain = ConformalCalibrator.fit(*fitted, lower_bound=0).quantiles(value, sigma)
    zero = truth == 0
    for level in LEVELS:
        inside = (found[level][0] <= truth) & (truth <= found[level][1])
        low, high = beta_binomial_interval(level, calibrator.n_positive, int((~zero).sum()), 0.999)
        assert low <= inside[~zero].mean() <= high, level
        least, _ = beta_binomial_interval(level, calibrator.n_zero, int(zero.sum()), 0.999)
        assert inside[zero].mean() >= least, level
        assert abs(inside.mean() - level) < 0.035
    inside = (plain[0.8][0] <= truth) & (truth <= plain[0.8][1])
    assert abs(inside[~zero].mean() - 0.8) > 0.05, "calibrated over all, one kind pays"


def test_an_interval_of_a_gap_holds_its_value_and_those_of_lower_levels():
    *fitted, chance = gaps(800, 0)
    calibrator = ZeroInflatedCalibrator.fit(*fitted, chance)
    value, sigma, _, probability = gaps(500, 1)
    value[:20] = 0.0
    last = (value, value)
    for lower, upper in calibrator.quantiles(value, sigma, probability).values():
        assert np.all(lower >= 0)
        assert np.all(lower <= last[0])
        assert np.all(upper >= last[1])
        assert np.all(lower[:20] == 0)
        last = (lower, upper)


def test_a_calibrator_of_gaps_survives_json_and_refuses_other_kinds():
    *fitted, chance = gaps(600, 0)
    calibrator = ZeroInflatedCalibrator.fit(*fitted, chance)
    again = ZeroInflatedCalibrator.from_dict(json.loads(json.dumps(calibrator.to_dict())))
    assert again == calibrator
    with pytest.raises(InvalidInputError, match="zero_inflated"):
        ConformalCalibrator.from_dict(calibrator.to_dict())
    with pytest.raises(InvalidInputError, match="too few"):
        ZeroInflatedCalibrator.fit(np.ones(100), np.ones(100), np.ones(100), np.ones(100))


def test_a_predicted_zero_for_most_zeros_does_not_widen_the_other_intervals():
    rng = np.random.default_rng(0)

    def rows(n: int) -> tuple[np.ndarray, ...]:
        zero = rng.random(n) < 0.5
        certain = zero & (rng.random(n) < 0.7)  # predicted exactly 0, with a tiny sigma
        value = np.where(certain, 0.0, np.where(zero, 0.02, 2.0) * rng.random(n))
        sigma = np.where(zero, 0.01, 0.5) * (0.5 + rng.random(n))
        chance = np.where(zero, 0.9, 0.3) + 0.1 * rng.random(n)
        return value, sigma, np.where(zero, 0.0, np.abs(value + sigma * rng.normal(size=n))), chance

    *fitted, chance = rows(4000)
    calibrator = ZeroInflatedCalibrator.fit(*fitted, chance)
    value, sigma, truth, chance = rows(8000)
    lower, upper = calibrator.quantiles(value, sigma, chance)[0.8]
    inside = (lower <= truth) & (truth <= upper)
    assert inside[truth == 0].mean() == pytest.approx(0.815, abs=0.03)
