"""What pw.x wrote in runs of ours is read in our units, and how it ended is known; without pw.x."""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nanoos.core.errors import ConfigError, EngineError, InvalidInputError, UnavailableError
from nanoos.core.units import RYDBERG_EV
from nanoos.engines.commands import counted_processes, processes_of
from nanoos.engines.espresso import failures, program
from nanoos.engines.espresso.dos import density_of_states
from nanoos.engines.espresso.gap import band_gap
from nanoos.engines.espresso.paths import label_of, path_points
from nanoos.engines.espresso.stdout import PwOutput
from nanoos.engines.espresso.supervision import Start, supervise
from nanoos.engines.espresso.xml_output import Bands, read_pw_xml
from nanoos.structures import Structure

OUTPUTS = Path(__file__).parent / "espresso_outputs"


def silicon(offset=0.01) -> Structure:
    lattice = 0.5 * 5.5 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return Structure(
        lattice=lattice,
        species=("Si", "Si"),
        frac_coords=np.array([[0.0] * 3, [0.25 + offset, 0.25, 0.25]]),
    )


def fed(name: str, size: int | None = None) -> PwOutput:
    reader = PwOutput(silicon())
    text = (OUTPUTS / name).read_text()
    for begin in range(0, len(text), size or len(text)):
        reader.feed(text[begin : begin + (size or len(text))])
    return reader


# -- what pw.x says ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, 97, 1], ids=["whole", "pieces", "letters"])
def test_a_relaxation_is_read_however_it_arrives(size):
    reader = fed("si_relax.out", size)
    assert reader.version == "7.2"
    assert reader.job_done
    assert reader.bfgs_converged
    assert not reader.bfgs_failed
    assert len(reader.steps) == 4
    assert [cycle.converged for cycle in reader.cycles] == [True] * 4
    energies = [step.energy_ev for step in reader.steps]
    assert energies == sorted(energies, reverse=True)
    assert energies[-1] == pytest.approx(-16.7113161932 * RYDBERG_EV, abs=1e-6)
    assert reader.steps[0].frac_coords[1] == pytest.approx([0.26, 0.25, 0.25])
    final = reader.steps[-1].frac_coords
    assert final[1] - final[0] == pytest.approx([0.25] * 3, abs=1e-3)
    first = reader.steps[0]
    assert first.forces[1] == pytest.approx(-first.forces[0], abs=1e-6)
    assert first.forces[1] == pytest.approx([0.0266, -0.4730, -0.4730], abs=1e-3)
    assert reader.steps[-1].lattice == pytest.approx(silicon().lattice)


def test_text_and_xml_agree_on_the_last_geometry():
    step = fed("si_relax.out").steps[-1]
    xml = read_pw_xml(OUTPUTS / "si_relax.xml")
    assert xml.version == "7.2"
    assert xml.energy_ev == pytest.approx(step.energy_ev, abs=2e-7)
    assert xml.forces == pytest.approx(step.forces, abs=1e-6)
    assert xml.stress == pytest.approx(step.stress, abs=2e-6)
    assert xml.lattice == pytest.approx(silicon().lattice, abs=1e-6)
    assert xml.n_electrons == 8
    assert xml.scf_converged is True
    assert xml.cpu_s > 0


def test_stress_is_positive_in_tension():
    text = (OUTPUTS / "si_relax.out").read_text()
    pressures = [float(line.split("P=")[1]) for line in text.splitlines() if "P=" in line]
    reader = fed("si_relax.out")
    kbar = [-np.trace(step.stress) / 3 * 1602.1766339999996 for step in reader.steps]
    assert kbar == pytest.approx(pressures, abs=0.05)


def test_a_relaxed_cell_ends_with_an_scf_in_a_fresh_basis():
    reader = fed("si_vc_relax.out")
    assert all(len(cycle.accuracies_ev) == len(cycle.energies_ev) for cycle in reader.cycles)
    assert reader.bfgs_converged
    assert len(reader.steps) == 6
    volumes = [abs(np.linalg.det(step.lattice)) for step in reader.steps]
    assert volumes[0] == pytest.approx(silicon().volume)
    assert volumes[-1] == pytest.approx(volumes[-2])
    assert reader.steps[-1].energy_ev != pytest.approx(reader.steps[-2].energy_ev, abs=1e-4)
    assert reader.last_geometry(silicon()).volume == pytest.approx(volumes[-1])


