"""Intervals for labels in steps hold as often as they say, and no more often."""

from itertools import pairwise

import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError
from nanoos.kpoints.calibration import LEVELS, RawQuantiles, SteppedCalibrator
from nanoos.models.reliability import beta_binomial_interval


def raw_and_truth(n: int, seed: int) -> tuple[RawQuantiles, np.ndarray]:
    """A model whose raw intervals are far too narrow, and off to one side."""
    rng = np.random.default_rng(seed)
    middle = rng.uniform(30, 80, n)
    spread = 0.2 * middle
    truth = np.clip(5 * np.ceil((middle + spread * rng.standard_gamma(1.5, n) - 10) / 5), 10, 200)
    half = 0.3 * spread
    return (
        RawQuantiles(
            lower=dict.fromkeys(LEVELS, middle - half),
            median=middle,
            upper=dict.fromkeys(LEVELS, middle + half),
        ),
        truth,
    )


@pytest.fixture(scope="module")
def calibrated() -> SteppedCalibrator:
    raw, truth = raw_and_truth(2000, 0)
    return SteppedCalibrator.fit(raw, truth, step=5.0, lowest=10.0, highest=200.0)


@pytest.mark.parametrize("level", LEVELS)
def test_the_coverage_is_nominal_and_neither_side_misses_more_than_its_half(calibrated, level):
    raw, truth = raw_and_truth(4000, 1)
    lower, upper = calibrated.interval(raw, level)
    low, high = beta_binomial_interval(level, 2000, 4000)
    assert low <= np.mean((lower <= truth) & (truth <= upper)) <= high
    most = 1 - beta_binomial_interval((1 + level) / 2, 2000, 4000)[0]
    assert np.mean(truth > upper) <= most
    assert np.mean(truth < lower) <= most


def test_bounds_are_steps_and_levels_nest(calibrated):
    raw, _ = raw_and_truth(200, 2)
    bounds = [calibrated.interval(raw, level) for level in LEVELS]
    for lower, upper in bounds:
        assert np.allclose(lower % 5, 0)
        assert np.allclose(upper % 5, 0)
        assert np.all(lower >= 10)
    for (inner, outer), (lower, upper) in pairwise(bounds):
        assert np.all(lower <= inner)
        assert np.all(upper >= outer)


def test_widening_moves_both_bounds_outward(calibrated):
    raw, _ = raw_and_truth(50, 3)
    lower, upper = calibrated.interval(raw, 0.9)
    wide_lower, wide_upper = calibrated.interval(raw, 0.9, np.full(50, 2.0))
    assert np.all(wide_lower <= lower)
    assert np.mean(wide_upper > upper) > 0.9


def test_json_gives_it_back(calibrated):
    assert SteppedCalibrator.from_dict(calibrated.to_dict()) == calibrated


def test_a_level_that_was_not_calibrated_is_refused(calibrated):
    raw, _ = raw_and_truth(3, 4)
    with pytest.raises(InvalidInputError, match="confidence is") as caught:
        calibrated.interval(raw, 0.8)
    assert caught.value.error_code == "unknown_level"


def test_too_few_rows_are_refused():
    raw, truth = raw_and_truth(30, 5)
    with pytest.raises(InvalidInputError, match="too few"):
        SteppedCalibrator.fit(raw, truth, step=5.0, lowest=10.0, highest=200.0)
