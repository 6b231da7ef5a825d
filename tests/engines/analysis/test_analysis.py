"""Analyses against systems whose answers are known exactly."""

import json
import tracemalloc
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from nanoos.cli import main
from nanoos.core.errors import InvalidInputError
from nanoos.engines.analysis import (
    Trajectory,
    analyze,
    block_average,
    diffusion_coefficient,
    first_shell,
    mean_squared_displacement,
    radial_distribution,
    read_trajectory,
    spectra,
    unwrapped,
    vibrational_density,
)
from nanoos.engines.analysis.diffusion import CM2_S_PER_A2_FS


def trajectory(positions, *, species=None, cell=20.0, step=1.0, velocities=None):
    n_frames, n_atoms, _ = positions.shape
    cell = np.diag([cell] * 3) if np.isscalar(cell) else cell
    return Trajectory(
        species=species or ("Ar",) * n_atoms,
        times_fs=step * np.arange(n_frames),
        cells=np.repeat(cell[None], n_frames, axis=0),
        positions=positions,
        velocities=velocities,
    )


def walk(n_frames, n_atoms, sigma, seed=3):
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.normal(scale=sigma, size=(n_frames, n_atoms, 3)), axis=0)


# -- errors of averages --------------------------------------------------------------------------


def autoregressive(n, phi, seed=0):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=n)
    values = np.empty(n)
    values[0] = noise[0] / np.sqrt(1 - phi**2)
    for i in range(1, n):
        values[i] = phi * values[i - 1] + noise[i]
    return values


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_blocking_finds_the_known_error_of_a_correlated_series(phi):
    n = 20_000
    exact = np.sqrt((1 + phi) / (1 - phi) / (1 - phi**2) / n)
    found = [block_average(autoregressive(n, phi, seed)).error for seed in range(20)]
    assert np.mean(found) == pytest.approx(exact, rel=0.12)


def test_the_error_of_blocking_is_that_of_repeated_runs():
    means = [block_average(autoregressive(2000, 0.9, seed)).mean for seed in range(200)]
    errors = [block_average(autoregressive(2000, 0.9, seed)).error for seed in range(200)]
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.2)


def test_a_run_shorter_than_its_memory_says_so():
    drifting = np.linspace(0, 1, 64)
    assert not block_average(drifting).converged
    assert block_average([1.0, 2.0]).error is None
    assert block_average([1.0]).error is None
    constant = block_average(np.full(50, 3.7))
    assert (constant.error, constant.converged) == (0.0, True)
    with pytest.raises(ValueError, match="no sample"):
        block_average([])


# -- structure -----------------------------------------------------------------------------------


def fcc_frame(a, repeats):
    sites = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    shifts = np.array(list(np.ndindex(repeats, repeats, repeats)))
    return a * (shifts[:, None] + sites[None]).reshape(-1, 3)


def test_shells_of_fcc_are_right_far_beyond_half_the_cell():
    a = 3.6
    small = trajectory(fcc_frame(a, 1)[None], cell=a)  # half the cell is 1.8 Å
    large = trajectory(fcc_frame(a, 4)[None], cell=4 * a)
    here, there = (radial_distribution(t, r_max_a=7.03, n_bins=140) for t in (small, large))
    np.testing.assert_allclose(here.g["total"], there.g["total"], atol=1e-9)
    n = here.coordination["Ar-Ar"]
    for shells, upto in ((12, 1), (18, np.sqrt(2)), (42, np.sqrt(3)), (54, 2.0)):
        r = a * np.sqrt(0.5) * upto + 0.08
        assert n[int(r / 7.03 * 140)] == pytest.approx(shells, abs=1e-9)
    shell = first_shell(here, "Ar", "Ar")
    assert shell.coordination == pytest.approx(12)
    assert shell.peak_a == pytest.approx(a / np.sqrt(2), abs=0.05)


def test_an_ideal_gas_is_flat_in_a_skewed_cell():
    rng = np.random.default_rng(1)
    cell = np.array([[14.0, 0, 0], [6, 13, 0], [-5, 4, 12]])
    positions = rng.random((40, 120, 3)) @ cell
    found = radial_distribution(trajectory(positions, cell=cell), r_max_a=9.0, n_bins=18)
    np.testing.assert_allclose(found.g["total"][4:], 1 - 1 / 120, atol=0.03)
    assert first_shell(found, "Ar", "Ar") is None


