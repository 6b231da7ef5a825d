"""The LAMMPS engine, on real runs of small cells."""

import os
import signal
import subprocess
import sys
import threading
import time
from math import inf
from typing import ClassVar

import numpy as np
import pytest

from nanoos.core.errors import (
    EngineError,
    InvalidInputError,
    NotFoundError,
    TransientError,
    UnavailableError,
)
from nanoos.core.units import BOLTZMANN_EV_K, GPA_PER_EV_A3
from nanoos.engines import ENGINES, get_engine
from nanoos.engines.analysis import PairCounts
from nanoos.engines.lammps import following
from nanoos.engines.lammps.interactions import interactions
from nanoos.engines.lammps.logs import read_log
from nanoos.engines.lammps.parameters import MLPotentialConfig, NVTParameters
from nanoos.engines.lammps.program import find_program, set_program
from nanoos.engines.lammps.script import input_script, resume_script
from nanoos.structures import Structure
from nanoos.testing import EngineContract
from nanoos.testing.crystals import perturbed
from nanoos.testing.processes import running

COPPER = "Cu_mishin1.eam.alloy"


def fcc(a=3.615, element="Cu"):
    lattice = 0.5 * a * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return Structure(lattice=lattice, species=(element,), frac_coords=np.zeros((1, 3)))


def zincblende(a, cation, anion):
    lattice = 0.5 * a * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return Structure(lattice=lattice, species=(cation, anion), frac_coords=[[0.0] * 3, [0.25] * 3])


@pytest.fixture(scope="module")
def engine():
    return get_engine("LAMMPS")()


class TestLAMMPS(EngineContract):
    name = "LAMMPS"
    quick: ClassVar = {
        "MD_NVT_LAMMPS": {
            "potential": "SiC_1994.tersoff",
            "num_steps": 60,
            "repeats": [2, 2, 2],
            "dump_interval": 1,
        },
        "MD_NPT_LAMMPS": {
            "potential": "SiC_1994.tersoff",
            "num_steps": 30,
            "repeats": [2, 1, 1],
            "cell": "full",
        },
        "MD_NVE_LAMMPS": {
            "potential": "SiC_1994.tersoff",
            "num_steps": 30,
            "repeats": [2, 1, 1],
            "thermostat": "langevin",
        },
        "MD_ANNEAL_LAMMPS": {
            "potential": "SiC_1994.tersoff",
            "num_steps": 60,
            "repeats": [2, 1, 1],
            "thermostat": "csvr",
        },
        "MINIMIZE_LAMMPS": {"potential": "SiC_1994.tersoff", "relax_cell": "full"},
        "SINGLE_POINT_LAMMPS": {"potential": "SiC_1994.tersoff"},
    }

    @pytest.fixture(scope="class")
    @classmethod
    def structure(cls):
        return zincblende(4.3, "Si", "C")


def test_is_known_by_its_other_name():
    assert get_engine("lammps_md") is get_engine("LAMMPS")
    assert ENGINES.canonical_name("LAMMPS_MD") == "LAMMPS"
    assert "LAMMPS_MD" not in ENGINES.names()


# -- one configuration ---------------------------------------------------------------------------


def single_point(engine, structure, folder, **parameters):
    return engine.run(structure, {"workflow": "SINGLE_POINT_LAMMPS", **parameters}, folder)


def test_a_rotated_skewed_and_left_handed_cell_is_the_same_crystal(engine, tmp_path):
    """Energy is invariant; forces and stress turn with the frame."""
    base = perturbed(zincblende(4.35, "Si", "C"), 0.1)
    first = single_point(engine, base, tmp_path / "a", potential="SiC_1994.tersoff")
    angle, axis = 0.7, np.array([1.0, 2.0, 3.0]) / np.sqrt(14)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    skew = np.array([[1, 0, 0], [2, 1, 0], [0, -3, -1]])  # left-handed: determinant -1
    other = Structure(
        lattice=skew @ base.lattice @ turn.T,
        species=base.species,
        frac_coords=base.frac_coords @ np.linalg.inv(skew),
    )
    assert other.is_left_handed
    second = single_point(engine, other, tmp_path / "b", potential="SiC_1994.tersoff")
    assert second.energy_ev == pytest.approx(first.energy_ev, abs=1e-8)
    np.testing.assert_allclose(second.forces, np.array(first.forces) @ turn.T, atol=1e-6)
    np.testing.assert_allclose(second.stress, turn @ np.array(first.stress) @ turn.T, atol=1e-9)
    assert np.abs(first.forces).max() > 0.1


