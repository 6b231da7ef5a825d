"""Elasticity, phonons and dynamics of a solid that can be written down exactly."""

import json

import numpy as np
import pytest

from nanoos.core.errors import BadCheckpointError, EngineError, InvalidInputError
from nanoos.core.units import BOLTZMANN_EV_K, GPA_PER_EV_A3
from nanoos.engines import get_engine
from nanoos.engines.analysis import read_trajectory
from nanoos.engines.mlip.dynamics import CHECKPOINT_FILE, molecular_dynamics
from nanoos.engines.mlip.elastic import elastic_tensor, moduli, rotated
from nanoos.engines.mlip.parameters import (
    DynamicsParameters,
    ElasticParameters,
    PhononParameters,
)
from nanoos.engines.mlip.phonons import phonons, supercell_matrix, thermal_properties
from nanoos.engines.mlip.property_workflows import run_dynamics, run_phonons
from nanoos.potentials.lennard_jones import LennardJones
from nanoos.structures import Structure
from nanoos.testing.crystals import rocksalt

EPSILON_EV, SIGMA_A = 0.0104, 3.40
ARGON = LennardJones(epsilon_ev=EPSILON_EV, sigma_a=SIGMA_A, cutoff_sigma=2.5)


def fcc(a=5.3, element="Ar"):
    lattice = 0.5 * a * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return Structure(lattice=lattice, species=(element,), frac_coords=np.zeros((1, 3)))


def turned(structure, seed=1):
    """The same crystal in other Cartesian axes."""
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    rotation *= np.linalg.det(rotation)
    return structure.with_lattice(structure.lattice @ rotation.T)


def silent(fraction, message):
    pass


@pytest.fixture(scope="module")
def argon(tmp_path_factory):
    """Its elastic tensor, at the minimum."""
    parameters = ElasticParameters(fmax=1e-5, max_strain=0.004)
    return elastic_tensor(fcc(), ARGON, parameters, silent, tmp_path_factory.mktemp("argon"))


def test_pair_forces_obey_cauchy(argon):
    """Central forces, every atom a centre of inversion: C12 = C44 at zero pressure."""
    c = argon.tensor_gpa
    assert c[0, 1] == pytest.approx(c[3, 3], rel=5e-3)
    assert c[0, 0] == pytest.approx(c[1, 1]) == pytest.approx(c[2, 2])
    assert np.abs(c[:3, 3:]).max() < 1e-3
    assert argon.asymmetry_gpa < 0.01
    assert argon.stable


def test_tensor_is_the_curvature_of_the_energy(argon):
    """C11 and C44 from energies of strained cells, which know nothing of stresses."""
    start, volume = argon.structure, argon.structure.volume
    amount = 2e-3
    for component, strain in (
        ((0, 0), np.diag([amount, 0, 0])),
        ((3, 3), amount / 2 * np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0]])),
    ):
        cells = [
            start.with_lattice(start.lattice @ (np.eye(3) + sign * strain)) for sign in (-1, 0, 1)
        ]
        low, middle, high = ARGON.energies(cells)
        curvature = (low - 2 * middle + high) / amount**2 / volume * GPA_PER_EV_A3
        assert argon.tensor_gpa[component] == pytest.approx(curvature, rel=0.02)


def test_orientation_of_the_cell_does_not_matter(argon, tmp_path):
    parameters = ElasticParameters(fmax=1e-5, max_strain=0.004)
    other = elastic_tensor(turned(fcc()), ARGON, parameters, silent, tmp_path)
    np.testing.assert_allclose(other.tensor_gpa, argon.tensor_gpa, atol=0.01)
    assert np.abs(other.in_given_axes_gpa - argon.tensor_gpa).max() > 0.05