def test_partial_distributions_and_coordination_of_rocksalt():
    a = 4.2
    cations = fcc_frame(a, 2)
    frame = np.vstack([cations, cations + np.array([a / 2, 0, 0])])
    species = ("Mg",) * 32 + ("O",) * 32
    found = radial_distribution(trajectory(frame[None], species=species, cell=2 * a))
    assert set(found.g) == {"total", "Mg-Mg", "Mg-O", "O-O"}
    assert first_shell(found, "Mg", "O").coordination == pytest.approx(6)
    assert first_shell(found, "O", "O").coordination == pytest.approx(12)
    assert first_shell(found, "O", "Mg").peak_a == pytest.approx(a / 2, abs=0.04)


# -- motion --------------------------------------------------------------------------------------


def test_msd_is_the_definition():
    positions = walk(60, 5, 0.3)
    found = mean_squared_displacement(trajectory(positions, step=2.0))
    free = positions - positions.mean(axis=1, keepdims=True)
    for lag in (0, 1, 7, 30):
        direct = np.mean(np.sum((free[lag:] - free[: 60 - lag]) ** 2, axis=2))
        assert found.msd_a2["Ar"][lag] == pytest.approx(direct, abs=1e-9)
        assert found.lags_fs[lag] == 2.0 * lag


def test_msd_of_elements_and_of_all_in_pieces(monkeypatch):
    monkeypatch.setattr(spectra, "_NUMBERS_AT_ONCE", 40 * 4)
    species = ("Li", "O", "O", "O", "Li", "O")
    run = trajectory(50 + walk(40, 6, 0.3), species=species)
    free, found = run.without_drift(), mean_squared_displacement(run)
    squares = np.mean(np.sum((free[3:] - free[:-3]) ** 2, axis=2), axis=0)
    assert found.msd_a2["total"][3] == pytest.approx(squares.mean())
    assert found.msd_a2["Li"][3] == pytest.approx(squares[[0, 4]].mean())
    assert found.msd_a2["O"][3] == pytest.approx(squares[[1, 2, 3, 5]].mean())


def test_diffusion_of_a_random_walk_is_known():
    sigma, step = 0.2, 5.0
    exact = 3 * sigma**2 / 6 / step * CM2_S_PER_A2_FS
    found = diffusion_coefficient(trajectory(walk(2000, 100, sigma), step=step, cell=8.0), "Ar")
    assert found.coefficient_cm2_s == pytest.approx(exact * 99 / 100, abs=4 * found.error_cm2_s)
    assert found.error_cm2_s < 0.05 * exact
    assert found.exponent == pytest.approx(1, abs=0.05)
    assert found.diffusive


def test_atoms_that_vibrate_do_not_diffuse():
    rng = np.random.default_rng(2)
    phases = rng.random((1, 50, 3)) * 2 * np.pi
    time = np.arange(600)[:, None, None]
    positions = 0.15 * np.sin(2 * np.pi * time / 190 + phases)  # slow against the segments
    found = diffusion_coefficient(trajectory(positions, cell=8.0), "Ar")
    assert not found.diffusive


def test_unwrapping_follows_atoms_through_the_walls_of_a_breathing_cell():
    positions = walk(200, 20, 0.2)
    sizes = 5.0 * (1 + 0.01 * np.sin(np.arange(200)))
    cells = np.array([np.diag([size] * 3) for size in sizes])
    fractional = positions / 5.0
    wrapped = np.einsum("fai,fij->faj", fractional % 1.0, cells)
    found = np.einsum("fai,fij->faj", unwrapped(wrapped, cells), np.linalg.inv(cells))
    np.testing.assert_allclose(found - found[0], fractional - fractional[0], atol=1e-9)


# -- vibrations ----------------------------------------------------------------------------------


def test_frequencies_of_oscillators_are_found_with_their_weights():
    step, n = 4.0, 3000
    time = step * np.arange(n)[:, None, None]
    rng = np.random.default_rng(5)
    light, heavy = 12.0, 3.0  # THz
    masses = {"O": 15.999, "Mg": 24.305}
    speeds = []
    for element, frequency in (("O", light), ("Mg", heavy)):
        phases = rng.random((1, 10, 3)) * 2 * np.pi
        amplitude = 0.01 / np.sqrt(masses[element])  # equipartition
        speeds.append(amplitude * np.cos(2 * np.pi * frequency * time / 1000 + phases))
    velocities = np.concatenate(speeds, axis=1)
    found = vibrational_density(
        trajectory(
            np.zeros_like(velocities),
            species=("O",) * 10 + ("Mg",) * 10,
            step=step,
            velocities=velocities,
        )
    )
    f = found.frequency_thz
    for element, frequency in (("O", light), ("Mg", heavy)):
        peak = f[np.argmax(found.density[element])]
        assert peak == pytest.approx(frequency, abs=found.resolution_thz)
        weight = np.trapezoid(found.density[element], f)
        assert weight == pytest.approx(0.5, abs=0.01)
    assert np.trapezoid(found.density["total"], f) == pytest.approx(1)
    assert found.autocorrelation[0] == 1