def test_forces_and_stress_are_derivatives_of_the_energy(engine, tmp_path):
    base = perturbed(zincblende(4.35, "Si", "C"), 0.1)
    kwargs = {"potential": "SiC_1994.tersoff"}
    here = single_point(engine, base, tmp_path / "0", **kwargs)
    step = 1e-4
    moved = []
    for sign in (1, -1):
        shift = np.zeros((2, 3))
        shift[1, 2] = sign * step
        coords = base.frac_coords + shift @ np.linalg.inv(base.lattice)
        s = Structure(lattice=base.lattice, species=base.species, frac_coords=coords)
        moved.append(single_point(engine, s, tmp_path / f"f{sign}", **kwargs).energy_ev)
    assert here.forces[1][2] == pytest.approx(-(moved[0] - moved[1]) / (2 * step), abs=1e-4)
    for i, j in ((0, 0), (0, 2)):
        strained = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            s = base.with_lattice(base.lattice @ strain)
            strained.append(
                single_point(engine, s, tmp_path / f"s{i}{j}{sign}", **kwargs).energy_ev
            )
        derivative = (strained[0] - strained[1]) / (2 * step) / base.volume
        assert here.stress[i][j] == pytest.approx(derivative, abs=1e-5)


def test_lennard_jones_is_the_formula(engine, tmp_path):
    """Against the sum over a finite cluster, done here."""
    cell = Structure(
        lattice=np.diag([40.0, 40, 40]),
        species=("Ar", "Ar", "Kr"),
        frac_coords=np.array([[0.0, 0, 0], [3.8, 0, 0], [0, 4.1, 0]]) / 40,
    )
    result = single_point(
        engine,
        cell,
        tmp_path,
        potential="LJ",
        pairs={"Ar-Kr": {"epsilon": 0.0121, "sigma": 3.5}},
        pair_cutoff=12.0,
    )

    def energy(r, epsilon, sigma):
        return 4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6)

    expected = (
        energy(3.8, 0.0104, 3.40)
        + energy(4.1, 0.0121, 3.5)
        + energy(np.hypot(3.8, 4.1), 0.0121, 3.5)
    )
    assert result.energy_ev == pytest.approx(expected, abs=1e-9)
    assert result.labels["potential"] == "lj/cut"


def test_reaxff_comes_back_in_our_units(engine, tmp_path):
    """Forces (kcal/mol/Å inside) against differences of energies; charges are equilibrated."""
    water = Structure(
        lattice=np.diag([10.0, 10, 10]),
        species=("O", "H", "H"),
        frac_coords=np.array([[5, 5, 5], [5.80, 5.59, 5], [4.24, 5.59, 5.0]]) / 10,
    )
    kwargs = {"potential": "ffield.reax.cho"}
    here = single_point(engine, water, tmp_path / "0", **kwargs)
    assert -12 < here.energy_ev < -8  # 237 kcal/mol
    energies = []
    for sign in (1, -1):
        coords = water.frac_coords.copy()
        coords[1, 0] += sign * 1e-4
        s = Structure(lattice=water.lattice, species=water.species, frac_coords=coords)
        energies.append(single_point(engine, s, tmp_path / f"{sign}", **kwargs).energy_ev)
    assert here.forces[1][0] == pytest.approx(-(energies[0] - energies[1]) / 2e-3, rel=0.02)
    with pytest.raises(InvalidInputError, match="not stable"):
        engine.validate(water, {**kwargs, "workflow": "MD_NVT_LAMMPS", "timestep": 1.0})


