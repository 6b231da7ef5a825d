import warnings

import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError
from nanoos.design import surrogate as module
from nanoos.design.surrogate import fit_surrogate, interval_coverage, matern52


def problem(n, d, *, seed=0, noise=0.0):
    rng = np.random.default_rng(seed)
    x = rng.random((n, d))
    y = np.sin(3 * x[:, 0]) + x[:, 1] ** 2 + 0.5 * x[:, 1] * x[:, -1]
    return x, 300 + 50 * y + noise * rng.standard_normal(n)


def test_closed_form_posterior_is_that_of_botorch():
    x, y = problem(60, 4, noise=3.0)
    reference = np.vstack([x, np.zeros(4), np.ones(4)])
    grid = np.random.default_rng(1).random((200, 4))
    with warnings.catch_warnings():  # torch announces the end of its script compiler
        warnings.simplefilter("ignore")
        import torch
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import SingleTaskGP
        from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
        from gpytorch.mlls import ExactMarginalLogLikelihood

        model = SingleTaskGP(
            torch.tensor(x, dtype=torch.float64),
            torch.tensor((y - y.mean()) / y.std(ddof=1), dtype=torch.float64)[:, None],
            covar_module=get_covar_module_with_dim_scaled_prior(
                ard_num_dims=4, use_rbf_kernel=False
            ).double(),
            outcome_transform=None,
        )
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        posterior = model.posterior(torch.tensor(grid, dtype=torch.float64))
        mean = posterior.mean.detach().numpy().ravel() * y.std(ddof=1) + y.mean()
        std = posterior.variance.detach().sqrt().numpy().ravel() * y.std(ddof=1)
    own_mean, own_std = fit_surrogate(x, y, reference=reference).posterior(grid)
    np.testing.assert_allclose(own_mean, mean, atol=0.02)
    np.testing.assert_allclose(own_std, std, atol=0.02)


def test_learns_a_function_and_knows_how_well():
    x, y = problem(600, 5)
    process = fit_surrogate(x[:60], y[:60], reference=x)
    mean, std = process.posterior(x[60:])
    rmse = np.sqrt(np.mean((mean - y[60:]) ** 2))
    assert rmse < 0.2 * y.std()
    assert interval_coverage(y[60:], mean, std, level=0.8) > 0.7
    assert process.report.loo_r2 > 0.9
    assert process.report.loo_rmse < 0.3 * y.std()
    assert process.report.n_dimensions == 5
    near, _ = process.posterior(x[:60])
    np.testing.assert_allclose(near, y[:60], atol=3.0)


def test_noise_without_signal_is_reported_as_such():
    rng = np.random.default_rng(0)
    report = fit_surrogate(rng.random((300, 3)), rng.standard_normal(300)).report
    assert report.loo_r2 < 0.15


def test_leave_one_out_is_what_leaving_one_out_gives():
    x, y = problem(12, 2, noise=2.0)
    process = fit_surrogate(x, y)
    mean, std = process.leave_one_out()
    k = matern52(process.x, process.x, process.lengthscale)
    rest = np.arange(1, 12)
    inner = np.linalg.inv(k[np.ix_(rest, rest)] + process.noise * np.eye(11))
    expected = process.constant + k[0, rest] @ inner @ process.residual[rest]
    variance = 1 + process.noise - k[0, rest] @ inner @ k[rest, 0]
    assert mean[0] == pytest.approx(process.shift + process.scale * expected)
    assert std[0] == pytest.approx(process.scale * np.sqrt(variance))


def test_believing_is_refitting_with_the_predicted_mean():
    x, y = problem(80, 3, noise=2.0)
    process = fit_surrogate(x[:20], y[:20], reference=x)
    belief = process.belief(x).believing(40).believing(70)
    k = matern52(process.x, process.x, process.lengthscale)
    known = np.vstack([process.x, belief.x[[40, 70]]])
    k = matern52(known, known, process.lengthscale) + process.noise * np.eye(22)
    cross = matern52(belief.x, known, process.lengthscale)
    variance = 1 - np.einsum("ij,ji->i", cross, np.linalg.solve(k, cross.T))
    np.testing.assert_allclose(belief.variance, process.scale**2 * variance, atol=1e-6)
    np.testing.assert_array_equal(belief.mean, process.belief(x).mean)


def test_samples_have_the_posterior_moments():
    x, y = problem(40, 2, noise=2.0)
    process = fit_surrogate(x[:10], y[:10], reference=x)
    draws = process.sample(x, 4000, seed=3)
    mean, std = process.posterior(x)
    np.testing.assert_allclose(draws.mean(0), mean, atol=4 * std.max() / np.sqrt(4000) + 1e-6)
    np.testing.assert_allclose(draws.std(0), std, atol=0.1 * std.max())
    assert np.array_equal(draws, process.sample(x, 4000, seed=3))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_observations(n):
    x, y = problem(30, 4)
    process = fit_surrogate(x[:n], y[:n], reference=x)
    mean, std = process.posterior(x)
    assert np.isfinite(mean).all()
    assert (std[n:] > 0).all()
    assert bool(process.report.notes) == (n < 3)


def test_awkward_data_never_fails():
    x, y = problem(30, 4)
    constant = fit_surrogate(x, np.full(30, 7.0))
    assert "equal" in constant.report.notes[0]
    np.testing.assert_allclose(constant.posterior(x)[0], 7.0)
    copies = fit_surrogate(np.repeat(x[:5], 6, axis=0), y)
    assert np.isfinite(copies.posterior(x)[0]).all()
    lines = np.column_stack([x[:, 0], 2 * x[:, 0], x[:, 0] + 1e-9, np.ones(30)])
    collinear = fit_surrogate(lines, 1e9 * y, reference=lines)
    assert collinear.report.n_dimensions == 3
    assert np.isfinite(collinear.posterior(lines)[0]).all()
    flat = fit_surrogate(np.ones((5, 2)), y[:5])
    np.testing.assert_allclose(flat.posterior(np.ones((1, 2)))[0], y[:5].mean())
    tiny = fit_surrogate(x, 1e-9 * y)
    assert tiny.report.loo_r2 > 0.5


def test_failed_fit_falls_back_with_a_note(monkeypatch):
    def broken(*_):
        raise ArithmeticError("not finite")

    monkeypatch.setattr(module, "_fit_hyperparameters", broken)
    x, y = problem(20, 3)
    process = fit_surrogate(x, y)
    assert "fit failed" in process.report.notes[0]
    assert np.isfinite(process.posterior(x)[0]).all()


def test_refuses_what_it_cannot_learn_from():
    x, y = problem(5, 2)
    for bad_x, bad_y in ((x, y[:4]), (x[:0], y[:0]), (x[0], y[:1])):
        with pytest.raises(InvalidInputError, match="do not fit"):
            fit_surrogate(bad_x, bad_y)
    with pytest.raises(InvalidInputError, match="not finite"):
        fit_surrogate(x, np.where(y == y[0], np.nan, y))


def test_same_data_same_process():
    x, y = problem(40, 6, noise=1.0)
    one, two = (fit_surrogate(x[:30], y[:30], reference=x).posterior(x) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_coverage():
    assert interval_coverage([0, 0, 0, 0], [0, 1, 2, 3], [1, 1, 1, 1], level=0.8) == 0.5