def test_an_unconverged_scf_is_seen():
    reader = fed("si_unconverged.out")
    assert reader.unconverged
    assert reader.job_done, "pw.x says so in any case"
    assert not reader.steps
    assert reader.cycles[-1].converged is False
    assert len(reader.cycles[-1].accuracies_ev) == 4
    assert reader.cycles[-1].accuracies_ev[0] > reader.cycles[-1].accuracies_ev[-1]


def test_a_killed_run_leaves_what_it_had():
    text = (OUTPUTS / "si_relax.out").read_text()
    reader = PwOutput(silicon())
    reader.feed(text[: int(0.55 * len(text))])
    assert not reader.job_done
    assert 1 <= len(reader.steps) < 4
    moved = reader.last_geometry(silicon())
    assert moved.species == ("Si", "Si")
    assert not np.allclose(moved.frac_coords, silicon().frac_coords)


def test_an_error_is_passed_on_in_its_words(tmp_path):
    reader = PwOutput(silicon())
    bar = " " + "%" * 78
    reader.feed(
        f"{bar}\n     Error in routine check_atoms (1):\n     atoms #   1 and #   2 overlap!\n{bar}\n"
    )
    out, err = tmp_path / "scf.out", tmp_path / "scf.err"
    error = failures.failure(reader, 1, tmp_path, out, err, resumable=False)
    assert isinstance(error, EngineError)
    assert "atoms #   1 and #   2 overlap!" in error.message
    assert error.details["routine"] == "check_atoms"
    assert "each other" in str(error.hint)


@pytest.mark.parametrize(
    ("said", "code", "expected"),
    [
        ("Fortran runtime error: No space left on device", 2, "disk_full"),
        ("", -9, "killed"),
        ("mpirun noticed that process rank 1 exited on signal 9 (Killed).", 137, "killed"),
        ("YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed (signal 9)", 9, "killed"),
        ("srun: error: task 0: Terminated", 143, "killed"),
        ("No module named qepy", 1, "no_pw"),
        ("something odd", 3, "qe_failed"),
    ],
    ids=["disk", "killed", "mpirun", "mpiexec", "srun", "module", "other"],
)
@pytest.mark.parametrize("resumable", [True, False])
def test_other_ends_have_their_codes(tmp_path, said, code, expected, resumable):
    out, err = tmp_path / "scf.out", tmp_path / "scf.err"
    out.write_text("")
    err.write_text(said)
    error = failures.failure(PwOutput(silicon()), code, tmp_path, out, err, resumable=resumable)
    assert error.error_code == expected
    if expected in {"disk_full", "killed"}:
        promised = "what is saved" in error.hint or "taken up again" in error.hint
        assert promised == resumable


def test_a_broken_eigensolver_is_told_from_slow_convergence():
    reader = PwOutput(silicon())
    bar = "%" * 78
    reader.feed(f"{bar}\n Error in routine cdiaghg (27):\n S matrix not positive definite\n{bar}\n")
    assert failures.breaks_the_eigensolver(reader, "")
    assert not failures.breaks_the_eigensolver(fed("si_unconverged.out"), "")


@pytest.mark.parametrize("text", ["", "<a>", "<a><output/></a>"], ids=["empty", "cut", "other"])
def test_half_an_xml_file_is_no_result(tmp_path, text):
    path = tmp_path / "scf.xml"
    path.write_text(text)
    with pytest.raises(EngineError) as caught:
        read_pw_xml(path)
    assert caught.value.error_code == "no_result"


# -- bands ---------------------------------------------------------------------------------------