@pytest.mark.parametrize(
    ("structure", "potential"),
    [
        (zincblende(5.43, "Si", "Si"), "Si.sw"),
        (fcc(3.52, "Ni"), "Ni.meam"),
        (fcc(3.52, "Ni"), "Ni_u3.eam"),
        (fcc(3.57, "Ni"), "NiAlH_jea.eam.fs"),
        (zincblende(3.567, "C", "C"), "CH.airebo"),
        (zincblende(5.43, "Si", "Si"), "Si.edip"),
        (fcc(4.05, "Al"), "AlCu.adp"),
        (fcc(3.615), "Cu_Zuo_JPCA2020.snap"),
        (fcc(4.2, "Ta"), "Ta06A.snap"),
        (zincblende(5.87, "In", "P"), "InP_JCPA2020.snap"),
        (fcc(4.3, "Nb"), "Nb.uf3"),
        (zincblende(4.36, "Si", "C"), "SiC.meam"),
        (zincblende(4.36, "Si", "C"), "SiC.vashishta"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.formula,
)
def test_every_kind_of_file_runs(engine, tmp_path, structure, potential):
    result = single_point(engine, structure, tmp_path, potential=potential)
    assert -12 < result.values["energy_ev_per_atom"] < 0
    assert (tmp_path / "input" / potential).is_file()
    assert result.provenance.weights_sha256 in result.provenance.inputs_sha256.values()


def test_hybrid_overlay_adds_and_exclusive_separates(engine, tmp_path):
    silicon = zincblende(5.43, "Si", "Si")
    alone = single_point(engine, silicon, tmp_path / "a", potential="Si.sw")
    core = {"potential": "zbl", "inner": 2.0, "outer": 3.0}
    both = single_point(engine, silicon, tmp_path / "b", hybrid=[{"potential": "Si.sw"}, core])
    assert both.energy_ev > alone.energy_ev + 1
    pair = {"Cu-Si": {"epsilon": 0.05, "sigma": 2.4}}
    mixed = zincblende(5.0, "Cu", "Si")
    parts = [{"potential": COPPER}, {"potential": "Si.sw"}, {"potential": "lj/cut", "pairs": pair}]
    result = single_point(engine, mixed, tmp_path / "c", hybrid=parts, hybrid_mode="exclusive")
    assert result.labels["pair_style"].startswith("hybrid eam/alloy sw lj/cut")
    with pytest.raises(InvalidInputError, match="Si-Cu"):
        engine.validate(mixed, {"workflow": "SINGLE_POINT_LAMMPS", "hybrid": parts[:2]})
    with pytest.raises(InvalidInputError, match="Two potentials"):
        engine.validate(
            silicon,
            {
                "workflow": "SINGLE_POINT_LAMMPS",
                "hybrid": [{"potential": "Si.sw"}, {"potential": "Si.tersoff"}],
                "hybrid_mode": "exclusive",
            },
        )


def test_a_core_takes_no_pair_from_a_potential_unless_it_is_added(engine):
    core = {"potential": "zbl", "elements": ["Al"]}
    asked = {"hybrid": [{"potential": "AlCu.eam.alloy"}, core]}
    alloy = zincblende(5.0, "Al", "Cu")
    engine.validate(alloy, asked)
    with pytest.raises(InvalidInputError, match="Two potentials act on Al-Al"):
        engine.validate(alloy, {**asked, "hybrid_mode": "exclusive"})
    with pytest.raises(InvalidInputError, match="does not cover Cu-Cu"):
        engine.validate(fcc(), {"hybrid": [{"potential": "zbl"}]})


def test_a_part_of_a_hybrid_is_known_by_its_other_name():
    parts = [
        {"potential": name, "pairs": {"Ar-Ar": {"epsilon": 0.0104, "sigma": 3.4}}}
        for name in ("LJ", "lj/cut")
    ]
    first, second = (
        interactions(["Ar"], NVTParameters(hybrid=[part, {"potential": "zbl"}])) for part in parts
    )
    assert first == second
    assert first.name == "lj/cut+zbl"


def test_snap_by_its_files_is_the_shipped_script(engine, tmp_path):
    config = {
        "descriptor_type": "SNAP",
        "files": {"coefficients": "Ta06A.snapcoeff", "parameters": "Ta06A.snapparam"},
        "params": {"zbl_inner": 4, "zbl_outer": 4.8},
    }
    tantalum = fcc(4.2, "Ta")
    named = single_point(engine, tantalum, tmp_path / "a", potential="Ta06A.snap")
    given = single_point(engine, tantalum, tmp_path / "b", ml_potential_config=config)
    assert given.energy_ev == pytest.approx(named.energy_ev, abs=1e-9)
    with pytest.raises(InvalidInputError, match="Cu"):
        engine.validate(fcc(), {"ml_potential_config": config})


SNAP = {
    "descriptor_type": "SNAP",
    "files": {
        "coefficients": "Si_Zuo_JPCA2020.snapcoeff",
        "parameters": "Si_Zuo_JPCA2020.snapparam",
    },
}
POD = {
    "descriptor_type": "POD",
    "files": {"coefficients": "Ta_coeff.pod", "parameters": "Ta_param.pod"},
}
UF3 = {"descriptor_type": "UF3", "files": {"coefficients": "Nb.uf3"}}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({**SNAP, "elements": ["Ge"]}, "only Ge"),
        ({**SNAP, "elements": ["Si", "Ge"]}, "not for Ge"),
        ({**SNAP, "params": {"zbl_inner": 5, "zbl_outer": 2}}, "from 5 to 2"),
        ({**SNAP, "params": {"zbl_inner": 5}}, "from 5 to 4.8"),
        ({**SNAP, "params": {"zbl_outer": float("nan")}}, "zbl_outer"),
        ({**POD, "elements": ["Si"]}, "Ta_param.pod does not cover Si"),
        ({**UF3, "elements": ["Si"]}, "Nb.uf3 does not cover Si"),
        ({"descriptor_type": "CHGNet", "elements": ["Ge"]}, "only Ge"),
        ({"descriptor_type": "CHGNet", "elements": ["Si", "Og"]}, "Og"),
        ({"descriptor_type": "CHGNet", "params": {"zbl_inner": 1}}, "zbl_inner"),
        ({"descriptor_type": "MACE", "files": {"coefficients": "a.model"}}, "takes no files"),
    ],
)
def test_a_learned_potential_that_contradicts_itself_is_refused(engine, config, words):
    silicon = zincblende(5.43, "Si", "Si")
    with pytest.raises(InvalidInputError, match=words):
        engine.validate(silicon, {"workflow": "SINGLE_POINT_LAMMPS", "ml_potential_config": config})


