import numpy as np
import pytest

from nanoos.core.errors import EngineError
from nanoos.core.units import GPA_PER_EV_A3
from nanoos.engines.mlip.birch_murnaghan import BirchMurnaghan, fit_birch_murnaghan

TRUTH = BirchMurnaghan(
    energy_ev=-3.7,
    volume_a3=16.5,
    bulk_modulus_gpa=76.0,
    bulk_modulus_derivative=4.6,
    rmse_ev=0.0,
    r2=1.0,
)


@pytest.mark.parametrize("centre", [0.97, 1.0, 1.04])
def test_recovers_what_made_the_data(centre):
    volumes = 16.5 * centre * np.linspace(0.92, 1.08, 9)
    fit = fit_birch_murnaghan(volumes, TRUTH.energy_at(volumes))
    for name in ("energy_ev", "volume_a3", "bulk_modulus_gpa", "bulk_modulus_derivative"):
        assert getattr(fit, name) == pytest.approx(getattr(TRUTH, name), rel=1e-6)
    assert fit.rmse_ev < 1e-9
    assert fit.r2 == pytest.approx(1.0)


def test_agrees_with_ase():
    from ase.eos import EquationOfState

    volumes = np.linspace(14.5, 18.5, 9)
    energies = TRUTH.energy_at(volumes) + 2e-4 * np.sin(7 * volumes)
    ours = fit_birch_murnaghan(volumes, energies)
    v0, e0, bulk = EquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    assert ours.volume_a3 == pytest.approx(v0, rel=1e-4)
    assert ours.energy_ev == pytest.approx(e0, abs=1e-5)
    assert ours.bulk_modulus_gpa == pytest.approx(bulk * GPA_PER_EV_A3, rel=1e-3)


def test_fit_quality_is_that_of_the_noise():
    rng = np.random.default_rng(3)
    volumes = np.linspace(14.5, 18.5, 41)
    noise = rng.normal(scale=1e-3, size=41)
    fit = fit_birch_murnaghan(volumes, TRUTH.energy_at(volumes) + noise)
    assert fit.rmse_ev == pytest.approx(1e-3, rel=0.3)
    assert 0.9 < fit.r2 < 1


@pytest.mark.parametrize(
    "energies",
    [
        lambda v: -0.1 * v,
        lambda v: 0.1 * v,
        lambda v: -((v - 16) ** 2),
    ],
)
def test_no_minimum_is_refused(energies):
    volumes = np.linspace(14, 18, 7)
    with pytest.raises(EngineError) as caught:
        fit_birch_murnaghan(volumes, energies(volumes))
    assert caught.value.error_code == "no_minimum"


def test_too_few_points():
    with pytest.raises(EngineError, match="at least 5"):
        fit_birch_murnaghan([1, 2, 3, 4], [1, 0, 1, 2])