def test_spins_are_read_apart():
    xml = read_pw_xml(OUTPUTS / "si_spin_scf.xml")
    assert xml.bands.energies_ev.shape[0] == 2
    assert xml.bands.weights.sum() == pytest.approx(1.0)
    assert xml.total_magnetization == pytest.approx(0.0, abs=0.05)
    filled = (xml.bands.occupations.sum(axis=(0, 2)) * xml.bands.weights).sum()
    assert filled == pytest.approx(8.0, abs=1e-6)
    assert np.abs(xml.bands.kpoints).max() <= 0.5 + 1e-9


def bands(levels) -> Bands:
    energies = np.array(levels, dtype=float)
    n = energies.shape[1]
    return Bands(
        kpoints=np.array([[i / n, 0, 0] for i in range(n)]),
        weights=np.full(n, 1 / n),
        energies_ev=energies,
        occupations=np.zeros_like(energies),
    )


def test_gap_of_an_indirect_insulator():
    gap = band_gap(bands([[[0.0, 3.0], [-1.0, 1.0]]]), 2, None)
    assert gap.gap_ev == pytest.approx(1.0)
    assert gap.direct_gap_ev == pytest.approx(2.0)
    assert not gap.direct
    assert (gap.valence_k, gap.conduction_k) == ((0.0, 0.0, 0.0), (0.5, 0.0, 0.0))


@pytest.mark.parametrize(
    ("levels", "electrons", "magnetization", "expected"),
    [
        ([[[0.0, 2.0], [-1.0, 2.5]]], 2, None, 2.0),
        ([[[0.0, 2.0], [-1.0, -0.5]]], 2, None, 0.0),
        ([[[0.0, 2.0], [-1.0, 2.0]]], 3, None, 0.0),
        ([[[0.0, 1.0], [0.0, 1.0]], [[0.5, 3.0], [0.6, 3.0]]], 2, 2.0, None),
        ([[[0.0, 1.0], [0.0, 1.0]], [[0.5, 3.0], [0.6, 3.0]]], 1, 1.0, 0.5),
        ([[[0.0, 1.0], [0.0, 1.0]], [[0.5, 3.0], [0.6, 3.0]]], 1, 0.4, 0.0),
        ([[[0.0], [0.0]]], 2, None, None),
    ],
    ids=["direct", "overlap", "odd", "no empty band", "ferromagnet", "fractional", "no bands"],
)
def test_gap_counts_electrons(levels, electrons, magnetization, expected):
    gap = band_gap(bands(levels), electrons, magnetization)
    assert (None if gap is None else gap.gap_ev) == (
        None if expected is None else pytest.approx(expected)
    )


def test_every_state_counts_once_in_the_density():
    dos = density_of_states(bands([[[0.0, 3.0], [1.0, 4.0]]]), width_ev=0.05, step_ev=0.01)
    assert np.trapezoid(dos.states.sum(axis=0), dos.energies_ev) == pytest.approx(4.0, abs=1e-4)
    assert dos.at(2.0) == pytest.approx(0.0, abs=1e-6)
    assert dos.at(0.0) == pytest.approx(2 * 0.5 / (0.05 * np.sqrt(2 * np.pi)), rel=1e-2)


def test_paths_name_their_points():
    path = path_points(silicon(0.0), "GXL", 11)
    assert path.name == "GXL"
    assert len(path.kpoints) == 11
    assert label_of((0.0, 0.0, 0.0), path) == "G"
    assert label_of(path.special["X"], path) == "X"
    assert label_of((0.1, 0.2, 0.3), path) == "(0.1000, 0.2000, 0.3000)"
    assert path.distances[0] == 0
    # Gamma to X of fcc is 2π/a
    x = path.distances[path.kpoints.index(path.special["X"])]
    assert x == pytest.approx(2 * np.pi / 5.5, rel=1e-6)
    with pytest.raises(InvalidInputError, match="does not fit"):
        path_points(silicon(0.0), "GQZ", 11)


# -- the program ---------------------------------------------------------------------------------


@pytest.fixture
def _no_command():
    yield
    program.set_command(None)