def test_elements_of_learned_potentials_are_read_from_their_files(engine):
    for element, config in (("Si", SNAP), ("Ta", POD), ("Nb", UF3)):
        for elements in ([], [element]):
            engine.validate(
                fcc(4.2, element), {"ml_potential_config": {**config, "elements": elements}}
            )


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"potential": "zbl", "inner": 3, "outer": 1}, "from 3 to 1"),
        ({"potential": "zbl", "elements": ["Ge"]}, "no element of the structure"),
        (
            {"potential": "lj/cut", "pairs": {"Ge-Ge": {"epsilon": 0.1, "sigma": 2}}},
            "no element of the structure",
        ),
    ],
)
def test_a_part_of_a_hybrid_that_cannot_act_is_refused(engine, part, words):
    hybrid = [{"potential": "Si.sw"}, part]
    with pytest.raises(InvalidInputError, match=words):
        engine.validate(zincblende(5.43, "Si", "Si"), {"hybrid": hybrid})


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "error", "words"),
    [
        ({}, InvalidInputError, "No potential"),
        ({"potential": "Cu_mishin.eam.alloy"}, NotFoundError, COPPER),
        ({"potential": "Si.sw"}, InvalidInputError, "does not cover Cu"),
        ({"potential": "SiC_1994.tersoff"}, InvalidInputError, "does not cover Cu"),
        ({"potential": "../../etc/passwd"}, InvalidInputError, "no name of a potential"),
        ({"potential": "/etc/passwd"}, InvalidInputError, "no name of a potential"),
        ({"potential": "NiO.eam.fs"}, InvalidInputError, "variable charges"),
        ({"potential": "README"}, InvalidInputError, "format"),
        ({"potential": "x" * 2000}, InvalidInputError, "no name of a potential"),
        ({"potential": "LJ"}, InvalidInputError, "does not cover"),
        ({"potential": COPPER, "repeats": [1, 1, 1]}, InvalidInputError, "One atom"),
        ({"potential": COPPER, "repeats": [100, 100, 100]}, InvalidInputError, "atoms"),
        ({"potential": COPPER, "repeats": [9999, 9999, 9999]}, InvalidInputError, "atoms"),
        ({"potential": COPPER, "temperature": -1}, InvalidInputError, "temperature"),
        ({"potential": COPPER, "timestep": 500}, InvalidInputError, "timestep"),
        ({"potential": COPPER, "thermostat_damping": inf}, InvalidInputError, "damping"),
        ({"potential": COPPER, "thermostat_damping": 1e9}, InvalidInputError, "damping"),
        (
            {"ml_potential_config": {"descriptor_type": "SNAP", "params": {"zbl_inner": inf}}},
            InvalidInputError,
            "zbl_inner",
        ),
        ({"potential": COPPER, "temperature": 1e-300}, InvalidInputError, "temperature"),
        ({"potential": COPPER, "equilibration_steps": 10_000}, InvalidInputError, "nothing"),
        ({"potential": COPPER, "dump_interval": 20_000}, InvalidInputError, "leaves no frame"),
        (
            {"potential": COPPER, "repeats": [30, 30, 30], "rdf_cutoff": 30.0},
            InvalidInputError,
            "pairs of atoms within 30 Å",
        ),
        (
            {"potential": COPPER, "equilibration_steps": 9000, "dump_interval": 6000},
            InvalidInputError,
            "leaves no frame",
        ),
        (
            {"potential": COPPER, "num_steps": 10**8, "dump_interval": 1},
            InvalidInputError,
            "trajectory",
        ),
        ({"potential": COPPER, "thermo_interval": 10**30}, InvalidInputError, "thermo_interval"),
        ({"potential": COPPER, "thermo_interval": 10**5}, InvalidInputError, "longer than the run"),
        ({"potential": COPPER, "restart_interval": 10**10}, InvalidInputError, "restart_interval"),
        (
            {"potential": COPPER, "num_steps": 10**8, "thermo_interval": 1},
            InvalidInputError,
            "samples",
        ),
        (
            {
                "potential": COPPER,
                "num_steps": 10**6,
                "repeats": [50, 50, 50],
                "analysis": ["vdos"],
                "vdos_duration": 100,
                "dump_interval": 10**6,
            },
            InvalidInputError,
            "trajectory",
        ),
        ({"potential": COPPER, "timestep": 1e-9}, InvalidInputError, "timestep"),
        ({"potential": COPPER, "hybrid": [{"potential": COPPER}]}, InvalidInputError, "one of"),
        (
            {"ml_potential_config": {"descriptor_type": "MAGIC"}},
            InvalidInputError,
            "MAGIC",
        ),
        (
            {
                "ml_potential_config": {
                    "descriptor_type": "ACE",
                    "elements": ["Cu"],
                    "files": {"coefficients": "Cu-PBE-core-rep.ace"},
                }
            },
            UnavailableError,
            "pace",
        ),
    ],
    ids=lambda value: next(iter(value), "none") if isinstance(value, dict) else None,
)
def test_refused_before_anything_is_written(engine, tmp_path, parameters, error, words):
    with pytest.raises(error) as caught:
        engine.run(fcc(), {"workflow": "MD_NVT_LAMMPS", **parameters}, tmp_path)
    assert words in f"{caught.value.message} {caught.value.hint}"
    assert list(tmp_path.iterdir()) == []


