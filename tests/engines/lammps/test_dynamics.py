"""Dynamics against what statistical mechanics demands."""

import numpy as np
import pytest

from nanoos.core.units import BOLTZMANN_EV_K
from nanoos.engines import get_engine
from nanoos.structures import Structure

COPPER = "Cu_mishin1.eam.alloy"
FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def engine():
    return get_engine("LAMMPS")()


def copper(a=3.615):
    return Structure(lattice=a * np.eye(3), species=("Cu",) * 4, frac_coords=FCC)


def silicon_carbide(a=4.32):
    return Structure(
        lattice=a * np.eye(3),
        species=("Si",) * 4 + ("C",) * 4,
        frac_coords=np.vstack([FCC, FCC + 0.25]),
    )


def test_energy_is_kept_and_its_wobble_is_of_second_order(engine, tmp_path):
    """Velocity Verlet: no drift, a fluctuation that falls as the square of the time step."""
    wobbles = {}
    for timestep in (1.0, 2.0, 4.0):
        result = engine.run(
            copper(),
            {
                "workflow": "MD_NVE_LAMMPS",
                "potential": COPPER,
                "timestep": timestep,
                "num_steps": round(6000 / timestep),
                "equilibration_steps": round(2000 / timestep),
                "repeats": [3, 3, 3],
                "temperature": 600,
                "thermostat": "langevin",
                "thermostat_damping": 200,
                "thermo_interval": 1,
                "analysis": [],
            },
            tmp_path / str(timestep),
        )
        kelvin = result.values["avg_temperature_k"]  # what is conserved differs by a term ~ T
        wobbles[timestep] = result.values["energy_fluctuation_ev_per_atom"] / kelvin
        assert abs(result.values["energy_drift_ev_per_atom_ps"]) < 2e-6 * timestep**2, timestep
    assert wobbles[2.0] / wobbles[1.0] == pytest.approx(4, rel=0.3)
    assert wobbles[4.0] / wobbles[2.0] == pytest.approx(4, rel=0.3)


def test_npt_keeps_temperature_and_pressure_and_copper_expands(engine, tmp_path):
    """Mishin 2001 gives the expansion of this potential close to experiment, 16.5e-6/K."""
    lengths = {}
    for temperature in (300, 700):
        result = engine.run(
            copper(3.63),
            {
                "workflow": "MD_NPT_LAMMPS",
                "potential": COPPER,
                "timestep": 2.0,
                "num_steps": 15_000,
                "repeats": [4, 4, 4],
                "temperature": temperature,
                "pressure": 1000.0,
                "thermo_interval": 10,
                "analysis": [],
            },
            tmp_path / str(temperature),
        )
        values = result.values
        assert values["avg_temperature_k"] == pytest.approx(temperature, rel=0.01)
        assert values["avg_pressure_gpa"] == pytest.approx(
            0.1, abs=max(0.03, 4 * values["avg_pressure_error_gpa"])
        )
        lengths[temperature] = (4 * values["avg_volume_a3_per_atom"]) ** (1 / 3)
    expansion = (lengths[700] / lengths[300] - 1) / 400
    assert expansion == pytest.approx(17.5e-6, rel=0.12)