def test_moduli_of_an_isotropic_solid():
    bulk, shear = 100.0, 40.0
    c = np.zeros((6, 6))
    c[:3, :3] = bulk - 2 / 3 * shear
    c[range(3), range(3)] += 2 * shear
    c[range(3, 6), range(3, 6)] = shear
    values = moduli(c).values()
    assert values["bulk_modulus_gpa"] == pytest.approx(bulk)
    assert values["shear_modulus_gpa"] == pytest.approx(shear)
    assert values["bulk_modulus_reuss_gpa"] == pytest.approx(bulk)
    assert values["universal_anisotropy"] == pytest.approx(0, abs=1e-9)
    assert values["young_modulus_gpa"] == pytest.approx(9 * bulk * shear / (3 * bulk + shear))
    spun, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    np.testing.assert_allclose(rotated(c, spun), c, atol=1e-9)
    c[3, 3] = -1.0
    assert "bulk_modulus_reuss_gpa" not in moduli(c).values()


def test_phonons_of_argon(argon, tmp_path):
    parameters = PhononParameters(fmax=1e-5, min_length=17.0, displacement=0.01, mesh_length=20)
    found = run_phonons(fcc(), ARGON, parameters, silent, tmp_path)
    values = found.values
    assert values["dynamically_stable"] == 1
    assert values["acoustic_gamma_thz"] < 1e-3
    assert values["highest_frequency_thz"] == pytest.approx(2.0, abs=0.15)  # measured: 2.0 THz
    # the slope of the longitudinal branch along [100] is the sound velocity
    import phonopy

    solver = phonopy.load(tmp_path / "phonopy_params.yaml", log_level=0)
    q = np.array([0.0, 0.01, 0.01])  # along x in the primitive cell
    length = np.linalg.norm(q @ np.linalg.inv(np.array(solver.primitive.cell)).T)
    frequency = np.sort(solver.run_qpoints([q]).frequencies[0])
    density = 39.948 * 1.66053906660e-27 / (argon.structure.volume * 1e-30)
    speeds = frequency * 1e12 / (length * 1e10)
    c11, c44 = argon.tensor_gpa[0, 0] * 1e9, argon.tensor_gpa[3, 3] * 1e9
    assert speeds[2] == pytest.approx(np.sqrt(c11 / density), rel=0.03)
    assert speeds[0] == pytest.approx(np.sqrt(c44 / density), rel=0.03)
    # classical limit and third law
    capacity = found.series["heat_capacity_j_mol_k_per_atom"]
    assert capacity[0] == 0
    assert capacity[-1] == pytest.approx(3 * 8.314462618, rel=5e-3)
    # three modes for one atom
    dos = np.trapezoid(found.series["dos_total_per_thz"], found.series["dos_frequency_thz"])
    assert dos == pytest.approx(3, rel=0.02)
    assert {"phonon_bands.csv", "phonon_dos.csv", "thermal.csv"} <= set(found.texts)
    assert all((tmp_path / name).is_file() for name in found.written)


def test_imaginary_modes_are_told(tmp_path):
    """A simple cubic crystal of this potential falls together."""
    cubic = Structure(lattice=3.9 * np.eye(3), species=("Ar",), frac_coords=np.zeros((1, 3)))
    parameters = PhononParameters(relax_first=False, min_length=7.0, mesh_length=10)
    found = run_phonons(cubic, ARGON, parameters, silent, tmp_path)
    assert found.values["dynamically_stable"] == 0
    assert found.values["imaginary_share"] > 0
    assert any("imaginary" in warning for warning in found.warnings)


def test_thermal_properties_of_one_oscillator():
    quantum = 4.135667696e-3 * 5.0
    temperature = 400.0
    found = thermal_properties(np.array([[5.0]]), [1.0], np.array([0.0, temperature]))
    x = quantum / (BOLTZMANN_EV_K * temperature)
    assert found["free_energy_ev"][0] == pytest.approx(quantum / 2)
    assert found["free_energy_ev"][1] == pytest.approx(
        quantum / 2 + BOLTZMANN_EV_K * temperature * np.log(1 - np.exp(-x))
    )
    assert found["heat_capacity_ev_k"][1] == pytest.approx(
        BOLTZMANN_EV_K * x**2 * np.exp(x) / (np.exp(x) - 1) ** 2
    )
    inner = quantum / 2 + quantum / (np.exp(x) - 1)
    assert found["entropy_ev_k"][1] == pytest.approx((inner - found["free_energy_ev"][1]) / 400)


