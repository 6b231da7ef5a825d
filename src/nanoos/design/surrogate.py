"""Gaussian-process surrogate on a discrete set of candidates.

The model is BoTorch's ``SingleTaskGP`` with a Matérn-5/2 kernel and dimension-scaled log-normal
priors (Hvarfner et al. 2024, arXiv 2402.02229), fitted by BoTorch to the maximum a posteriori.
The posterior is then evaluated in closed form on the whole set of candidates, with cheap updates
for the points of a batch that are pending (docs/adr).
"""

import warnings
from dataclasses import dataclass, replace
from math import log, sqrt
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, solve_triangular
from scipy.stats import norm

from nanoos.core.errors import InvalidInputError

FloatArray = npt.NDArray[np.float64]

_MIN_FIT = 3
"""With fewer observations the prior's mode is used: there is nothing to fit."""

# log-normal priors of BoTorch, for their mode: length scales on the unit cube, noise variance
# of standardised observations
_LENGTHSCALE_LOC: Final = sqrt(2)
_LENGTHSCALE_SCALE: Final = sqrt(3)
_NOISE_LOC: Final = -4.0
_NOISE_SCALE: Final = 1.0
_NOISE_MODE: Final = float(np.exp(_NOISE_LOC - _NOISE_SCALE**2))
_MAX_ITERATIONS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """How far the surrogate can be believed.

    Attributes:
        n_observations: Points it learned from.
        n_dimensions: Descriptor columns that vary over the candidates.
        loo_rmse: Root mean square error of leave-one-out prediction, unit of the property;
            None with fewer than three observations.
        loo_r2: 1 - (loo_rmse / standard deviation)^2 with each mean left out in turn; at or
            below 0 the surrogate knows no more than the mean.
        loo_coverage_80: Share of observations inside their leave-one-out 80 % interval.
        noise: Standard deviation of the noise term, unit of the property.
        notes: What did not go as it should (a failed fit, constant data).
    """

    n_observations: int
    n_dimensions: int
    loo_rmse: float | None
    loo_r2: float | None
    loo_coverage_80: float | None
    noise: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Belief:
    """Posterior over a set of candidates that can take in pending points. Immutable.

    Attributes:
        mean: (n,), unit of the property.
        variance: (n,), of the property itself (without noise), unit squared.
        x: (n, d) scaled descriptors.
        surrogate: Where it came from.
        updates: (n, k) columns already subtracted from the covariance, one for each point
            taken in.
    """

    mean: FloatArray
    variance: FloatArray
    x: FloatArray
    surrogate: "GaussianProcess"
    updates: FloatArray

    @property
    def std(self) -> FloatArray:
        """(n,), unit of the property."""
        return np.sqrt(self.variance)

    def believing(self, index: int) -> "Belief":
        """The posterior if candidate ``index`` were measured and gave its predicted mean.

        Kriging believer (Ginsbourger et al. 2010, DOI 10.1007/978-3-642-10701-6_6): the mean
        stays, the variance falls around the point. Exact and O(n) for fixed hyperparameters.
        """
        column = self.surrogate.posterior_covariance(self.x, self.x[index : index + 1])[:, 0]
        column = column - self.updates @ self.updates[index]
        total = max(self.variance[index] + self.surrogate.noise_variance, 1e-300)
        step = column / np.sqrt(total)
        return replace(
            self,
            variance=np.maximum(self.variance - step**2, 0.0),
            updates=np.column_stack([self.updates, step]),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GaussianProcess:
    """A fitted Gaussian process with a Matérn-5/2 kernel. Made by :func:`fit_surrogate`.

    Attributes:
        lower, span: (d_all,) affine map of descriptors to the unit cube.
        columns: (d,) the columns that vary.
        x: (n, d) scaled training descriptors.
        residual: (n,) standardised observations less the constant mean.
        lengthscale: (d,).
        noise: Noise variance of standardised observations.
        constant: Mean of the process, standardised.
        shift, scale: Standardisation of the observations.
        chol: (n, n) lower Cholesky factor of kernel + noise.
        weights: (n,) solution of (kernel + noise) w = residual.
        report: Quality of the fit.
    """

    lower: FloatArray
    span: FloatArray
    columns: npt.NDArray[np.intp]
    x: FloatArray
    residual: FloatArray
    lengthscale: FloatArray
    noise: float
    constant: float
    shift: float
    scale: float
    chol: FloatArray
    weights: FloatArray
    report: FitReport

    @property
    def noise_variance(self) -> float:
        """Variance of an observation around the property, unit squared."""
        return self.noise * self.scale**2

    def _scaled(self, x: npt.ArrayLike) -> FloatArray:
        values = np.asarray(x, dtype=np.float64)
        return np.asarray(((values - self.lower) / self.span)[:, self.columns])

    def belief(self, x: npt.ArrayLike) -> Belief:
        """Posterior at (n, d_all) descriptors, ready for pending points."""
        scaled = self._scaled(x)
        mean, variance = self._posterior(scaled)
        return Belief(
            mean=mean,
            variance=variance,
            x=scaled,
            surrogate=self,
            updates=np.empty((len(scaled), 0)),
        )

    def posterior(self, x: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation at (n, d_all) descriptors, unit of the property.

        The standard deviation is of the property, without the noise of one observation.
        """
        mean, variance = self._posterior(self._scaled(x))
        return mean, np.sqrt(variance)

    def _posterior(self, scaled: FloatArray) -> tuple[FloatArray, FloatArray]:
        cross = matern52(scaled, self.x, self.lengthscale)
        mean = self.constant + cross @ self.weights
        half = solve_triangular(self.chol, cross.T, lower=True)
        variance = np.maximum(1.0 - np.einsum("ij,ij->j", half, half), 0.0)
        return self.shift + self.scale * mean, self.scale**2 * variance

    def posterior_covariance(self, first: FloatArray, second: FloatArray) -> FloatArray:
        """(n, m) posterior covariance between scaled descriptors, unit squared."""
        cross_1 = matern52(first, self.x, self.lengthscale)
        cross_2 = matern52(second, self.x, self.lengthscale)
        prior = matern52(first, second, self.lengthscale)
        return self.scale**2 * (prior - cross_1 @ cho_solve((self.chol, True), cross_2.T))

    def sample(self, x: npt.ArrayLike, n_samples: int, *, seed: int) -> FloatArray:
        """(n_samples, n) joint draws of the property at (n, d_all) descriptors.

        Cost grows with n^3: meant for at most a few thousand candidates.
        """
        scaled = self._scaled(x)
        mean, _ = self._posterior(scaled)
        chol = _cholesky(self.posterior_covariance(scaled, scaled) / self.scale**2)[0]
        rng = np.random.default_rng(seed)
        draws = rng.standard_normal((n_samples, len(scaled)))
        return np.asarray(mean + self.scale * draws @ chol.T)

    def leave_one_out(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (with noise) of each observation predicted from the others.

        Closed form at the hyperparameters fitted to all of them, so somewhat optimistic with
        few observations: Rasmussen & Williams, eq. 5.12.
        """
        inverse = cho_solve((self.chol, True), np.eye(len(self.x)))
        diagonal = np.diag(inverse)
        mean = self.constant + self.residual - (inverse @ self.residual) / diagonal
        return self.shift + self.scale * mean, self.scale / np.sqrt(diagonal)


def matern52(first: FloatArray, second: FloatArray, lengthscale: FloatArray) -> FloatArray:
    """(n, m) Matérn-5/2 kernel with unit variance."""
    s = _scaled_distance(first, second, lengthscale)
    return np.asarray((1 + s + s**2 / 3) * np.exp(-s))


def _scaled_distance(first: FloatArray, second: FloatArray, lengthscale: FloatArray) -> FloatArray:
    """(n, m) sqrt(5) times the distance in units of the length scales."""
    a, b = first / lengthscale, second / lengthscale
    square = (a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T
    return np.asarray(np.sqrt(5 * np.maximum(square, 0.0)))


def _cholesky(matrix: FloatArray) -> tuple[FloatArray, float]:
    """Lower factor, and the jitter that was needed."""
    jitter = 0.0
    while True:
        try:
            factor = np.linalg.cholesky(matrix + jitter * np.eye(len(matrix)))
            return np.asarray(factor, dtype=np.float64), jitter
        except np.linalg.LinAlgError:
            jitter = max(10 * jitter, 1e-10)


def fit_surrogate(
    x: npt.ArrayLike, y: npt.ArrayLike, *, reference: npt.ArrayLike | None = None
) -> GaussianProcess:
    """Fit a Gaussian process to observations; never fails on finite data.

    With fewer than three observations, constant data, or where the optimiser fails, the mode of
    the prior is used and the report says so. The same data give the same process.

    Args:
        x: (n, d) descriptors of the observed candidates, n >= 1.
        y: (n,) observed values.
        reference: (m, d) descriptors of all candidates, which set the scaling; columns that do
            not vary over them are dropped. ``x`` where None.

    Raises:
        InvalidInputError: nothing observed, wrong shapes, or values that are not finite.
    """
    x_all = np.asarray(x, dtype=np.float64)
    values = np.asarray(y, dtype=np.float64)
    if x_all.ndim != 2 or values.shape != (len(x_all),) or not len(values):  # noqa: PLR2004
        raise InvalidInputError(
            f"Descriptors {x_all.shape} and values {values.shape} do not fit.",
            hint="Expected (n, d) and (n,), n at least 1.",
        )
    space = x_all if reference is None else np.asarray(reference, dtype=np.float64)
    if not (np.isfinite(x_all).all() and np.isfinite(values).all() and np.isfinite(space).all()):
        raise InvalidInputError(
            "The observations hold values that are not finite.",
            hint="Leave failed simulations out instead of passing NaN.",
        )
    lower, upper = space.min(0), space.max(0)
    columns = np.flatnonzero(upper - lower > 1e-9 * np.maximum(np.abs(upper), 1.0))
    span = np.ones(len(lower))
    span[columns] = (upper - lower)[columns]
    scaled = ((x_all - lower) / span)[:, columns]

    notes: list[str] = []
    shift, scale = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
    if scale <= 1e-12 * max(1.0, abs(shift)):
        scale = max(abs(shift), 1.0)
        notes.append("All observed values are equal: uncertainties follow from the prior alone.")
    standard = (values - shift) / scale
    lengthscale, noise, constant = _prior_mode(len(columns))
    if len(columns) and len(values) >= _MIN_FIT and not notes:
        try:
            lengthscale, noise, constant = _fit_hyperparameters(scaled, standard)
        except (ValueError, ArithmeticError) as error:
            notes.append(f"The fit failed ({type(error).__name__}): the prior's mode is used.")
    elif len(values) < _MIN_FIT:
        notes.append(f"Only {len(values)} observations: the prior's mode is used.")

    kernel = matern52(scaled, scaled, lengthscale) + noise * np.eye(len(scaled))
    chol, jitter = _cholesky(kernel)
    process = GaussianProcess(
        lower=lower,
        span=span,
        columns=columns,
        x=scaled,
        residual=standard - constant,
        lengthscale=lengthscale,
        noise=noise + jitter,
        constant=constant,
        shift=shift,
        scale=scale,
        chol=chol,
        weights=cho_solve((chol, True), standard - constant),
        report=FitReport(
            n_observations=len(values),
            n_dimensions=len(columns),
            loo_rmse=None,
            loo_r2=None,
            loo_coverage_80=None,
            noise=scale * sqrt(noise),
            notes=tuple(notes),
        ),
    )
    return replace(process, report=_with_leave_one_out(process, values))


def _with_leave_one_out(process: GaussianProcess, values: FloatArray) -> FitReport:
    if len(values) < _MIN_FIT:
        return process.report
    mean, std = process.leave_one_out()
    n = len(values)
    rmse = float(np.sqrt(np.mean((mean - values) ** 2)))
    trivial = float(values.std(ddof=0)) * n / (n - 1)  # the mean of the others, left out in turn
    return replace(
        process.report,
        loo_rmse=rmse,
        loo_r2=1 - (rmse / trivial) ** 2 if trivial > 0 else None,
        loo_coverage_80=interval_coverage(values, mean, std, level=0.8),
    )


def interval_coverage(
    observed: npt.ArrayLike, mean: npt.ArrayLike, std: npt.ArrayLike, *, level: float
) -> float:
    """Share of observations inside the central Gaussian interval that was predicted for them.

    Feed it the predictions made before the points were simulated: a calibrated surrogate gives
    about ``level``. All arrays (n,), one unit.
    """
    width = norm.ppf(0.5 + level / 2) * np.asarray(std, dtype=np.float64)
    inside = np.abs(np.asarray(observed) - np.asarray(mean)) <= width
    return float(np.mean(inside))


def _prior_mode(dimensions: int) -> tuple[FloatArray, float, float]:
    loc = _lengthscale_loc(dimensions)
    return np.full(dimensions, np.exp(loc - _LENGTHSCALE_SCALE**2)), _NOISE_MODE, 0.0


def _lengthscale_loc(dimensions: int) -> float:
    return _LENGTHSCALE_LOC + 0.5 * log(max(dimensions, 1))


def _fit_hyperparameters(x: FloatArray, y: FloatArray) -> tuple[FloatArray, float, float]:
    """Length scales (d,), noise variance and constant mean, by maximum a posteriori in BoTorch.

    Raises:
        ArithmeticError: the fit did not converge to anything finite.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces the end of its script compiler
        import torch
        from botorch.exceptions.errors import ModelFittingError
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import SingleTaskGP
        from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
        from gpytorch.mlls import ExactMarginalLogLikelihood

        kernel = get_covar_module_with_dim_scaled_prior(
            ard_num_dims=x.shape[1], use_rbf_kernel=False
        )
        model = SingleTaskGP(
            torch.tensor(x, dtype=torch.float64),
            torch.tensor(y, dtype=torch.float64)[:, None],
            covar_module=kernel.double(),
            outcome_transform=None,
        )
        try:
            fit_gpytorch_mll(
                ExactMarginalLogLikelihood(model.likelihood, model),
                optimizer_kwargs={"options": {"maxiter": _MAX_ITERATIONS}},
            )
        except ModelFittingError as error:
            raise ArithmeticError(str(error)) from error
    lengthscale = model.covar_module.lengthscale.detach().numpy().ravel()
    noise = float(model.likelihood.noise.detach())
    constant = float(model.mean_module.constant.detach())
    if not (np.isfinite(lengthscale).all() and np.isfinite([noise, constant]).all()):
        raise ArithmeticError("the hyperparameters are not finite")
    return np.asarray(lengthscale, dtype=np.float64), noise, constant
