"""Epsilon and nu: exact on constructed curves, and in the ranges published between codes."""

import numpy as np
import pytest

from nanoos.engines.espresso.eos_metrics import eos_distance
from nanoos.engines.mlip.birch_murnaghan import BirchMurnaghan

GPA = 160.21766339999996


def eos(v0=20.0, b0=100.0, b1=4.0) -> BirchMurnaghan:
    return BirchMurnaghan(
        energy_ev=0.0,
        volume_a3=v0,
        bulk_modulus_gpa=b0,
        bulk_modulus_derivative=b1,
        rmse_ev=0.0,
        r2=1.0,
    )


def test_equal_curves_are_not_apart():
    found = eos_distance(eos(), eos())
    assert found.epsilon == 0
    assert found.nu == 0


def test_nu_is_the_weighted_length_of_relative_differences():
    found = eos_distance(eos(v0=20.2, b0=110.0, b1=5.0), eos(v0=20.0, b0=100.0, b1=4.0))
    v0, b0, b1 = 2 * 0.2 / 40.2, 2 * 10 / 210, 2 * 1 / 9
    assert found.nu == pytest.approx(100 * np.sqrt(v0**2 + (b0 / 20) ** 2 + (b1 / 400) ** 2))
    assert found.v0_percent == pytest.approx(100 * v0)


def test_epsilon_is_the_integral_of_its_definition():
    one, other = eos(20.3, 105.0, 4.4), eos()
    volumes = np.linspace(0.94 * 20.15, 1.06 * 20.15, 20001)
    a, b = one.energy_at(volumes), other.energy_at(volumes)

    def mean(values):
        return np.trapezoid(values, volumes) / (volumes[-1] - volumes[0])

    spread = np.sqrt(mean((a - mean(a)) ** 2) * mean((b - mean(b)) ** 2))
    expected = np.sqrt(mean((a - b) ** 2) / spread)
    assert eos_distance(one, other).epsilon == pytest.approx(expected, rel=1e-6)
    assert eos_distance(other, one).epsilon == pytest.approx(expected, rel=1e-6)


def test_it_does_not_depend_on_the_size_of_the_cell():
    small = eos_distance(eos(20.2, 103.0, 4.3), eos())
    large = eos_distance(eos(2 * 20.2, 103.0, 4.3), eos(40.0))
    assert large.epsilon == pytest.approx(small.epsilon)
    assert large.nu == pytest.approx(small.nu)


def test_published_fits_agree_as_the_study_says(shared):
    """The two all-electron codes agree within the study's threshold for excellent; the bulk of
    PseudoDojo in Quantum ESPRESSO within that for good (Bosoni et al. 2024)."""
    pandas = pytest.importorskip("pandas")
    path = shared / "data" / "acwf_eos" / "acwf_birch_murnaghan.parquet"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    fits = pandas.read_parquet(path)
    by_code = {code: rows.set_index("system") for code, rows in fits.groupby("code")}

    def median(one, other):
        both = by_code[one].index.intersection(by_code[other].index)
        found = [
            eos_distance(
                *(
                    eos(
                        table.loc[system].V0_A3,
                        table.loc[system].B0_eV_per_A3 * GPA,
                        table.loc[system].B1,
                    )
                    for table in (by_code[one], by_code[other])
                )
            )
            for system in both[::6]
        ]
        return np.median([f.epsilon for f in found]), np.median([f.nu for f in found])

    epsilon, nu = median("fleur", "wien2k-dk_0.06")
    assert epsilon < 0.06
    assert nu < 0.10
    epsilon, nu = median("quantum_espresso-PseudoDojo-0.4-PBE-SR-standard-upf", "AE-average")
    assert 0.02 < epsilon < 0.20
    assert nu < 0.33