def test_a_ramp_that_is_cut_for_velocities_goes_on(engine):
    asked = {
        "workflow": "MD_ANNEAL_LAMMPS",
        "potential": COPPER,
        "equilibration_steps": 0,
        "analysis": ["vdos"],
    }
    parameters = engine.validate(fcc(), asked)
    potential = interactions(["Cu"], parameters)
    script = input_script(fcc(), potential, parameters)
    runs = [line for line in script.splitlines() if line.startswith("run ")]
    assert runs == [
        "run 2000 upto start 0 stop 2000",
        "run 4000 upto start 2000 stop 4000",
        "run 5000 upto start 4000 stop 8000",
        "run 8000 upto start 4000 stop 8000",
        "run 10000 upto start 8000 stop 10000",
    ]
    rest = resume_script(potential, parameters, restart="restart.4500.lammps", step=4500, part=1)
    assert runs[2:] == [line for line in rest.splitlines() if line.startswith("run ")]


def test_nequip_is_run_with_newton_off(tmp_path, monkeypatch):
    (tmp_path / "cu.nequip.pth").write_bytes(b"weights")
    monkeypatch.setenv("NANO_OS_LAMMPS_POTENTIAL_DIR", str(tmp_path))
    config = MLPotentialConfig(
        descriptor_type="NequIP", elements=["Cu"], files={"coefficients": "cu.nequip.pth"}
    )
    parameters = NVTParameters(ml_potential_config=config)
    scripts = [
        input_script(fcc(), interactions(["Cu"], parameters), parameters),
        resume_script(
            interactions(["Cu"], parameters), parameters, restart="at.10", step=10, part=1
        ),
    ]
    for script in scripts:
        assert script.index("newton off") < script.index("read_")
    plain = NVTParameters(potential="Cu_u3.eam")
    assert "newton" not in input_script(fcc(), interactions(["Cu"], plain), plain)


