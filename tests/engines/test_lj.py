"""The reference engine: everything about workflows that needs no network of weights."""

import csv
from typing import ClassVar

import numpy as np
import pytest

from nanoos.core.errors import EngineError, InvalidInputError
from nanoos.engines import get_engine
from nanoos.structures import Structure
from nanoos.testing import EngineContract
from nanoos.testing.crystals import perturbed, rocksalt, wurtzite


class TestLJ(EngineContract):
    name = "LJ"
    quick: ClassVar = {
        "relax": {},
        "single_point": {},
        "equation_of_state": {},
        "elastic": {"strain_points": 2},
        "phonons": {"min_length": 4.0, "mesh_length": 10},
        "md": {"num_steps": 10, "min_length": 4.0, "analysis": []},
    }


@pytest.fixture
def engine():
    return get_engine("LJ")()


def fcc(a, element="Cu"):
    lattice = 0.5 * a * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return Structure(lattice=lattice, species=(element,), frac_coords=np.zeros((1, 3)))


def test_starts_far_from_equilibrium_and_finds_it(engine, tmp_path):
    near = engine.run(fcc(3.6), {"workflow": "equation_of_state"}, tmp_path / "near")
    for start in (3.0, 4.4):
        far = engine.run(fcc(start), {"workflow": "equation_of_state"}, tmp_path / str(start))
        assert far.values["bulk_modulus_gpa"] == pytest.approx(
            near.values["bulk_modulus_gpa"], rel=0.01
        )
        assert far.structure.volume == pytest.approx(near.structure.volume, rel=1e-3)


def test_relaxation_and_equation_of_state_agree(engine, tmp_path):
    eos = engine.run(fcc(3.6), {"workflow": "equation_of_state"}, tmp_path / "eos")
    relaxed = engine.run(fcc(3.6), {"workflow": "relax", "fmax": 1e-4}, tmp_path / "relax")
    assert relaxed.structure.volume == pytest.approx(eos.structure.volume, rel=1e-3)
    assert relaxed.energy_ev == pytest.approx(eos.energy_ev, abs=1e-4)


def test_bulk_modulus_is_the_response_to_pressure(engine, tmp_path):
    eos = engine.run(fcc(3.8), {"workflow": "equation_of_state"}, tmp_path / "eos")
    pressure = 2.0
    squeezed = engine.run(
        fcc(3.8), {"workflow": "relax", "pressure_gpa": pressure, "fmax": 1e-4}, tmp_path / "p"
    )
    assert squeezed.values["pressure_gpa"] == pytest.approx(pressure, abs=0.05)
    change = 1 - squeezed.structure.volume / eos.structure.volume
    bulk, derivative = (eos.values[k] for k in ("bulk_modulus_gpa", "bulk_modulus_derivative"))
    expected = 1 - (1 + derivative * pressure / bulk) ** (-1 / derivative)  # Murnaghan
    assert change == pytest.approx(expected, rel=0.03)
    enthalpy = squeezed.values["enthalpy_ev_per_atom"]
    assert enthalpy > squeezed.values["energy_ev_per_atom"]


def test_symmetry_is_kept_while_everything_moves(engine, tmp_path):
    result = engine.run(wurtzite(3.0, 5.2, 0.36), {"workflow": "relax", "max_steps": 500}, tmp_path)
    assert result.labels["space_group_before"] == "P6_3mc (186)"
    a, b, c = result.structure.lengths
    assert a == pytest.approx(b, abs=1e-5)
    assert result.structure.angles == pytest.approx((90, 90, 120), abs=1e-3)
    assert result.values["max_displacement_a"] > 0.01
    assert c != pytest.approx(5.2, abs=0.01)


def test_without_symmetry_a_perturbed_crystal_returns_to_its_minimum(engine, tmp_path):
    parameters = {"workflow": "relax", "fmax": 1e-3, "keep_symmetry": False, "max_steps": 500}
    clean = engine.run(rocksalt(4.0), {"workflow": "relax", "fmax": 1e-3}, tmp_path / "clean")
    rough = engine.run(perturbed(rocksalt(4.0), 0.05), parameters, tmp_path / "rough")
    assert rough.energy_ev <= clean.energy_ev + 1e-3
    assert rough.labels["space_group_before"] == "P1 (1)"


def test_not_converged_is_an_error_with_the_numbers(engine, tmp_path):
    with pytest.raises(EngineError) as caught:
        engine.run(wurtzite(), {"workflow": "relax", "max_steps": 2, "fmax": 1e-4}, tmp_path)
    assert caught.value.error_code == "not_converged"
    assert caught.value.details["max_force_ev_a"] > 1e-4
    assert not (tmp_path / "output/result.json").exists()
    assert "failed: ZnO: not converged" in (tmp_path / "output/log.txt").read_text()


def test_no_minimum_in_reach_is_an_error(engine, tmp_path):
    with pytest.raises(EngineError) as caught:
        engine.run(
            fcc(4.4),
            {"workflow": "equation_of_state", "relax_first": False, "eos_strain": 0.03},
            tmp_path,
        )
    assert caught.value.error_code == "no_minimum"


def test_range_is_moved_once_and_said(engine, tmp_path):
    equilibrium = engine.run(fcc(3.8), {"workflow": "equation_of_state"}, tmp_path / "a")
    shifted = equilibrium.structure.scaled_to_volume(1.07 * equilibrium.structure.volume)
    result = engine.run(
        shifted,
        {"workflow": "equation_of_state", "relax_first": False},
        tmp_path / "b",
    )
    assert any("moved once" in warning for warning in result.warnings)
    assert result.values["bulk_modulus_gpa"] == pytest.approx(
        equilibrium.values["bulk_modulus_gpa"], rel=0.02
    )


def test_files_can_be_read_by_others(engine, tmp_path):
    from ase.io import read

    result = engine.run(wurtzite(3.0, 5.0), {"workflow": "equation_of_state"}, tmp_path)
    out = tmp_path / "output"
    for name in ("final.cif", "final.extxyz"):
        assert read(out / name).get_volume() == pytest.approx(result.structure.volume, rel=1e-4)
    frames = read(out / "trajectory.extxyz", index=":")
    energies = [frame.get_potential_energy() for frame in frames]
    assert energies == pytest.approx(result.series["step_energy_ev"], abs=1e-6)
    with (out / "eos.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 7
    assert float(rows[0]["volume_a3_per_atom"]) < result.values["equilibrium_volume_a3_per_atom"]


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({"workflow": "relax", "fmx": 0.1}, "fmax"),
        ({"workflow": "relax", "fmax": -1}, "fmax"),
        ({"workflow": "equation_of_state", "eos_points": 3}, "eos_points"),
        ({"workflow": "relax", "pressure_gpa": 5, "relax_cell": False}, "relax_cell"),
        ({"workflow": "relax", "potential": "CHGNet"}, "MLIP"),
    ],
)
def test_parameters_are_closed(engine, parameters, word):
    with pytest.raises(InvalidInputError) as caught:
        engine.validate(rocksalt(), parameters)
    assert word in f"{caught.value.message} {caught.value.hint}"