def test_a_spectrum_in_pieces_is_the_definition(monkeypatch):
    speeds = np.random.default_rng(4).normal(size=(120, 7, 3))
    monkeypatch.setattr(spectra, "_NUMBERS_AT_ONCE", 120 * 4)
    moving = trajectory(np.broadcast_to(0.0, speeds.shape), velocities=speeds)
    found = vibrational_density(moving).autocorrelation
    direct = [np.sum(speeds[lag:] * speeds[: 120 - lag]) / (120 - lag) for lag in range(60)]
    np.testing.assert_allclose(found, np.array(direct) / direct[0], rtol=0, atol=1e-12)


def test_a_spectrum_of_many_atoms_takes_little_memory(monkeypatch):
    speeds = np.random.default_rng(4).normal(size=(500, 600, 3))
    monkeypatch.setattr(spectra, "_NUMBERS_AT_ONCE", 2**14)
    moving = trajectory(np.broadcast_to(0.0, speeds.shape), velocities=speeds)
    tracemalloc.start()
    vibrational_density(moving)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * speeds.nbytes


@pytest.mark.parametrize(
    ("positions", "velocities", "words"),
    [
        (np.zeros((50, 2, 3)), None, "no velocities"),
        (np.zeros((50, 2, 3)), np.ones((50, 2, 3)), "at least 100"),
        (np.zeros((200, 2, 3)), np.zeros((200, 2, 3)), "do not move"),
    ],
    ids=["none", "few", "still"],
)
def test_no_spectrum_without_motion(positions, velocities, words):
    with pytest.raises(InvalidInputError, match=words):
        vibrational_density(trajectory(positions, velocities=velocities))


# -- files ---------------------------------------------------------------------------------------


def test_a_report_is_numbers_tables_and_plots(tmp_path):
    moving = trajectory(5 + walk(300, 30, 0.1), species=("Ar",) * 15 + ("Kr",) * 15, cell=12.0)
    report = analyze(moving, tmp_path, which=("rdf", "msd", "vdos"))
    assert {"rdf.csv", "rdf.svg", "msd.csv", "msd.svg"} <= set(report.files)
    assert report.values["diffusion_ar_cm2_s"] > 0
    assert any("no velocities" in warning for warning in report.warnings)
    table = np.genfromtxt(tmp_path / "msd.csv", delimiter=",", names=True)
    assert table["msd_Ar_a2"][0] == pytest.approx(0, abs=1e-9)
    root = ET.parse(tmp_path / "rdf.svg").getroot()
    words = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"r, Å", "g(r)", "Ar-Kr", "0"} <= set(words)
    with pytest.raises(InvalidInputError, match="no analysis"):
        analyze(moving, tmp_path, which=("magic",))


@pytest.mark.parametrize(("step_fs", "warned"), [(8.0, False), (100.0, True)])
def test_a_spectrum_of_rare_frames_warns(tmp_path, step_fs, warned):
    times = step_fs * np.arange(400)
    speeds = 0.01 * np.cos(2 * np.pi * 15.6e-3 * times)[:, None, None] * np.ones((1, 2, 3))
    moving = replace(trajectory(np.zeros((400, 2, 3)), velocities=speeds), times_fs=times)
    report = analyze(moving, tmp_path, which=("vdos",))
    assert any("folded" in text for text in report.warnings) == warned
    assert (report.values["vdos_top_frequency_thz"] > 15) != warned