def test_supercell_is_the_smallest_that_is_wide_enough():
    for structure, length in ((fcc(), 9.0), (rocksalt(), 8.0), (rocksalt(), 12.0)):
        matrix = supercell_matrix(structure, length)
        lattice = matrix @ structure.lattice
        widths = 1 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
        assert widths.min() >= length - 1e-6
    # the conventional cell twice: 32 atoms; the primitive one three times: 27, but too narrow
    assert abs(round(np.linalg.det(supercell_matrix(fcc(5.3), 10.0)))) == 32
    with pytest.raises(InvalidInputError, match="more than 10"):
        get_engine("LJ")().validate(
            rocksalt(), {"workflow": "phonons", "min_length": 20, "max_atoms": 10}
        )


FAST = LennardJones(epsilon_ev=EPSILON_EV, sigma_a=SIGMA_A, cutoff_sigma=1.8)
HOT = {"temperature": 30.0, "timestep": 8.0, "min_length": 9.0, "analysis": ()}


def test_constant_energy_is_kept(tmp_path):
    parameters = DynamicsParameters(ensemble="nve", num_steps=200, **HOT)
    found = run_dynamics(fcc(5.26), FAST, parameters, silent, tmp_path)
    scale = found.values["avg_kinetic_energy_ev_per_atom"]
    assert found.values["energy_fluctuation_ev_per_atom"] < 0.01 * scale
    # half of the energy given goes into the springs: equipartition
    assert found.values["avg_temperature_k"] == pytest.approx(15, rel=0.25)


def test_thermostat_and_pressure(tmp_path):
    parameters = DynamicsParameters(ensemble="nvt", num_steps=600, thermostat_damping=80.0, **HOT)
    found = run_dynamics(fcc(5.26), FAST, parameters, silent, tmp_path)
    values = found.values
    assert values["avg_temperature_k"] == pytest.approx(
        30, abs=4 * values["avg_temperature_error_k"] + 0.5
    )
    kinetic = values["avg_kinetic_energy_ev_per_atom"] * values["n_atoms"]
    degrees = 3 * values["n_atoms"] - 3
    assert kinetic == pytest.approx(
        0.5 * degrees * BOLTZMANN_EV_K * values["avg_temperature_k"], rel=1e-6
    )
    assert found.texts["trajectory.extxyz"].startswith("27\n")
    (tmp_path / "trajectory.extxyz").write_text(found.texts["trajectory.extxyz"])
    assert not read_trajectory(tmp_path / "trajectory.extxyz").crossings_guessed


def test_barostat_reaches_its_pressure(tmp_path):
    parameters = DynamicsParameters(
        ensemble="npt",
        num_steps=500,
        pressure=2000.0,
        barostat_damping=400.0,
        thermostat_damping=200.0,
        **HOT,
    )
    found = run_dynamics(fcc(5.35), FAST, parameters, silent, tmp_path)
    assert found.values["avg_pressure_gpa"] == pytest.approx(0.2, abs=0.08)
    assert found.values["avg_volume_a3_per_atom"] < 5.35**3 / 4


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_cell_that_flies_apart_is_told(tmp_path):
    """The barostat's mass is that of the temperature: far from equilibrium it is too light."""
    parameters = DynamicsParameters(ensemble="npt", temperature=0.1, num_steps=100)
    with pytest.raises(EngineError, match="flew apart") as caught:
        molecular_dynamics(fcc(), LennardJones(), parameters, silent, tmp_path)
    assert caught.value.error_code == "exploded"