def test_a_universal_potential_gets_no_more_atoms_than_by_its_own_engine(engine):
    for given in ({"potential": "CHGNet"}, {"ml_potential_config": {"descriptor_type": "CHGNet"}}):
        large = {**given, "repeats": [13, 13, 13]}
        with pytest.raises(InvalidInputError, match="2,197 atoms, more than 2,000") as caught:
            engine.validate(fcc(), large)
        assert "max_atoms" in str(caught.value.hint)
        assert engine.validate(fcc(), {**large, "max_atoms": 2197}).max_atoms == 2197
        with pytest.raises(InvalidInputError, match="max_atoms"):
            engine.validate(fcc(), {**large, "max_atoms": 10**6})
    engine.validate(fcc(), {"potential": COPPER, "repeats": [13, 13, 13]})


@pytest.mark.parametrize(
    "parameters",
    [
        {"analysis": [[]]},
        {"analysis": {"rdf": 1}},
        {"repeats": [10**9, 10**9, 10**9]},
        {"repeats": [0, 1, 1]},
        {"schedule": {"a": 1}},
        {"num_steps": float("inf")},
        {"schedule": [0, 0, 0, 0]},
    ],
)
def test_values_of_a_wrong_kind_are_refused(engine, parameters):
    with pytest.raises(InvalidInputError) as caught:
        engine.validate(fcc(), {"workflow": "MD_ANNEAL_LAMMPS", "potential": COPPER, **parameters})
    assert next(iter(parameters)) in caught.value.message


def test_an_interval_is_refused_only_where_something_is_missing(engine, tmp_path):
    """The last step is always sampled, vdos has frames of its own, and step 0 is written."""
    late = {
        "potential": COPPER,
        "repeats": [2, 2, 2],
        "num_steps": 50,
        "equilibration_steps": 40,
        "thermo_interval": 30,
        "dump_interval": 30,
        "analysis": [],
    }
    result = engine.run(fcc(), late, tmp_path / "late")
    assert result.values["n_samples"] == 1
    engine.validate(fcc(), {**late, "analysis": ["vdos"]})
    first = {**late, "equilibration_steps": 0, "dump_interval": 50, "analysis": ["rdf"]}
    result = engine.run(fcc(), first, tmp_path / "first")
    assert "coordination_cu_cu" in result.values


def test_an_analysis_named_twice_is_made_once(engine):
    chosen = engine.validate(fcc(), {"potential": COPPER, "analysis": ["msd", "rdf", "msd"]})
    assert chosen.analysis == ("msd", "rdf")


def test_the_hint_names_what_covers_the_structure(engine):
    with pytest.raises(InvalidInputError) as caught:
        engine.validate(fcc(), {})
    assert COPPER in str(caught.value.hint)
    assert "CHGNet" in str(caught.value.hint)


def test_a_missing_program_is_said(engine):
    set_program("/no/such/lmp", None)
    try:
        with pytest.raises(UnavailableError) as caught:
            engine.validate(fcc(), {"potential": COPPER})
    finally:
        set_program(None, None)
    assert caught.value.error_code == "no_lammps"
    assert find_program().version.startswith("22 Jul 2025")


# -- while it runs -------------------------------------------------------------------------------

LONG = {"workflow": "MD_NVT_LAMMPS", "potential": COPPER, "num_steps": 5_000_000}


def test_cancel_ends_the_program_within_two_seconds(engine, tmp_path):
    class CancelError(Exception):
        pass

    told = []

    def progress(fraction, message):
        told.append((time.monotonic(), message))
        if "left" in message:
            raise CancelError

    with pytest.raises(CancelError):
        engine.run(fcc(), {**LONG, "thermo_interval": 10}, tmp_path, progress=progress)
    assert time.monotonic() - told[-1][0] < 2
    assert running("in.lammps") == []
    assert "of 5,000,000" in told[-1][1]
    assert " K," in told[-1][1]


def test_frames_left_when_lammps_has_ended_are_taken_up_a_few_at_a_time(
    engine, tmp_path, monkeypatch
):
    class CancelError(Exception):
        pass

    def cancel(_fraction, message):
        if message == "reading the trajectory":
            raise CancelError

    add = PairCounts.add

    def slowly(self, *frame):
        time.sleep(0.01)
        add(self, *frame)

    monkeypatch.setattr(PairCounts, "add", slowly)
    monkeypatch.setattr(following, "_AT_ONCE_S", 0.0)
    short = {**LONG, "num_steps": 300, "dump_interval": 1, "repeats": [2, 2, 2]}
    told = []
    result = engine.run(fcc(), short, tmp_path / "whole", progress=lambda _f, m: told.append(m))
    assert "reading the trajectory" in told
    from ase.io import read

    frames = read(tmp_path / "whole" / "output" / "trajectory.extxyz", index=":")
    assert len(frames) == 301
    assert result.values["n_atoms"] == 8
    with pytest.raises(CancelError):
        engine.run(fcc(), short, tmp_path / "cut", progress=cancel)


