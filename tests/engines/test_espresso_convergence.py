"""k-point convergence studies with the real pw.x."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from espresso_program import forget_espresso, use_espresso

from nanoos.core.errors import EngineError, InvalidInputError
from nanoos.engines import get_engine
from nanoos.engines.espresso import convergence
from nanoos.kpoints import kdist_from_length, mesh_of, studies
from nanoos.kpoints.studies import study_lengths
from nanoos.services.kpoint_studies import study_of
from nanoos.structures import Structure

CHEAP = {
    "workflow": "kpoint_convergence",
    "ecutwfc_ry": 10,
    "conv_thr_ry_per_atom": 1e-6,
    "tolerance_ev": 0.2,
    "max_length_a": 40,
}


LITHIUM = Structure(
    lattice=1.755 * np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]),
    species=("Li",),
    frac_coords=np.zeros((1, 3)),
)


def crystal(symbol: str, a: float) -> Structure:
    """Diamond."""
    lattice = 0.5 * a * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    coords = np.array([[0.0] * 3, [0.25] * 3])
    return Structure(lattice=lattice, species=(symbol,) * 2, frac_coords=coords)


@pytest.fixture(scope="module", autouse=True)
def _espresso(shared, tmp_path_factory):
    use_espresso(shared, tmp_path_factory.mktemp("pseudos"))
    yield
    forget_espresso()


@pytest.fixture(scope="module")
def engine():
    return get_engine("QE")()


def test_a_killed_study_goes_on_and_says_how_the_prediction_did(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "CONFIRMING_A", 10.0)

    class Killed(BaseException):
        pass

    started = []

    def kill_at_the_third(_fraction, message):
        if message.endswith("starting"):
            started.append(message)
        if len(started) > 2:
            raise Killed

    silicon = crystal("Si", 5.43)
    with pytest.raises(Killed):
        engine.run(silicon, CHEAP, tmp_path, progress=kill_at_the_third)
    output = tmp_path / "output"
    finished = {p.name: p.stat().st_mtime_ns for p in output.glob("*.done.json")}
    assert len(finished) == 2
    result = engine.run(silicon, CHEAP, tmp_path)
    assert {name: (output / name).stat().st_mtime_ns for name in finished} == finished

    length = result.values["converged_length_a"]
    lengths = result.series["length_a"]
    assert list(lengths) == list(study_lengths(length + 10))
    study = study_of(result.as_dict(), silicon)
    assert study.converged_length == length
    assert study.tolerance_ev == 0.2
    for one in study.energies:
        assert one.divisions == mesh_of(silicon, kdist_from_length(one.length)).divisions
    at = lengths.index(length)
    assert result.energy_ev == result.series["energy_ev"][at]
    assert max(abs(e - result.energy_ev) for e in result.series["energy_ev"][at:]) <= 0.2
    assert {"output/kpoint_convergence.csv", "output/kpoint_convergence.png"} <= set(result.files)
    with (output / "kpoint_convergence.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["energy_ev"]) for row in rows] == list(result.series["energy_ev"])
    assert (output / "kpoint_convergence.png").read_bytes().startswith(b"\x89PNG")
    assert result.values["prediction_holds"] in (0.0, 1.0)
    assert "RF" in result.labels["prediction"]
    last = max(study.energies, key=lambda one: one.length).divisions
    text = (output / f"mesh-{'x'.join(str(n) for n in last)}.in").read_text()
    assert "startingpot = 'file'" in text, "each mesh begins with the density of the one before"


def test_what_cannot_be_studied_is_refused(engine, tmp_path):
    with pytest.raises(InvalidInputError, match="its own meshes"):
        engine.validate(crystal("Si", 5.43), {**CHEAP, "kdist": 0.2})
    with pytest.raises(InvalidInputError):
        engine.validate(crystal("Si", 5.43), {**CHEAP, "remedies": "all"})
    molecule = Structure(
        lattice=np.eye(3) * 12.0,
        species=("N", "N"),
        frac_coords=np.array([[0.0] * 3, [0.09, 0, 0]]),
    )
    with pytest.raises(InvalidInputError, match="vacuum in every direction") as caught:
        engine.validate(molecule, CHEAP)
    assert caught.value.error_code == "nothing_to_converge"
    assert list(tmp_path.iterdir()) == []


def test_an_unconverged_study_is_a_failure_with_its_energies(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(convergence, "study_lengths", lambda _: iter((5.0, 10.0)))
    with pytest.raises(EngineError, match="still changes by") as caught:
        engine.run(crystal("Si", 5.43), {**CHEAP, "tolerance_ev": 1e-6}, tmp_path)
    assert caught.value.error_code == "kpoints_not_converged"
    assert caught.value.details["lengths_a"] == [5.0, 10.0]
    assert len(caught.value.details["energies_ev"]) == 2
    assert not (tmp_path / "output" / "result.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("structure", "shortest", "longest"),
    [(crystal("Si", 5.43), 25, 40), (LITHIUM, 30, 50)],
    ids=["Si", "Li"],
)
def test_a_study_with_the_criterion_of_the_labels(engine, tmp_path, structure, shortest, longest):
    result = engine.run(structure, {"workflow": "kpoint_convergence"}, tmp_path, timeout=3000)
    length = result.values["converged_length_a"]
    assert shortest <= length <= longest
    assert study_of(result.as_dict(), structure).converged_length == length
    energies = np.array(result.series["energy_ev"])
    assert abs(energies[0] - energies[-1]) > 0.01, "the coarsest mesh is far from converged"


def test_with_spins_each_mesh_begins_anew(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "CONFIRMING_A", 5.0)
    for spin, taken in (("none", True), ("polarised", False)):
        engine.run(LITHIUM, {**CHEAP, "tolerance_ev": 1.0, "spin": spin}, tmp_path / spin)
        inputs = [path.read_text() for path in (tmp_path / spin / "output").glob("mesh-*.in")]
        assert len(inputs) > 1
        assert any("startingpot" in text for text in inputs) == taken