def test_vibrations_have_velocities_of_their_own(tmp_path):
    """Frames 96 fs apart would fold all of them to below 5.2 THz."""
    hot = {**HOT, "timestep": 2.0, "analysis": ("vdos",)}
    parameters = DynamicsParameters(ensemble="nve", num_steps=2400, dump_interval=48, **hot)
    found = run_dynamics(fcc(5.26), FAST, parameters, silent, tmp_path)
    frequency = np.genfromtxt(tmp_path / "vdos.csv", delimiter=",", names=True)["frequency_thz"]
    assert frequency[-1] == pytest.approx(125, rel=0.01), "half of one in 4 fs"
    assert not any("folded" in text for text in found.warnings)


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
def test_a_killed_run_goes_on_where_it_was(tmp_path, ensemble):
    vibrating = {**HOT, "analysis": ("vdos",)}
    parameters = DynamicsParameters(
        ensemble=ensemble, num_steps=120, checkpoint_interval=50, dump_interval=10, **vibrating
    )
    whole = molecular_dynamics(fcc(), FAST, parameters, silent, tmp_path)
    (tmp_path / CHECKPOINT_FILE).unlink()

    class KilledError(Exception):
        pass

    class Dying(LennardJones):
        calls = 0

        def compute(self, structures, **options):
            type(self).calls += 1
            if type(self).calls > 80:
                raise KilledError
            return super().compute(structures, **options)

    dying = Dying(epsilon_ev=EPSILON_EV, sigma_a=SIGMA_A, cutoff_sigma=1.8)
    with pytest.raises(KilledError):
        molecular_dynamics(fcc(), dying, parameters, silent, tmp_path)
    assert (tmp_path / CHECKPOINT_FILE).is_file()
    again = molecular_dynamics(fcc(), FAST, parameters, silent, tmp_path)
    assert again.continued == 1
    assert len(again.frames) == len(whole.frames) == 13
    assert [step for step, _ in again.speeds] == list(range(24, 121))
    np.testing.assert_allclose(again.speeds[-1][1], whole.speeds[-1][1], atol=1e-9)
    np.testing.assert_allclose(again.final.cart_coords, whole.final.cart_coords, atol=1e-6)
    np.testing.assert_allclose(again.samples, whole.samples, rtol=1e-6, atol=1e-9)


def test_dynamics_whose_results_could_not_be_written_is_not_run_again(tmp_path, monkeypatch):
    asked = {"workflow": "md", "ensemble": "npt", "num_steps": 6, "min_length": 6.0, "analysis": []}
    engine = get_engine("LJ")()
    input_dir = engine.prepare_input(rocksalt(4.1), asked, tmp_path)

    def full(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("nanoos.engines.mlip.engine.output.write", full)
        with pytest.raises(OSError, match="disk full"):
            engine.execute(input_dir, tmp_path / "output")
    assert (tmp_path / "output" / CHECKPOINT_FILE).is_file()
    monkeypatch.delattr("nanoos.engines.mlip.dynamics._sample")
    assert engine.execute(input_dir, tmp_path / "output").success
    result = engine.parse_output(tmp_path / "output")
    assert result.series["step"] == tuple(range(7))
    assert not any("Continued" in warning for warning in result.warnings)
    assert not (tmp_path / "output" / CHECKPOINT_FILE).exists()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_atoms_that_flew_apart_are_not_in_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr("nanoos.engines.mlip.dynamics._HOPELESS_K", 1.0)
    parameters = DynamicsParameters(num_steps=1, **HOT)
    with pytest.raises(EngineError, match="flew apart"):
        molecular_dynamics(fcc(), FAST, parameters, silent, tmp_path)
    assert not (tmp_path / CHECKPOINT_FILE).exists()


def test_a_broken_checkpoint_is_told(tmp_path):
    (tmp_path / CHECKPOINT_FILE).write_bytes(b"no archive")
    parameters = DynamicsParameters(num_steps=2, **HOT)
    with pytest.raises(BadCheckpointError, match="cannot be read"):
        molecular_dynamics(fcc(), ARGON, parameters, silent, tmp_path)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"ensemble": "nvt", "pressure": 5.0}, "pressure"),
        ({"num_steps": 10, "equilibration_steps": 10}, "equilibration"),
        ({"num_steps": 20, "dump_interval": 1000}, "leaves no frame"),
        ({"num_steps": 20, "dump_interval": 17, "equilibration_steps": 18}, "leaves no frame"),
        ({"num_steps": 20, "thermo_interval": 1000}, "leaves no sample"),
        ({"temperature": 1e-300}, "temperature"),
        ({"thermo_interval": 3000, "equilibration_steps": 0}, "longer than the run"),
        ({"num_steps": 10**8, "thermo_interval": 1}, "samples"),
        ({"ensemble": "npht"}, "ensemble"),
        ({"max_atoms": 2, "min_length": 30}, "more than"),
        ({"repeats": [0, 1, 1]}, "repeats"),
    ],
)
def test_absurd_dynamics_is_refused(parameters, words):
    with pytest.raises(InvalidInputError, match=words):
        get_engine("LJ")().validate(rocksalt(), {"workflow": "md", **parameters})


