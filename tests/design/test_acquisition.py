import warnings

import numpy as np
import pytest

from nanoos.core.errors import NotFoundError
from nanoos.design.acquisition import (
    ACQUISITIONS,
    DEFAULT_ACQUISITION,
    AcquisitionInput,
    log_relu_mean,
    weigh_by_feasibility,
)
from nanoos.design.objective import Constraint, Objective, log_probability_in_range

RANGE = Objective(target_property="gap", target_range=(2.0, 3.0))
MAXIMUM = Objective(target_property="gap", goal="max")
MINIMUM = Objective(target_property="gap", goal="min")


def data(mean, std, objective, best=None, *, kappa=2.0):
    return AcquisitionInput(
        mean=np.atleast_1d(np.asarray(mean, dtype=float)),
        std=np.atleast_1d(np.asarray(std, dtype=float)),
        objective=objective,
        best=best,
        exploration_weight=kappa,
        rng=np.random.default_rng(0),
    )


def score(name, *arguments, **options):
    return ACQUISITIONS.get(name).score(data(*arguments, **options))


def test_log_expected_improvement_matches_botorch_everywhere():
    with warnings.catch_warnings():  # torch announces the end of its script compiler
        warnings.simplefilter("ignore")
        import torch
        from botorch.acquisition.analytic import _log_ei_helper

    u = np.concatenate([-np.logspace(12, -3, 400), np.logspace(-3, 3, 100), [-1, -50, -49.9]])
    expected = _log_ei_helper(torch.tensor(u)).numpy()
    np.testing.assert_allclose(log_relu_mean(u), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("objective", [MAXIMUM, MINIMUM, RANGE])
@pytest.mark.parametrize(("mean", "std", "best"), [(2.2, 0.4, 2.6), (0.5, 1.0, 1.2), (4, 2, 3.5)])
def test_expected_improvement_against_monte_carlo(objective, mean, std, best):
    values = mean + std * np.random.default_rng(0).standard_normal(400_000)
    merit, merit_best = objective.merit(values), float(objective.merit(best))
    if objective is RANGE:
        merit_best = min(merit_best, -0.5)  # half the width of the range
    expected = np.maximum(merit - merit_best, 0).mean()
    assert score("ei", mean, std, objective, best)[0] == pytest.approx(expected, rel=0.02)
    assert score("log_ei", mean, std, objective, best)[0] == pytest.approx(
        np.log(expected), abs=0.02
    )


def test_log_ei_still_ranks_where_ei_is_zero():
    means = [-50.0, -60.0, -45.0]
    assert (score("ei", means, 0.1, MAXIMUM, 0.0) == 0).all()
    ranks = score("log_ei", means, 0.1, MAXIMUM, 0.0)
    assert np.isfinite(ranks).all()
    assert list(np.argsort(ranks)) == [1, 0, 2]
    in_range = score("log_ei", [-50.0, -60.0, 60.0], 0.1, RANGE, 2.5)
    assert np.isfinite(in_range).all()
    assert list(np.argsort(in_range)) == [1, 2, 0]


def test_range_goes_on_after_the_first_hit():
    scores = score("ei", [2.5, 2.0, 5.0], 0.1, RANGE, 2.5)
    assert scores[0] == pytest.approx(0.5, rel=1e-3)
    assert scores[0] > scores[1] > scores[2] > 0


def test_probability_of_improvement():
    assert np.exp(score("poi", 2.5, 0.25, RANGE)[0]) == pytest.approx(0.9545, abs=1e-4)
    assert np.exp(score("poi", 1.0, 1.0, MAXIMUM, 0.0)[0]) == pytest.approx(0.8413, abs=1e-4)
    assert np.exp(score("poi", 1.0, 1.0, MINIMUM, 0.0)[0]) == pytest.approx(0.1587, abs=1e-4)


@pytest.mark.parametrize("mean", [-40.0, 0.0, 2.0, 2.5, 7.0, 60.0])
def test_probability_in_range_in_both_tails(mean):
    from mpmath import erf, log, mp, mpf

    mp.dps = 800
    a, b = (mpf(2) - mean) / mp.sqrt(2), (mpf(3) - mean) / mp.sqrt(2)
    expected = float(log((erf(b) - erf(a)) / 2))
    found = log_probability_in_range(np.array([mean]), np.array([1.0]), 2.0, 3.0)[0]
    assert found == pytest.approx(expected, rel=1e-9)


def test_upper_confidence_bound():
    assert list(score("ucb", [1.0, 2.0], [1.0, 0.1], MAXIMUM)) == [3.0, 2.2]
    assert list(score("ucb", [1.0, 2.0], [1.0, 0.1], MINIMUM)) == [1.0, -1.8]
    assert score("ucb", [2.5, 4.0], [0.2, 0.2], RANGE) == pytest.approx([0.4, -0.6])
    assert list(score("ucb", [1.0], [1.0], MAXIMUM, kappa=0.0)) == [1.0]


def test_no_best_yet_means_anything_but_the_worst_improves():
    scores = score("ei", [1.0, 2.0, 3.0], 0.1, MAXIMUM)
    assert list(np.argsort(scores)) == [0, 1, 2]
    scores = score("ei", [1.0, 5.0, 9.0], 0.1, RANGE)
    assert np.argmin(scores) == 2


def test_random_is_seeded_and_blind():
    assert np.array_equal(
        score("random", [0.0, 9.0], 1.0, MAXIMUM), score("random", [9.0, 0.0], 1.0, MINIMUM)
    )
    assert DEFAULT_ACQUISITION != "random"
    with pytest.raises(NotFoundError) as error:
        ACQUISITIONS.get("log_eii")
    assert "log_ei" in error.value.hint


@pytest.mark.parametrize("name", [n for n in ACQUISITIONS.names() if n != "random"])
@pytest.mark.parametrize("objective", [MAXIMUM, MINIMUM, RANGE])
def test_infeasible_points_fall_behind(name, objective):
    acquisition = ACQUISITIONS.get(name)
    scores = acquisition.score(data([2.4, 2.4, 9.0, -9.0], 0.3 * np.ones(4), objective, 2.3))
    weighed = weigh_by_feasibility(acquisition, scores, np.log([1.0, 1e-6, 0.9, 0.9]))
    assert weighed[0] > weighed[1]
    assert np.isfinite(weighed).all()


def test_constraint_and_objective():
    constraint = Constraint(quantity="formation_energy", op="<=", bound=0.0)
    assert str(constraint) == "formation_energy <= 0"
    assert constraint.holds(0.0)
    assert not constraint.holds(float("nan"))
    half, sure = np.exp(constraint.log_probability(np.array([0.0, -3.0]), np.array([1.0, 1.0])))
    assert half == pytest.approx(0.5)
    assert sure == pytest.approx(0.99865, abs=1e-5)
    objective = Objective(target_property="K", goal="max", constraints=(constraint,))
    rows = [{"K": 500, "formation_energy": 0.2}, {"K": 300, "formation_energy": -1}, {"K": 900}]
    assert objective.best(rows) == 300
    assert list(RANGE.merit([1.0, 2.5, 4.5])) == [-1.0, 0.0, -1.5]
    assert list(RANGE.hits([1.0, 2.0, 3.0, 3.1])) == [False, True, True, False]
    for wrong in ({}, {"goal": "max", "target_range": (0, 1)}, {"target_range": (1, 1)}):
        with pytest.raises(ValueError, match=r"goal|target_range"):
            Objective(target_property="K", **wrong)
