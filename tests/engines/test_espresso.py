"""pw.x for real, on two atoms of silicon with absurdly low cutoffs: seconds, not physics."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read as ase_read
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).parent))
from espresso_program import forget_espresso, use_espresso

from nanoos.core.errors import EngineError, InvalidInputError, TransientError, UnavailableError
from nanoos.engines import get_engine
from nanoos.engines.child_process import Clock
from nanoos.engines.espresso import remedies, runner, stages
from nanoos.engines.espresso.program import find_program, set_command
from nanoos.engines.espresso.remedies import Remedy
from nanoos.engines.espresso.saved_stages import SCRATCH
from nanoos.engines.espresso.stdout import PwOutput
from nanoos.engines.espresso.xml_output import read_pw_xml
from nanoos.pseudopotentials import get_family
from nanoos.pseudopotentials.tails import with_coulomb_tail
from nanoos.structures import Structure
from nanoos.testing import EngineContract
from nanoos.testing.processes import running

CHEAP = {"ecutwfc_ry": 12, "kmesh": [2, 2, 2], "conv_thr_ry_per_atom": 1e-7}


def silicon(a=5.5, offset=0.0) -> Structure:
    lattice = 0.5 * a * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    coords = np.array([[0.0] * 3, [0.25 + offset, 0.25, 0.25]])
    return Structure(lattice=lattice, species=("Si", "Si"), frac_coords=coords)


@pytest.fixture(scope="module", autouse=True)
def _espresso(shared, tmp_path_factory):
    use_espresso(shared, tmp_path_factory.mktemp("pseudos"))
    yield
    forget_espresso()


class TestEspresso(EngineContract):
    """Workflows of a start or two."""

    name = "QE"
    quick: ClassVar = {"scf": CHEAP, "nscf": {**CHEAP, "dense_kdist": 1.3}}
    elsewhere: ClassVar = frozenset(
        ("relax", "vc_relax", "bands", "dos", "equation_of_state", "kpoint_convergence")
    )

    @pytest.fixture(scope="class")
    @classmethod
    def structure(cls) -> Structure:
        return silicon()

    def test_provenance_names_pseudopotentials_and_level(self, runs):
        folder, result, _ = runs["scf"]
        parameters = result.provenance.parameters
        assert parameters["level_of_theory"]["functional"] == "PBE"
        assert "PseudoDojo" in parameters["level_of_theory"]["reference"]
        name, sha256 = parameters["pseudopotentials"]["files"]["Si"]
        family = get_family("PseudoDojo-0.4.1-PBE-SR-standard")
        installed = family.verified_bytes("Si")
        assert hashlib.sha256(installed).hexdigest() == sha256
        used = (folder / "input" / name).read_bytes()
        assert used == with_coulomb_tail(installed, 4)
        assert result.provenance.inputs_sha256[name] == hashlib.sha256(used).hexdigest()
        assert parameters["pseudopotentials"]["coulomb_tails"] == ["Si"]
        assert parameters["level_of_theory"]["reference"].endswith("Coulomb tails, 12 Ry")
        assert result.provenance.software["quantum-espresso"]
        assert result.labels["why_spin"]
        assert not (folder / "output" / SCRATCH).exists()

    def test_the_gap_on_the_dense_mesh(self, runs):
        _, nscf, _ = runs["nscf"]
        assert nscf.values["direct_gap_ev"] >= nscf.values["band_gap_ev"] > 0.3


@pytest.mark.slow
class TestEspressoWorkflows(EngineContract):
    """The others, of many starts."""

    name = "QE"
    quick: ClassVar = {
        "relax": CHEAP,
        "vc_relax": {**CHEAP, "pressure_tolerance_gpa": 0.5, "energy_tolerance_ev": 0.01},
        "bands": {**CHEAP, "band_points": 5},
        "dos": {**CHEAP, "dense_kdist": 1.3, "dos_step_ev": 0.1},
        "equation_of_state": {**CHEAP, "eos_points": 5, "eos_strain": 0.15},
        "kpoint_convergence": {"ecutwfc_ry": 12, "tolerance_ev": 0.2, "max_length_a": 60},
    }
    elsewhere: ClassVar = frozenset(("scf", "nscf"))

    @pytest.fixture(scope="class")
    @classmethod
    def structure(cls) -> Structure:
        return silicon()

    def test_gap_and_bands(self, runs):
        folder, bands, _ = runs["bands"]
        assert bands.labels["path"]
        assert bands.values["band_gap_ev"] > 0.3
        assert bands.values["gap_is_direct"] == 0.0
        assert bands.labels["valence_top_at"] == "G"
        lines = (folder / "output" / "bands.csv").read_text().splitlines()
        assert len(lines) == 1 + len(bands.series["path_distance_per_a"])

    def test_volumes_share_an_fft_grid(self, runs):
        folder, *_ = runs["equation_of_state"]
        grids = {
            re.search(r"FFT dimensions: *(\(.*\))", path.read_text())[1]
            for path in (folder / "output").glob("eos-*.out")
        }
        assert len(grids) == 1
        for size in re.findall(r"\d+", grids.pop()):
            assert 30 ** int(size) % int(size) == 0

    def test_a_volume_begins_with_the_wavefunctions_of_the_one_before(self, runs, tmp_path):
        folder, *_ = runs["equation_of_state"]
        assert "startingwfc" not in (folder / "output" / "eos-v1.in").read_text()
        assert "startingwfc = 'file'" in (folder / "output" / "eos-v5.in").read_text()
        fresh = PwOutput(silicon())
        text = (folder / "output" / "eos-v5.in").read_text()
        text = re.sub(r"  starting(pot|wfc) = 'file'\n", "", text)
        (tmp_path / "pw.in").write_text(text.replace("../input/", f"{folder}/input/"))
        run = subprocess.run(
            [*find_program().command, "-in", "pw.in"], cwd=tmp_path, capture_output=True, check=True
        )
        fresh.feed(run.stdout.decode())
        taken = PwOutput(silicon())
        taken.feed((folder / "output" / "eos-v5.out").read_text())
        energy = taken.cycles[0].energies_ev[-1]
        assert fresh.cycles[0].energies_ev[-1] == pytest.approx(energy, abs=1e-6)
        first = [abs(reader.cycles[0].energies_ev[0] - energy) for reader in (taken, fresh)]
        assert first[0] < 0.3 * first[1]

    def test_density_of_states_holds_all_bands(self, runs):
        _, dos, _ = runs["dos"]
        energies = np.array(dos.series["energy_ev"])
        states = np.array(dos.series["dos_per_ev"])
        total = float(np.trapezoid(states, energies))
        assert total / 2 == pytest.approx(round(total / 2), abs=0.01)
        filled = energies < dos.values["fermi_level_ev"]
        assert np.trapezoid(states[filled], energies[filled]) == pytest.approx(8, abs=0.1)

    def test_every_geometry_is_kept_with_its_numbers(self, runs):
        folder, result, _ = runs["vc_relax"]
        frames = ase_read(folder / "output" / "trajectory.extxyz", index=":")
        assert len(frames) == result.values["n_steps"] + 1
        assert frames[-1].get_potential_energy() == pytest.approx(result.energy_ev, abs=1e-5)
        assert frames[0].get_forces().shape == (2, 3)
        assert frames[-1].get_stress(voigt=False) == pytest.approx(
            np.array(result.stress), abs=1e-6
        )
        assert frames[0].cell.volume != pytest.approx(frames[-1].cell.volume, rel=1e-3)


@pytest.fixture(scope="module")
def engine():
    return get_engine("QE")()


def test_by_hand_pw_x_gives_the_same(engine, tmp_path):
    result = engine.run(silicon(), CHEAP, tmp_path)
    words = [*engine_command(), "-in", "pw.in"]
    done = subprocess.run(words, cwd=tmp_path / "input", capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("!")]
    assert float(line.split()[4]) * 13.605693122994 == pytest.approx(result.energy_ev, abs=1e-4)


def engine_command() -> list[str]:
    from nanoos.engines.espresso.program import find_program

    return list(find_program().command)


@pytest.mark.slow
def test_force_is_minus_the_slope_of_the_energy(engine, tmp_path):
    """With the cell fixed the basis is, too, so this holds at any cutoff."""
    step = 0.002
    tight = {**CHEAP, "conv_thr_ry_per_atom": 1e-10}
    low, middle, high = (
        engine.run(silicon(5.5, 0.01 + s), tight, tmp_path / str(i))
        for i, s in enumerate((-step, 0.0, step))
    )
    along = silicon().lattice[0]
    slope = (high.energy_ev - low.energy_ev) / (2 * step)
    assert -float(np.dot(middle.forces[1], along)) == pytest.approx(slope, rel=2e-3)


def test_pressure_rises_when_the_crystal_is_squeezed(engine, tmp_path):
    wide = engine.run(silicon(5.7), CHEAP, tmp_path / "wide")
    tight = engine.run(silicon(5.1), CHEAP, tmp_path / "tight")
    assert tight.values["pressure_gpa"] > 10 > wide.values["pressure_gpa"]
    assert np.trace(tight.stress) < 0


@pytest.mark.slow
def test_an_scf_that_does_not_converge_is_a_failure_with_its_attempts(engine, tmp_path):
    parameters = {**CHEAP, "max_scf_steps": 2, "remedies": "numerical"}
    with pytest.raises(EngineError) as caught:
        engine.run(silicon(), parameters, tmp_path)
    assert caught.value.error_code == "scf_not_converged"
    attempts = caught.value.details["attempts"]
    assert attempts[0] == "mixing_beta 0.3"
    assert "conjugate gradients" in attempts
    assert not any("smearing" in name for name in attempts)
    assert not (tmp_path / "output" / "result.json").exists()
    assert (tmp_path / "output" / f"scf-{len(attempts) + 1}.out").exists()
    assert json.loads((tmp_path / "output" / "scf.attempts.json").read_text()) == attempts


def test_a_remedy_that_works_is_recorded(engine, tmp_path, monkeypatch):
    patience = Remedy(name="patience", changes={"electrons": {"electron_maxstep": 60}})
    monkeypatch.setattr(stages, "ladder", lambda *_: iter([patience]))
    result = engine.run(silicon(), {**CHEAP, "max_scf_steps": 2}, tmp_path)
    assert result.labels["remedies"] == "scf: patience"
    assert any("only with other settings: patience" in text for text in result.warnings)
    assert (tmp_path / "output" / "scf-2.out").exists()
    assert "electron_maxstep = 60" in (tmp_path / "output" / "scf-2.in").read_text()


def test_a_killed_run_goes_on_from_what_is_saved(engine, tmp_path):
    class Killed(BaseException):
        pass

    def kill_late(fraction, _message):
        if fraction > 0.5:
            raise Killed

    parameters = {**CHEAP, "conv_thr_ry_per_atom": 1e-10}
    with pytest.raises(Killed):
        engine.run(silicon(), parameters, tmp_path, progress=kill_late)
    result = engine.run(silicon(), parameters, tmp_path)
    log = (tmp_path / "output" / "log.txt").read_text()
    assert "going on from the last density" in log or "starting again" in log
    assert (tmp_path / "output" / "scf-2.out").exists()
    killed = PwOutput(silicon())
    killed.feed((tmp_path / "output" / "scf.out").read_text())
    assert killed.cpu_s > 0
    last = read_pw_xml(tmp_path / "output" / "scf-2.xml").cpu_s
    assert result.values["cpu_s"] == pytest.approx(killed.cpu_s + last, abs=1e-6)
    again = engine.run(silicon(), parameters, tmp_path / "fresh")
    assert result.energy_ev == pytest.approx(again.energy_ev, abs=1e-6)


def test_a_run_without_time_left_is_gone_on_with(engine, tmp_path):
    def late(_clock):
        raise EngineError("Not finished within 60 s.", code="timeout")

    parameters = {**CHEAP, "workflow": "nscf", "dense_kdist": 1.0}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(EngineError) as caught:
        engine.run(
            silicon(),
            parameters,
            tmp_path,
            progress=lambda _, said: (
                said.startswith("nscf") and patch.setattr(Clock, "check", late)
            ),
        )
    assert caught.value.error_code == "timeout"
    output = tmp_path / "output"
    assert (output / "scf.done.json").exists()
    assert not (output / "nscf.done.json").exists()
    engine.run(silicon(), parameters, tmp_path)
    assert not (output / "scf-2.in").exists(), "its density was kept"
    assert not (output / SCRATCH).exists()


@pytest.mark.parametrize(("stage", "promised"), [("scf", False), ("nscf", True)])
def test_a_killed_pw_x_promises_only_what_is_saved(stage, promised, engine, tmp_path):
    def kill(_fraction, message):
        if message.startswith(stage):
            for child in running(f" {stage}.in"):
                child.kill()

    parameters = {**CHEAP, "workflow": "nscf", "dense_kdist": 1.0}
    with pytest.raises(TransientError, match="signal 9") as caught:
        engine.run(silicon(), parameters, tmp_path, progress=kill)
    assert ("can be taken up again" in caught.value.hint) is promised


def test_a_killed_run_goes_on_with_the_remedy_that_was_interrupted(engine, tmp_path):
    class Killed(BaseException):
        pass

    def kill_the_third_remedy(_fraction, message):
        if message.startswith("scf-4"):
            raise Killed

    parameters = {**CHEAP, "max_scf_steps": 2, "remedies": "numerical"}
    output = tmp_path / "output"
    with pytest.raises(Killed):
        engine.run(silicon(), parameters, tmp_path, progress=kill_the_third_remedy)
    tried = json.loads((output / "scf.attempts.json").read_text())
    assert len(tried) == 3
    assert not list(output.glob(f"{SCRATCH}/*.save/charge-density*")), "of what did not converge"
    told: dict[str, float] = {}
    with pytest.raises(EngineError) as caught:
        engine.run(
            silicon(),
            parameters,
            tmp_path,
            progress=lambda share, message: told.update({message.split(",")[0]: share}),
        )
    assert told["scf-5"] < told["scf-6"] < told["scf-7"]
    log = (output / "log.txt").read_text()
    assert f"scf: going on with {tried[-1]}" in log
    assert "going on from the last density" not in log
    again = (output / "scf-5.in").read_text()
    assert again == (output / "scf-4.in").read_text()
    assert caught.value.details["attempts"] == [
        *tried, "conjugate gradients", "projected conjugate gradients",
    ]  # fmt: skip


@pytest.mark.parametrize("begun", [True, False])
def test_a_killed_remedy_that_works_is_recorded(begun, engine, tmp_path, monkeypatch):
    """Its own density is taken up; that of an SCF which did not converge would not be there."""

    class Killed(BaseException):
        pass

    def kill_the_remedy(_fraction, message):
        if message.startswith("scf-2") and ("accuracy" in message or not begun):
            raise Killed

    patience = Remedy(name="patience", changes={"electrons": {"electron_maxstep": 60}})
    monkeypatch.setattr(remedies, "_slow", lambda _: (patience,))
    parameters = {**CHEAP, "max_scf_steps": 2, "conv_thr_ry_per_atom": 1e-10}
    with pytest.raises(Killed):
        engine.run(silicon(), parameters, tmp_path, progress=kill_the_remedy)
    saved = list((tmp_path / "output" / SCRATCH).glob("*.save/charge-density*"))
    result = engine.run(silicon(), parameters, tmp_path)
    assert result.labels["remedies"] == "scf: patience"
    log = (tmp_path / "output" / "log.txt").read_text()
    assert ("going on from the last density" in log) == bool(saved)


@pytest.mark.parametrize(
    "parameters",
    [
        {**CHEAP, "workflow": "scf"},
        pytest.param(
            {**CHEAP, "workflow": "vc_relax", "pressure_tolerance_gpa": 2.0, "ecutwfc_ry": 20},
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda one: one["workflow"],
)
def test_a_turned_crystal_gives_the_same_in_its_own_axes(parameters, engine, tmp_path):
    structure = silicon(5.5, 0.01)
    rotation = Rotation.from_euler("xyz", [20, 35, 50], degrees=True).as_matrix()
    turned = structure.with_lattice(structure.lattice @ rotation)
    one = engine.run(structure, parameters, tmp_path / "one")
    other = engine.run(turned, parameters, tmp_path / "other")
    assert "why_orientation" in other.labels
    assert other.energy_ev == pytest.approx(one.energy_ev, abs=1e-5)
    np.testing.assert_allclose(other.forces, one.forces @ rotation, atol=1e-4)
    stress = rotation.T @ one.stress @ rotation
    np.testing.assert_allclose(other.stress, stress, atol=1e-5)
    lattice = one.structure.lattice @ rotation
    np.testing.assert_allclose(other.structure.lattice, lattice, atol=1e-4)
    frames = ase_read(tmp_path / "other" / "output" / "trajectory.extxyz", ":")
    np.testing.assert_allclose(frames[0].cell, turned.lattice, atol=1e-6)
    np.testing.assert_allclose(frames[-1].get_forces(), other.forces, atol=1e-3)


@pytest.mark.slow
def test_a_clean_stop_is_a_checkpoint(engine, tmp_path):
    """pw.x is stopped by its own clock and goes on where it was, to the same energy."""
    slow = {**CHEAP, "conv_thr_ry_per_atom": 1e-11, "kmesh": [4, 4, 3]}
    result = engine.run(silicon(5.5, 0.01), {**slow, "checkpoint_minutes": 0.02}, tmp_path / "a")
    whole = engine.run(silicon(5.5, 0.01), slow, tmp_path / "b")
    assert result.energy_ev == pytest.approx(whole.energy_ev, abs=1e-7)
    assert not (tmp_path / "a" / "output" / stages.CHECKPOINT).exists()


@pytest.mark.slow
def test_a_relaxation_that_its_clock_stops_ends(engine, tmp_path):
    """A relaxation has no checkpoint but its last geometry: each start gets at least a few."""
    given = {**CHEAP, "workflow": "relax", "conv_thr_ry_per_atom": 1e-11, "kmesh": [4, 4, 3]}
    result = engine.run(silicon(5.5, 0.02), {**given, "checkpoint_minutes": 0.02}, tmp_path)
    assert result.values["max_force_ev_a"] < 0.03
    assert "stopped for a checkpoint" in (tmp_path / "output" / "log.txt").read_text()


def test_finished_stages_are_not_run_again(engine, tmp_path):
    engine.run(silicon(), CHEAP, tmp_path)
    output = (tmp_path / "output" / "scf.out").stat().st_mtime_ns
    result = engine.run(silicon(), CHEAP, tmp_path)
    assert result.success
    assert (tmp_path / "output" / "scf.out").stat().st_mtime_ns == output
    other = engine.run(silicon(5.6), CHEAP, tmp_path)
    assert other.energy_ev != result.energy_ev


def test_stopping_ends_the_program_within_two_seconds(engine, tmp_path):
    class StopError(Exception):
        pass

    def stop(_fraction, message):
        if "SCF" in message or message == "scf":
            stop.at = time.monotonic()
            raise StopError

    heavy = {"ecutwfc_ry": 60, "kmesh": [6, 6, 6]}
    with pytest.raises(StopError):
        engine.run(silicon(), heavy, tmp_path, progress=stop)
    assert time.monotonic() - stop.at < 2
    assert not running("scf.in")


def test_a_missing_program_is_said_before_anything_is_written(engine, tmp_path, monkeypatch):
    from nanoos.engines.espresso import program

    named = program._command
    set_command("/nowhere/pw.x")
    try:
        with pytest.raises(UnavailableError) as caught:
            engine.run(silicon(), CHEAP, tmp_path)
        assert caught.value.error_code == "no_pw"
        set_command(None)
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(UnavailableError) as caught:
            engine.run(silicon(), CHEAP, tmp_path)
        assert "nanoos tools install QE" in str(caught.value.hint)
    finally:
        set_command(named)
    assert list(tmp_path.iterdir()) == []


def test_inputs_are_written_for_a_program_that_is_elsewhere(engine, tmp_path):
    from nanoos.engines.espresso import program

    named = program._command
    set_command("/nowhere/pw.x")
    try:
        input_dir = engine.prepare_input(silicon(), CHEAP, tmp_path)
        assert (input_dir / "pw.in").is_file()
        with pytest.raises(UnavailableError):
            engine.execute(input_dir, tmp_path / "output")
        set_command("env /nowhere/pw.x")
        engine.validate(silicon(), CHEAP)
    finally:
        set_command(named)


def test_an_error_of_pw_x_is_passed_on_in_its_words(engine, tmp_path):
    on_top = silicon()
    input_dir = engine.prepare_input(on_top, CHEAP, tmp_path)
    (input_dir / "Si.upf").write_text("no pseudopotential")
    outcome = engine.execute(input_dir, tmp_path / "output")
    assert not outcome.success
    assert outcome.error.error_code == "qe_failed"
    assert (tmp_path / "output" / "scf.out").exists()
    shutil.rmtree(tmp_path / "output")


def squeezed_silicon() -> Structure:
    """Simple cubic: a metal of nonmetals."""
    return Structure(lattice=2.5 * np.eye(3), species=("Si",), frac_coords=np.zeros((1, 3)))


def test_what_has_no_gap_is_computed_again_as_a_metal(engine, tmp_path):
    result = engine.run(squeezed_silicon(), CHEAP, tmp_path)
    assert result.labels["treated_as"] == "metal"
    assert result.labels["why_metal"].startswith("scf found no gap")
    assert not result.warnings
    output = tmp_path / "output"
    assert "gauss" in (output / "scf.in").read_text()
    assert "cold" in (output / "metal-scf.in").read_text()
    assert {"output/scf.out", "output/metal-scf.out"} <= set(result.files)
    rows = (output / "convergence.csv").read_text().splitlines()[1:]
    assert {row.split(",")[0] for row in rows} == {"scf", "metal-scf"}
    assert result.values["n_scf_iterations"] == len(rows)
    (output / "result.json").unlink()
    engine.execute(tmp_path / "input", output)
    log = (output / "log.txt").read_text()
    assert log.count("finished before") == 2


def test_a_gap_that_closes_between_the_k_points_makes_a_metal_too(engine, tmp_path):
    given = {**CHEAP, "kmesh": [1, 1, 1], "workflow": "nscf", "dense_kdist": 0.9}
    result = engine.run(silicon(4.4), given, tmp_path)
    assert result.labels["why_metal"].startswith("nscf found no gap")
    assert [p.name for p in sorted((tmp_path / "output").glob("*.xml"))] == [
        "metal-nscf.xml", "metal-scf.xml", "nscf.xml", "scf.xml",
    ]  # fmt: skip


@pytest.mark.parametrize("given", [{"expected_gap_ev": 1.0}, {"degauss_ry": 0.002}])
def test_what_was_asked_for_stays_without_a_gap(given, engine, tmp_path):
    result = engine.run(squeezed_silicon(), {**CHEAP, **given}, tmp_path)
    assert result.labels["treated_as"] == "insulator"
    assert any("has no gap on this mesh" in text for text in result.warnings)
    assert not (tmp_path / "output" / "metal-scf.in").exists()


@pytest.mark.parametrize(
    ("nbnd", "moment"), [(None, 10.0), pytest.param(25, 8.0, marks=pytest.mark.slow)]
)
def test_high_spins_have_their_bands(nbnd, moment, engine, tmp_path):
    """Of its own pw.x takes 25 bands, which hold a moment of 8, and 0.3 eV/atom too high an energy."""
    oxide = Structure(
        lattice=[[2.22, 2.22, 0], [-2.22, 2.22, 0], [0, 0, 4.44]],
        species=("Mn", "Mn", "O", "O"),
        frac_coords=[[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0, 0, 0.5]],
    )
    given = {
        "ecutwfc_ry": 40,
        "kmesh": [1, 1, 1],
        "conv_thr_ry_per_atom": 1e-6,
        "degauss_ry": 0.005,
        "remedies": "none",
        "nbnd": nbnd,
    }
    result = engine.run(oxide, given, tmp_path)
    assert result.values["total_magnetization_bohr"] == pytest.approx(moment, abs=0.1)
    assert any("highest band is not empty" in text for text in result.warnings) == bool(nbnd)


def test_a_metal_that_takes_too_long_is_a_failure_with_what_was_found(
    engine, tmp_path, monkeypatch
):
    def refuse(structure, _parameters, choices, _processes):
        if choices.metal:
            message = f"{structure.formula} takes about 3 GB and 900 h."
            raise InvalidInputError(message, hint="A coarser kdist.", code="too_expensive")

    monkeypatch.setattr(runner, "refuse_costly_workflow", refuse)
    with pytest.raises(EngineError, match=r"scf found no gap\. As a metal Si takes") as caught:
        engine.run(squeezed_silicon(), CHEAP, tmp_path)
    assert caught.value.error_code == "too_expensive"
    assert "expected_gap_ev" in str(caught.value.hint)
    assert (tmp_path / "output" / "scf.out").exists()
    assert not (tmp_path / "output" / "metal-scf.in").exists()


def test_bands_of_a_cell_that_is_not_primitive_are_folded(engine, tmp_path):
    cubic = Structure.from_ase(bulk("Si", "diamond", 5.5, cubic=True))
    given = {**CHEAP, "kmesh": [1, 1, 1]}
    folded = engine.run(cubic, given, tmp_path / "folded")
    whole = engine.run(silicon(), given, tmp_path / "whole")
    assert any("is not primitive" in text for text in folded.warnings)
    assert {"gap_is_direct", "direct_gap_ev"}.isdisjoint(folded.values)
    assert {"gap_is_direct", "direct_gap_ev"} <= set(whole.values)
    assert not any("is not primitive" in text for text in whole.warnings)
    assert not any("Forces are not converged" in text for text in folded.warnings)


@pytest.mark.parametrize("workflow", ["vc_relax", "equation_of_state"])
def test_the_volume_of_a_cell_with_vacuum_is_not_relaxed(workflow, engine):
    layer = Structure(
        lattice=np.diag([2.5, 4.3, 20.0]),
        species=("C",) * 4,
        frac_coords=[[0, 0, 0.5], [0.5, 0.17, 0.5], [0.5, 0.5, 0.5], [0, 0.67, 0.5]],
    )
    with pytest.raises(InvalidInputError, match="vacuum along c") as caught:
        engine.validate(layer, {**CHEAP, "workflow": workflow})
    assert caught.value.error_code == "vacuum_in_cell"
    engine.validate(layer, {**CHEAP, "workflow": "vc_relax", "cell_freedom": "2Dxy"})
    engine.validate(layer, {**CHEAP, "workflow": "relax"})


@pytest.mark.parametrize("path", ["GX,", ",GX", ",", "G,", "GX,,XG"])
def test_a_path_that_leads_nowhere_is_refused(path, engine):
    with pytest.raises(InvalidInputError):
        engine.validate(silicon(), {**CHEAP, "workflow": "bands", "path": path})


def test_absurd_parameters_and_huge_cells_are_refused(engine):
    with pytest.raises(InvalidInputError):
        engine.validate(silicon(), {"ecutwfc_ry": -3})
    with pytest.raises(InvalidInputError, match="not both"):
        engine.validate(silicon(), {"kdist": 0.2, "kmesh": [2, 2, 2]})
    n = 10
    shifts = np.array([[i, j, k] for i in range(n) for j in range(n) for k in range(n)])
    coords = np.vstack([(shifts + c) / n for c in silicon().frac_coords])
    big = Structure(lattice=silicon().lattice * n, species=("Si",) * 2000, frac_coords=coords)
    with pytest.raises(InvalidInputError, match="2000 atoms takes about") as caught:
        engine.validate(big, {"workflow": "scf"})
    assert caught.value.error_code == "too_expensive"
    assert caught.value.details["memory_gb"] > 10
    assert "allow_large" in str(caught.value.hint)
    engine.validate(big, {"workflow": "scf", "allow_large": True})