@pytest.mark.parametrize(
    ("command", "counted", "taken"),
    [
        ("pw.x", None, 1),
        ("/opt/run_qe.sh -n 4", None, 1),
        ("mpirun -np 4 pw.x", 4, 4),
        ("/usr/bin/mpiexec --np 8 pw.x -nk 2", 8, 8),
        ("env A=1 mpirun -c 4 pw.x", 4, 4),
        ("srun -n8 pw.x", 8, 8),
        ("srun -c 2 -n 8 pw.x", 8, 8),
        ("srun --ntasks=64 --cpus-per-task=2 pw.x", 64, 64),
        ("srun --ntasks 64 pw.x", 64, 64),
        ("srun -c 2 pw.x", None, os.cpu_count()),
    ],
)
def test_processes_are_counted(monkeypatch, command, counted, taken):
    monkeypatch.delenv("SLURM_NTASKS", raising=False)
    words = command.split()
    assert (counted_processes(words), processes_of(words)) == (counted, taken)
    monkeypatch.setenv("SLURM_NTASKS", "16")
    launched = any("run" in word or "exec" in word for word in words) and ".sh" not in command
    assert processes_of(words) == (counted or 16 if launched else taken)


@pytest.mark.parametrize(
    ("command", "pools", "fits"),
    [
        ("mpirun -np 4 pw.x", 2, True),
        ("mpirun -np 4 pw.x", 3, False),
        ("mpirun -np 4 pw.x", 8, False),
        ("run_qe.sh", 8, True),
    ],
)
def test_pools_divide_the_processes(command, pools, fits):
    words = tuple(command.split())
    asked = program.EspressoProgram(command=words, origin="setting", processes=1)
    if fits:
        asked.check_pools(pools)
        return
    with pytest.raises(InvalidInputError) as caught:
        asked.check_pools(pools)
    assert caught.value.error_code == "too_many_pools"


@pytest.mark.usefixtures("_no_command")
def test_the_setting_comes_first_then_the_path(tmp_path, monkeypatch):
    for name in ("mpirun", "pw.x"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program.find_program().origin == "path"
    monkeypatch.setenv("NANO_OS_QE_COMMAND", "mpirun -np 4 pw.x")
    found = program.find_program()
    assert found.origin == "setting"
    assert found.processes == 4
    assert found.arguments("scf.in", 2)[-4:] == ["-nk", "2", "-in", "scf.in"]
    program.set_command("pw.x")
    assert program.find_program().processes == 1
    program.set_command("'unbalanced")
    with pytest.raises(ConfigError):
        program.find_program()
    program.set_command("absent.x")
    with pytest.raises(UnavailableError) as caught:
        program.find_program()
    assert caught.value.error_code == "no_pw"


@pytest.mark.parametrize(
    ("script", "code"),
    [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", -9), ("", 0)],
    ids=["exit", "signal", "well"],
)
def test_how_a_program_ended_is_known(tmp_path, script, code):
    start = Start(
        command=[sys.executable, "-c", f"import os, sys, time; time.sleep(0.3); {script}"],
        environment=dict(os.environ),
        folder=tmp_path,
        output=tmp_path / "scf.out",
        errors=tmp_path / "scf.err",
        deadline=time.monotonic() + 60,
        timeout_s=60,
        conv_thr_ev=1e-6,
        relaxing=False,
        steps_before=0,
        label="scf",
    )
    assert supervise(start, PwOutput(silicon()), lambda *_: None) == code


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("     total cpu time spent up to now is       28.2 secs", 28.2),
        ("     PWSCF        :     29.60s CPU     29.97s WALL", 29.6),
        ("     PWSCF        :   4m13.64s CPU   5m 6.31s WALL", 253.64),
        ("     PWSCF        :   2h 3m CPU   2h 8m WALL", 7380.0),
        ("     PWSCF        :   1d 2h 3m CPU   1d 2h 8m WALL", 93780.0),
    ],
)
def test_seconds_of_processor(line, seconds):
    reader = PwOutput(silicon())
    reader.feed(line + "\n")
    assert reader.cpu_s == pytest.approx(seconds)