def test_killed_from_outside_is_worth_another_attempt(engine, tmp_path):
    def kill():
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for child in running("in.lammps"):
                child.kill()
                return
            time.sleep(0.02)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(TransientError) as caught:
        engine.run(fcc(), LONG, tmp_path)
    killer.join()
    assert caught.value.error_code == "killed"
    assert "signal 9" in caught.value.message
    assert "taken up" not in caught.value.hint, "it had saved nothing"


def test_a_killed_run_that_has_a_restart_file_says_that_it_goes_on(engine, tmp_path):
    def kill(_fraction, _message):
        if list(tmp_path.glob("output/restart.*")):
            for child in running("in.lammps"):
                child.kill()

    with pytest.raises(TransientError, match="signal 9") as caught:
        engine.run(fcc(), {**LONG, "restart_interval": 1000}, tmp_path, progress=kill)
    assert "can be taken up again" in caught.value.hint


def test_atoms_that_fly_apart_are_a_failure_with_its_reason(engine, tmp_path):
    hot = perturbed(
        Structure(lattice=3.615 * np.eye(3), species=("Cu",) * 4, frac_coords=FCC_SITES), 0.9
    )
    with pytest.raises(EngineError) as caught:
        engine.run(
            hot,
            {"potential": COPPER, "timestep": 10, "num_steps": 2000, "temperature": 40_000},
            tmp_path,
        )
    assert caught.value.error_code in {"lost_atoms", "not_finite"}
    assert "timestep" in str(caught.value.hint)


def test_the_state_that_a_run_failed_in_is_not_taken_up(engine, tmp_path):
    hot = perturbed(
        Structure(lattice=3.615 * np.eye(3), species=("Cu",) * 4, frac_coords=FCC_SITES), 0.9
    )
    parameters = {
        "potential": COPPER,
        "timestep": 10,
        "num_steps": 2000,
        "temperature": 40_000,
        "restart_interval": 1,
    }
    for _ in range(2):
        with pytest.raises(EngineError):
            engine.run(hot, parameters, tmp_path)
        assert list((tmp_path / "output").glob("restart.*")), "or this test shows nothing"
    assert not list((tmp_path / "output").glob("resume.*"))


FCC_SITES = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]


def test_a_minimisation_that_does_not_converge_is_a_failure(engine, tmp_path):
    start = perturbed(zincblende(4.6, "Si", "C"), 0.2)
    parameters = {
        "workflow": "MINIMIZE_LAMMPS",
        "potential": "SiC_1994.tersoff",
        "max_steps": 1,
        "fmax": 1e-5,
    }
    with pytest.raises(EngineError) as caught:
        engine.run(start, parameters, tmp_path)
    assert caught.value.error_code == "not_converged"
    assert caught.value.details["max_force_ev_a"] > 1e-5


def test_a_relaxed_cell_takes_no_more_iterations_than_allowed(engine, tmp_path):
    told = []
    parameters = {
        "workflow": "MINIMIZE_LAMMPS",
        "potential": COPPER,
        "relax_cell": "isotropic",
        "pressure": -1e7,
        "max_steps": 60,
    }
    with pytest.raises(EngineError, match="Not converged"):
        engine.run(fcc(), parameters, tmp_path, progress=lambda _, message: told.append(message))
    assert read_log(tmp_path / "output" / "log.0.lammps").step == 60
    assert not [message for message in told if ", -" in message]


def test_a_minimisation_knows_no_share_until_it_ends(engine, tmp_path):
    told = []
    parameters = {"workflow": "MINIMIZE_LAMMPS", "potential": "SiC_1994.tersoff"}
    start = perturbed(zincblende(4.4, "Si", "C"), 0.1)
    engine.run(start, parameters, tmp_path, progress=lambda *report: told.append(report))
    *running, last = [report for report in told if "reading" not in report[1]]
    assert {share for share, _ in running} == {0.0}
    assert any("of at most 10,000" in message for _, message in running)
    assert last[0] == 1.0


RESUMED = {
    "workflow": "MD_NVT_LAMMPS",
    "potential": COPPER,
    "num_steps": 3000,
    "restart_interval": 500,
    "repeats": [3, 3, 3],
    "thermo_interval": 7,
    "dump_interval": 30,
    "analysis": ["rdf", "vdos"],
    "vdos_duration": 2.0,
}


