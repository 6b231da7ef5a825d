"""What is measured of an uncertainty, on errors whose answers are known."""

import json

import numpy as np
import pytest

from nanoos.models.reliability import (
    beta_binomial_interval,
    bootstrap_mean_interval,
    confidence_curve,
    evaluate_uncertainty,
    expected_calibration_error,
    sparsification_area,
    spearman,
)
from nanoos.models.reliability_plots import plot_uncertainty


def test_the_beta_binomial_interval_is_that_of_simulated_calibrations():
    rng = np.random.default_rng(0)
    calibration = np.sort(rng.random((4000, 100)), axis=1)[:, 90]  # ceil(101 * 0.9) = 91st
    observed = rng.binomial(200, calibration) / 200
    low, high = beta_binomial_interval(0.9, 100, 200)
    assert np.mean((low <= observed) & (observed <= high)) == pytest.approx(0.95, abs=0.02)
    wide = beta_binomial_interval(0.9, 20, 200)
    assert wide[0] < low
    assert beta_binomial_interval(0.9, 10_000, 10_000)[1] < 0.91


def normal(n: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
    rng = np.random.default_rng(1)
    sigma = rng.uniform(0.1, 2, n)
    value = rng.normal(size=n)
    truth = value + sigma * rng.normal(size=n)
    z = {0.8: 1.2816, 0.9: 1.6449, 0.95: 1.96}
    return value, sigma, truth, {k: (value - v * sigma, value + v * sigma) for k, v in z.items()}


def test_a_perfect_sigma_is_found_perfect():
    value, sigma, truth, quantiles = normal()
    good = np.abs(truth - value) < 0.5
    report = evaluate_uncertainty(
        value,
        sigma,
        truth,
        quantiles,
        n_calibration=2000,
        groups={"crystal_system": ["cubic", "hexagonal"] * 1000},
        formulas=[str(i // 2) for i in range(2000)],
        confidences=np.full(2000, good.mean()),
        good=good,
    )
    assert [c.level for c in report.coverage] == [0.8, 0.9, 0.95]
    assert all(c.as_expected for c in report.coverage)
    assert report.coverage[1].mean_width == pytest.approx(2 * 1.6449 * sigma.mean())
    assert set(report.by_group["sigma_quartile"]) == {"Q1", "Q2", "Q3", "Q4"}
    assert sum(c[0].n for c in report.by_group["crystal_system"].values()) == 2000
    assert report.mae_interval[0] < report.mae < report.mae_interval[1]
    assert report.spearman > 0.4
    assert 0 < report.ause < 0.6 * report.ause_random
    assert report.miscalibration_area < 0.02
    assert report.confidence_error < 0.05
    json.dumps(report.to_dict())


def test_intervals_that_are_too_narrow_are_found_out():
    value, sigma, truth, quantiles = normal()
    narrow = {
        k: (v - 0.7 * (v - low), v + 0.7 * (up - v))
        for (k, (low, up)), v in zip(quantiles.items(), [value] * 3, strict=True)
    }
    right = evaluate_uncertainty(value, sigma, truth, quantiles, n_calibration=2000)
    wrong = evaluate_uncertainty(value, sigma, truth, narrow, n_calibration=2000)
    assert not any(c.as_expected for c in wrong.coverage)
    for good, bad in zip(right.coverage, wrong.coverage, strict=True):
        assert good.interval_score < bad.interval_score, "the score is proper"


def test_sparsification_of_the_true_order_is_zero_and_of_none_is_that_of_chance():
    errors = np.abs(np.random.default_rng(0).normal(size=3000))
    best, at_random = sparsification_area(errors, errors)
    assert best == pytest.approx(0)
    shuffled, _ = sparsification_area(np.random.default_rng(1).random(3000), errors)
    assert shuffled == pytest.approx(at_random, rel=0.15)


def test_rank_correlation_minds_ties_and_constants():
    assert spearman(np.array([1.0, 1, 2, 3]), np.array([1.0, 1, 2, 3])) == pytest.approx(1)
    assert spearman(np.ones(4), np.arange(4.0)) == 0


def test_overconfidence_is_counted():
    good = np.array([1.0, 0.0] * 100)
    assert expected_calibration_error(np.full(200, 0.9), good) == pytest.approx(0.4, abs=0.06)
    assert sum(rows for _, _, rows in confidence_curve(np.full(200, 0.9), good)) == 200


def test_the_bootstrap_draws_whole_formulas():
    errors = np.repeat(np.random.default_rng(0).exponential(size=100), 20)
    alone = bootstrap_mean_interval(errors)
    together = bootstrap_mean_interval(errors, [str(i // 20) for i in range(2000)])
    assert np.ptp(together) > 3 * np.ptp(alone), "twenty copies say no more than one"


def test_the_picture_has_all_panels(tmp_path):
    value, sigma, truth, quantiles = normal(300)
    path = tmp_path / "uncertainty.png"
    plot_uncertainty(
        path,
        values=value,
        sigmas=sigma,
        truths=truth,
        quantiles=quantiles,
        n_calibration=300,
        title="A property",
        unit="eV",
        confidences=np.linspace(0, 1, 300),
        good=np.ones(300),
    )
    assert path.read_bytes().startswith(b"\x89PNG")
