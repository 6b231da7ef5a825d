"""The MLIP engine on real potentials: numbers that a materials scientist would check."""

import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest

from nanoos.core.errors import NotFoundError
from nanoos.engines import get_engine
from nanoos.structures import Structure
from nanoos.testing import EngineContract
from nanoos.testing.crystals import rocksalt, wurtzite


class TestMLIP(EngineContract):
    name = "MLIP"
    quick: ClassVar = {
        "relax": {},
        "single_point": {},
        "equation_of_state": {},
        "elastic": {"strain_points": 2},
        "phonons": {"min_length": 4.0, "mesh_length": 10},
        "md": {"num_steps": 10, "min_length": 4.0, "analysis": []},
    }


@pytest.fixture(scope="module")
def engine():
    return get_engine("MLIP")()


def fcc_like(a, species, coords):
    lattice = 0.5 * a * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return Structure(lattice=lattice, species=species, frac_coords=np.array(coords))


def copper(a=3.5):
    return fcc_like(a, ("Cu",), [[0.0] * 3])


def silicon(a=5.6):
    return fcc_like(a, ("Si", "Si"), [[0.0] * 3, [0.25] * 3])


# PBE (Materials Project): lattice constant within 1.5 %, bulk modulus within what the
# published softening of these potentials allows
@pytest.mark.parametrize(
    ("structure", "a", "bulk_gpa", "tolerance"),
    [
        (copper(), 3.63, 141, 0.15),
        (silicon(), 5.47, 89, 0.25),
        (rocksalt(4.4), 4.25, 152, 0.15),
    ],
    ids=["Cu", "Si", "MgO"],
)
@pytest.mark.parametrize("potential", ["CHGNet", "SevenNet"])
def test_lattice_constant_and_bulk_modulus(
    engine, tmp_path, potential, structure, a, bulk_gpa, tolerance
):
    result = engine.run(
        structure, {"workflow": "equation_of_state", "potential": potential}, tmp_path
    )
    cubic = (4 * result.structure.volume) ** (1 / 3)
    assert cubic == pytest.approx(a, rel=0.015)
    assert result.values["bulk_modulus_gpa"] == pytest.approx(bulk_gpa, rel=tolerance)
    assert result.values["fit_r2"] > 0.999
    assert abs(result.values["pressure_gpa"]) < 0.6


def test_wurtzite_keeps_its_symmetry_and_moves_its_coordinate(engine, tmp_path):
    result = engine.run(wurtzite(3.1, 5.4, 0.39), {"workflow": "relax"}, tmp_path)
    assert result.labels["space_group_after"] == "P6_3mc (186)"
    a, b, c = result.structure.lengths
    assert a == pytest.approx(b, abs=1e-4)
    assert a == pytest.approx(3.28, rel=0.02)
    assert c == pytest.approx(5.30, rel=0.02)
    assert result.values["max_force_ev_a"] <= 0.02
    assert result.values["formation_energy_ev_per_atom"] == pytest.approx(-1.8, abs=0.15)
    assert result.magmoms is not None


def test_by_hand_gives_the_same(engine, tmp_path):
    result = engine.run(copper(3.6), {"workflow": "relax", "potential": "LJ"}, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "nanoos.engines.mlip", "input", "again"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert engine.parse_output(tmp_path / "again").energy_ev == pytest.approx(result.energy_ev)
    assert result.provenance.command.endswith("-m nanoos.engines.mlip input output")


def test_refusing_does_not_load_torch():
    code = (
        "import sys\n"
        "from nanoos.engines import get_engine\n"
        "from nanoos.testing.crystals import rocksalt\n"
        "from nanoos.core.errors import InvalidInputError\n"
        "try:\n"
        "    get_engine('MLIP')().validate(rocksalt(5.0, 'Rn', 'O'), {'workflow': 'relax'})\n"
        "except InvalidInputError as error:\n"
        "    assert 'Rn' in error.message\n"
        "else:\n"
        "    raise SystemExit('not refused')\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_misspelt_potential(engine):
    with pytest.raises(NotFoundError, match="CHGNut") as caught:
        engine.validate(copper(), {"workflow": "relax", "potential": "CHGNut"})
    assert "CHGNet" in caught.value.hint