def test_an_analysis_without_frames_is_a_warning(tmp_path):
    none = trajectory(walk(5, 2, 0.1)).after(1e6)
    report = analyze(none, tmp_path, which=("rdf", "msd", "vdos"))
    assert not report.values
    assert [warning.partition(":")[0] for warning in report.warnings] == [
        "No radial distribution",
        "No mean squared displacement",
        "No vibrational density of states",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0\nno atoms\n",
        '1\nLattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3 time_fs=0\nAr nan 0 0\n',
        '1\nLattice="nan 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3 time_fs=0\nAr 0 0 0\n',
        "1\nLattice",
    ],
)
def test_a_file_without_frames_to_follow_is_refused(tmp_path, text):
    file = tmp_path / "run.extxyz"
    file.write_text(text)
    with pytest.raises(InvalidInputError) as caught:
        read_trajectory(file)
    assert caught.value.error_code in {"unreadable_trajectory", "no_cell"}


def written(path, positions, *, cell=9.0, heading=""):
    lattice = " ".join(f"{value:g}" for value in np.diag([cell] * 3).ravel())
    with path.open("w") as stream:
        for i, frame in enumerate(positions):
            stream.write(f'{len(frame)}\nLattice="{lattice}" Properties=species:S:1:pos:R:3 ')
            stream.write(f'pbc="T T T" time_fs={10 * i}{heading}\n')
            stream.writelines(f"Ar {x:.8f} {y:.8f} {z:.8f}\n" for x, y, z in frame)
    return path


def test_steps_beyond_half_a_cell_are_kept_where_the_file_says_that_they_are_whole(tmp_path):
    positions = walk(60, 4, 3.0)  # a third of the cell in each direction
    known = read_trajectory(written(tmp_path / "a.extxyz", positions, heading=" unwrapped=T"))
    np.testing.assert_allclose(known.positions, positions, atol=1e-7)
    guessed = read_trajectory(written(tmp_path / "b.extxyz", positions))
    assert np.abs(guessed.positions - positions).max() > 9
    for run, warned in ((known, False), (guessed, True)):
        warnings = analyze(run, tmp_path / "out", which=("msd",)).warnings
        assert any("unwrapped" in text for text in warnings) == warned


def test_atoms_that_move_little_between_frames_are_followed_without_a_word(tmp_path):
    positions = walk(60, 4, 0.9)  # a tenth of the cell
    run = read_trajectory(written(tmp_path / "run.extxyz", positions % 9.0)).after(100.0)
    assert run.largest_step() == pytest.approx(0.1, rel=0.3)
    warnings = analyze(run, tmp_path, which=("msd",)).warnings
    assert not any("unwrapped" in text for text in warnings)


@pytest.mark.parametrize("r_max", ["0", "-1", "nan", "inf", "30.1"])
def test_an_absurd_largest_distance_is_refused(tmp_path, capsys, r_max):
    file = written(tmp_path / "run.extxyz", walk(2, 2, 0.1))
    assert main(["analyze", str(file), "--r-max", r_max]) == 2
    assert "at most 30 Å" in capsys.readouterr().err
    assert not (tmp_path / "run-analysis").exists()


def test_more_pairs_than_memory_holds_are_a_warning(tmp_path):
    """The densest frame counts."""
    dense = trajectory(np.zeros((2, 30, 3)) + np.arange(30)[:, None] / 60, cell=9.0)
    cells = np.array([9.0 * np.eye(3), 0.5 * np.eye(3)])
    report = analyze(replace(dense, cells=cells), tmp_path, which=("rdf",), r_max_a=30.0)
    (warning,) = report.warnings
    assert warning.startswith("No radial distribution: Each frame has 8.1e+08 pairs")
    assert not report.files


def test_the_command_line_analyses_a_file(tmp_path, capsys):
    from ase import Atoms
    from ase.io import write

    frames = [
        Atoms("Ar10", positions=p % 9.0, cell=[9.0] * 3, pbc=True, info={"time_fs": 10.0 * i})
        for i, p in enumerate(walk(120, 10, 0.1))
    ]
    file = tmp_path / "run.extxyz"
    write(file, frames)
    assert read_trajectory(file).times_fs[-1] == 1190
    assert main(["analyze", str(file), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    exact = 3 * 0.1**2 / 6 / 10 * CM2_S_PER_A2_FS
    assert document["values"]["diffusion_ar_cm2_s"] == pytest.approx(exact, rel=0.5)
    assert (tmp_path / "run-analysis" / "rdf.svg").is_file()
    assert main(["analyze", str(tmp_path / "none.xyz")]) == 2


def test_the_command_line_lists_potential_files(capsys):
    assert main(["potentials", "list", "--elements", "Si-C", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["potentials"]
    names = {row["name"] for row in rows}
    assert "SiC.tersoff" in names
    assert all({"Si", "C"} <= set(row["elements"]) for row in rows)