def test_absurdly_many_temperatures_are_refused():
    phonons_of = {"workflow": "phonons", "max_temperature": 10_000}
    with pytest.raises(InvalidInputError, match="20,000 temperatures"):
        get_engine("LJ")().validate(rocksalt(), {**phonons_of, "temperature_step": 1e-9})
    get_engine("LJ")().validate(rocksalt(), {**phonons_of, "temperature_step": 0.5})


def test_elastic_files_through_the_engine(tmp_path):
    result = get_engine("LJ")().run(rocksalt(4.1), {"workflow": "elastic"}, tmp_path)
    document = json.loads((tmp_path / "output" / "elastic.json").read_text())
    assert np.array(document["stiffness_gpa"]).shape == (6, 6)
    assert result.values["c11_gpa"] == pytest.approx(document["stiffness_gpa"][0][0])


def test_phonons_of_a_given_geometry_do_not_move_it(tmp_path):
    parameters = PhononParameters(relax_first=False, repeats=(2, 2, 2), mesh_length=5)
    found = phonons(fcc(5.4), ARGON, parameters, silent, tmp_path)
    assert found.structure.volume == pytest.approx(fcc(5.4).volume)
    assert found.n_supercell == 8


@pytest.mark.parametrize("repeats", [(2, 2, 2), None])
def test_phonons_of_a_left_handed_cell_are_those_of_the_crystal(tmp_path, repeats):
    """Without a centre of inversion, and with three elements: every force at its atom."""
    right = Structure(
        lattice=np.diag([4.4, 4.6, 4.9]) + 0.2 * np.eye(3, k=1),
        species=("Ar", "Kr", "Ar"),
        frac_coords=[[0.0, 0.0, 0.0], [0.5, 0.45, 0.5], [0.1, 0.55, 0.0]],
    )
    swap = np.eye(3)[[1, 0, 2]]
    left = Structure(
        lattice=swap @ right.lattice,
        species=right.species,
        frac_coords=right.frac_coords @ swap,
    )
    assert left.is_left_handed
    options = {"relax_first": False, "repeats": repeats, "min_length": 8.0, "mesh_length": 5}
    parameters = PhononParameters(**options)
    one, other = (
        phonons(structure, ARGON, parameters, silent, tmp_path / name)
        for name, structure in (("right", right), ("left", left))
    )
    assert one.n_supercell == other.n_supercell == 24
    np.testing.assert_allclose(
        np.sort(other.mesh_frequencies_thz[0]), np.sort(one.mesh_frequencies_thz[0]), atol=1e-4
    )
    np.testing.assert_allclose(other.result.forces, one.result.forces, atol=1e-9)