@pytest.mark.parametrize("newest", ["whole", "half written"])
def test_a_run_killed_with_its_parent_goes_on_from_its_restart_file(newest, engine, tmp_path):
    whole = engine.run(fcc(), RESUMED, tmp_path / "whole")
    folder = tmp_path / "cut"
    input_dir = engine.prepare_input(fcc(), RESUMED, folder)
    output_dir = folder / "output"
    child = subprocess.Popen(
        [sys.executable, "-m", "nanoos.engines.lammps", str(input_dir), str(output_dir)],
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not list(output_dir.glob("restart.1*.lammps")):
        assert time.monotonic() < deadline
        assert child.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    if newest == "half written":
        (last,) = output_dir.glob("restart.1*.lammps")
        last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    told = []
    result = engine.run(fcc(), RESUMED, folder, progress=lambda f, m: told.append((f, m)))
    assert result.labels["resumed"] == "1 times"
    assert "output/resume.1.lammps" in result.files
    assert min(f for f, m in told if "of 3,000" in m) >= 0.98 * 500 / 3000 * 0.99
    assert result.series["step"] == whole.series["step"]
    # the restart file holds the state exactly: the same motion up to chaos and rounding
    early = np.array(whole.series["step"]) < 1500
    np.testing.assert_allclose(
        np.array(result.series["temperature_k"])[early],
        np.array(whole.series["temperature_k"])[early],
        rtol=1e-3,
    )
    from ase.io import read

    frames = read(output_dir / "trajectory.extxyz", index=":")
    assert [frame.info["time_fs"] for frame in frames] == list(range(0, 3001, 30))
    assert "vdos_mean_frequency_thz" in result.values
    assert not list(output_dir.glob("restart.*"))


def test_the_input_runs_by_hand(engine, tmp_path):
    result = engine.run(
        fcc(), {"workflow": "MD_NVT_LAMMPS", "potential": COPPER, "num_steps": 50}, tmp_path
    )
    program = find_program()
    subprocess.run(
        [*program.command, "-in", "in.lammps"],
        cwd=tmp_path / "input",
        env=program.environment(),
        check=True,
        capture_output=True,
    )
    by_hand = read_log(tmp_path / "input" / "log.0.lammps")
    assert by_hand.rows[-1][2] == pytest.approx(result.energy_ev, abs=1e-6)


# -- dynamics ------------------------------------------------------------------------------------


def test_averages_leave_out_the_equilibration_and_say_their_errors(engine, tmp_path):
    parameters = {
        "workflow": "MD_NVT_LAMMPS",
        "potential": COPPER,
        "num_steps": 1500,
        "equilibration_steps": 500,
        "repeats": [4, 4, 4],
        "temperature": 400,
        "thermo_interval": 5,
    }
    result = engine.run(fcc(), parameters, tmp_path)
    temperatures = np.array(result.series["temperature_k"])
    kept = np.array(result.series["step"]) >= 500
    assert result.values["avg_temperature_k"] == pytest.approx(temperatures[kept].mean(), rel=1e-9)
    assert result.values["avg_temperature_k"] == pytest.approx(400, abs=30)
    naive = temperatures[kept].std() / np.sqrt(kept.sum())
    assert result.values["avg_temperature_error_k"] > 1.5 * naive  # samples are correlated
    kinetic = result.values["avg_kinetic_energy_ev_per_atom"] * 64 / 63  # 3N - 3 freedoms
    expected = 1.5 * BOLTZMANN_EV_K * result.values["avg_temperature_k"]
    assert kinetic == pytest.approx(expected, rel=1e-4)
    assert result.values["coordination_cu_cu"] == pytest.approx(12, abs=0.05)
    assert any("does not diffuse" in warning for warning in result.warnings)
    stress = -np.trace(result.stress) / 3 * GPA_PER_EV_A3
    assert stress == pytest.approx(result.values["pressure_gpa"], abs=1e-6)
    for name in ("thermo.csv", "rdf.csv", "rdf.svg", "msd.csv", "msd.svg", "thermo.svg"):
        assert f"output/{name}" in result.files


def test_estimates_are_of_the_supercell(engine):
    small = engine.estimate_seconds(
        fcc(), {"potential": COPPER, "repeats": [2, 2, 2], "num_steps": 10**6}
    )
    large = engine.estimate_seconds(
        fcc(), {"potential": COPPER, "repeats": [4, 4, 4], "num_steps": 10**6}
    )
    assert large > 4 * small