@pytest.mark.parametrize("thermostat", ["nose-hoover", "langevin", "csvr"])
def test_equipartition_between_elements(engine, tmp_path, thermostat):
    """Silicon and carbon are equally hot, and the kinetic energy fluctuates as it must."""
    from ase.data import atomic_masses, atomic_numbers
    from ase.io import read

    result = engine.run(
        silicon_carbide(),
        {
            "workflow": "MD_NVT_LAMMPS",
            "potential": "SiC_1994.tersoff",
            "num_steps": 12_000,
            "equilibration_steps": 4000,
            "repeats": [2, 2, 2],
            "temperature": 500,
            "thermostat": thermostat,
            "thermo_interval": 5,
            "dump_interval": 20,
            "analysis": [],
        },
        tmp_path,
    )
    temperatures = {}
    frames = read(tmp_path / "output" / "trajectory.extxyz", index=":")
    frames = [frame for frame in frames if frame.info["time_fs"] >= 4000]
    for element in ("Si", "C"):
        mass = atomic_masses[atomic_numbers[element]] * 103.642696  # u Å^2/fs^2 in eV
        chosen = np.array(frames[0].get_chemical_symbols()) == element
        squares = np.mean(
            [np.sum(frame.arrays["velocities"][chosen] ** 2, axis=1) for frame in frames]
        )
        temperatures[element] = mass * squares / (3 * BOLTZMANN_EV_K)
    assert temperatures["Si"] == pytest.approx(temperatures["C"], rel=0.06)
    assert result.values["avg_temperature_k"] == pytest.approx(500, rel=0.03)
    steps = np.array(result.series["step"])
    kinetic = np.array(result.series["temperature_k"])[steps >= 4000]
    freedoms = 3 * 64 - 3
    assert kinetic.var() == pytest.approx(2 * 500**2 / freedoms, rel=0.4)


def test_copper_melts_and_flows(engine, tmp_path):
    """Far above melting (1327 K, Mishin 2001) it flows; at 800 K it does not.

    Liquid copper at 1873 K diffuses with about 5e-5 cm^2/s (quasi-elastic neutron scattering:
    Meyer, Phys. Rev. B 81, 012102 (2010), DOI 10.1103/PhysRevB.81.012102: 5.2e-5 at 1750 K).
    """
    found = {}
    for temperature, start in ((800, 800.0), (1750, 4000.0)):
        result = engine.run(
            copper(3.75),
            {
                "workflow": "MD_ANNEAL_LAMMPS",
                "potential": COPPER,
                "timestep": 2.0,
                "num_steps": 25_000,
                "repeats": [4, 4, 4],
                "temperature": start,
                "anneal_temperature": start,
                "final_temperature": temperature,
                "pressure": 0.0,
                "schedule": [0.0, 0.1, 0.2, 0.7],
                "dump_interval": 25,
            },
            tmp_path / str(temperature),
        )
        found[temperature] = result
    solid, liquid = found[800], found[1750]
    assert any("does not diffuse" in warning for warning in solid.warnings)
    assert not any("does not diffuse" in warning for warning in liquid.warnings)
    assert liquid.values["diffusion_cu_cm2_s"] == pytest.approx(5.2e-5, rel=0.3)
    assert solid.values["coordination_cu_cu"] == pytest.approx(12, abs=0.1)
    assert liquid.values["avg_density_g_cm3"] < 0.95 * solid.values["avg_density_g_cm3"]


def test_vibrations_of_silicon_end_at_its_optical_phonon(engine, tmp_path):
    """The top of the spectrum against the zone-centre phonon from forces, in the same potential."""
    silicon = Structure(
        lattice=5.431 * np.eye(3),
        species=("Si",) * 8,
        frac_coords=np.vstack([FCC, FCC + 0.25]),
    )
    moved = silicon.frac_coords.copy()
    moved[4:, 0] += 0.01 / 5.431  # one sublattice against the other
    frozen = engine.run(
        Structure(lattice=silicon.lattice, species=silicon.species, frac_coords=moved),
        {"workflow": "SINGLE_POINT_LAMMPS", "potential": "Si.sw"},
        tmp_path / "frozen",
    )
    constant = -np.array(frozen.forces)[4:, 0].mean() / 0.01
    optical_thz = 1000 * np.sqrt(2 * constant / (28.085 * 103.642696)) / (2 * np.pi)
    result = engine.run(
        silicon,
        {
            "workflow": "MD_NVE_LAMMPS",
            "potential": "Si.sw",
            "num_steps": 12_000,
            "equilibration_steps": 4000,
            "repeats": [3, 3, 3],
            "temperature": 50,
            "analysis": ["vdos"],
            "vdos_duration": 8.0,
        },
        tmp_path / "dynamics",
    )
    assert 15 < optical_thz < 20
    assert result.values["vdos_top_frequency_thz"] == pytest.approx(optical_thz, abs=0.6)
