"""What pw.x wrote in runs of ours is read in our units; rules, input and estimates, without pw.x."""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nanoos.core.errors import ConfigError, EngineError, InvalidInputError, UnavailableError
from nanoos.core.units import BOHR_A, RYDBERG_EV
from nanoos.engines.espresso import failures, program
from nanoos.engines.espresso.choices import (
    choose,
    choose_as_metal,
    may_be_metal,
    metal_or_insulator,
)
from nanoos.engines.espresso.dos import density_of_states
from nanoos.engines.espresso.estimate import estimate, irreducible_points
from nanoos.engines.espresso.gap import band_gap
from nanoos.engines.espresso.input_file import PwTask, pw_input, starting_magnetizations
from nanoos.engines.espresso.parameters import EspressoParameters, ScfParameters
from nanoos.engines.espresso.paths import label_of, path_points
from nanoos.engines.espresso.remedies import ladder
from nanoos.engines.espresso.stdout import PwOutput
from nanoos.engines.espresso.supervision import Start, supervise
from nanoos.engines.espresso.xml_output import Bands, read_pw_xml
from nanoos.pseudopotentials import Cutoffs, FamilyInfo, Pseudopotential, PseudopotentialFamily
from nanoos.structures import Structure
from nanoos.testing.crystals import rocksalt

OUTPUTS = Path(__file__).parent / "espresso_outputs"
VALENCE = {
    "Si": 4.0,
    "O": 6.0,
    "Mg": 10.0,
    "Fe": 16.0,
    "Na": 9.0,
    "Cl": 7.0,
    "Ti": 12.0,
    "Al": 3.0,
    "Ni": 18.0,
}


def silicon(offset=0.01) -> Structure:
    lattice = 0.5 * 5.5 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return Structure(
        lattice=lattice,
        species=("Si", "Si"),
        frac_coords=np.array([[0.0] * 3, [0.25 + offset, 0.25, 0.25]]),
    )


@pytest.fixture
def family(tmp_path):
    info = FamilyInfo(
        name="Test",
        version="1",
        functional="PBE",
        relativistic="scalar",
        license="MIT",
        citation="none",
        source="a test",
        verified=False,
        installed_at="2026-01-01T00:00:00+00:00",
    )
    pseudos = {
        element: Pseudopotential(
            element=element,
            file=f"{element}.upf",
            sha256="0" * 64,
            z_valence=z,
            kind="NC",
            cutoffs={"normal": Cutoffs(wfc_ry=10 + z, rho_ry=4 * (10 + z))},
        )
        for element, z in VALENCE.items()
    }
    return PseudopotentialFamily(info=info, folder=tmp_path, pseudos=pseudos)


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
    error = failures.failure(reader, 1, tmp_path, out, err)
    assert isinstance(error, EngineError)
    assert "atoms #   1 and #   2 overlap!" in error.message
    assert error.details["routine"] == "check_atoms"
    assert "each other" in str(error.hint)


@pytest.mark.parametrize(
    ("said", "code", "expected"),
    [
        ("Fortran runtime error: No space left on device", 2, "disk_full"),
        ("", -9, "killed"),
        ("No module named qepy", 1, "no_pw"),
        ("something odd", 3, "qe_failed"),
    ],
    ids=["disk", "killed", "module", "other"],
)
def test_other_ends_have_their_codes(tmp_path, said, code, expected):
    out, err = tmp_path / "scf.out", tmp_path / "scf.err"
    out.write_text("")
    err.write_text(said)
    error = failures.failure(PwOutput(silicon()), code, tmp_path, out, err)
    assert error.error_code == expected


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


# -- rules and input -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("composition", "gap", "metal"),
    [
        ({"Na": 1, "Cl": 1}, None, False),
        ({"Mg": 1, "O": 1}, None, False),
        ({"Ti": 1, "O": 2}, None, False),
        ({"Si": 1}, None, False),
        ({"Al": 1}, None, True),
        ({"Ni": 1, "O": 1}, None, True),
        ({"Mg": 1, "Al": 1}, None, True),
        ({"Ti": 1, "O": 1}, None, True),
        ({"Al": 1}, 2.0, False),
        ({"Na": 1, "Cl": 1}, 0.1, True),
    ],
    ids=["NaCl", "MgO", "TiO2", "Si", "Al", "NiO", "MgAl", "TiO", "given gap", "given none"],
)
def test_metal_or_insulator(composition, gap, metal):
    found, why = metal_or_insulator(composition, gap)
    assert found is metal
    assert why


def test_what_has_no_gap_gets_the_choices_for_a_metal(family):
    parameters = ScfParameters()
    guessed = choose(rocksalt(4.2), parameters, family)
    assert may_be_metal(guessed, parameters)
    metal = choose_as_metal(rocksalt(4.2), parameters, family, "scf")
    assert (metal.smearing, metal.degauss_ry) == ("cold", 0.01)
    assert metal.kdist < guessed.kdist
    assert "careful end" in metal.reasons["mesh"]
    assert metal.reasons["metal"].startswith("scf found no gap")
    given = ScfParameters(kdist=0.3)
    assert choose_as_metal(rocksalt(4.2), given, family, "scf").kdist == 0.3


@pytest.mark.parametrize(
    "given",
    [
        {"expected_gap_ev": 1.0},
        {"smearing": "cold"},
        {"degauss_ry": 0.01},
        {"occupations": "fixed"},
    ],
)
def test_what_was_given_is_not_chosen_again(given, family):
    parameters = ScfParameters(**given)
    assert not may_be_metal(choose(rocksalt(4.2), parameters, family), parameters)


def test_rules_give_reasons_and_can_be_overridden(family):
    magnesia = rocksalt(4.2)
    chosen = choose(magnesia, ScfParameters(mesh_from="rule"), family)
    assert (chosen.ecutwfc_ry, chosen.ecutrho_ry) == (20.0, 80.0)
    assert (chosen.smearing, chosen.degauss_ry) == ("gaussian", 0.002)
    assert not chosen.polarised
    assert chosen.kdist == 0.25
    assert {"mesh", "smearing", "spin", "metal", "ecutwfc_ry"} <= set(chosen.reasons)
    other = choose(
        magnesia,
        ScfParameters(kmesh=(3, 3, 3), smearing="cold", degauss_ry=0.02, ecutwfc_ry=33),
        family,
    )
    assert other.mesh == (3, 3, 3)
    assert (other.smearing, other.degauss_ry, other.ecutwfc_ry) == ("cold", 0.02, 33)
    assert other.ecutrho_ry == 132
    aluminium = choose(rocksalt(4.0, "Al", "Al"), ScfParameters(mesh_from="rule"), family)
    assert aluminium.metal
    assert aluminium.smearing == "cold"


def test_the_mesh_comes_from_the_k_point_model(family):
    from nanoos.kpoints import kpoint_model

    magnesia = rocksalt(4.2)
    chosen = choose(magnesia, ScfParameters(), family)
    (predicted,) = kpoint_model().predict([magnesia], confidence=0.95)
    assert chosen.mesh == predicted.mesh_median.divisions
    assert chosen.kdist == predicted.kdist
    assert "likely one of the k-point model RF" in chosen.reasons["mesh"]
    careful = choose(magnesia, ScfParameters(kpoint_confidence=0.95), family)
    assert careful.mesh == predicted.mesh.divisions
    assert careful.kdist == predicted.kdist_lower
    assert "careful end at 0.95" in careful.reasons["mesh"]
    coarser = choose(magnesia, ScfParameters(kpoint_confidence=0.85), family)
    assert chosen.kdist >= coarser.kdist >= careful.kdist


def test_an_unusual_crystal_gets_the_careful_mesh(family):
    from nanoos.kpoints import kpoint_model

    stretched = rocksalt(7.5)
    (predicted,) = kpoint_model().predict([stretched], confidence=0.95)
    assert predicted.out_of_domain
    chosen = choose(stretched, ScfParameters(), family)
    assert chosen.kdist == predicted.kdist_lower
    assert "outside what it learnt from" in chosen.reasons["mesh"]


def test_magnetic_elements_start_polarised(family):
    iron = choose(rocksalt(4.3, "Fe", "O"), ScfParameters(mesh_from="rule"), family)
    assert iron.polarised
    assert [one.moment for one in iron.species] == [4.0, 0.0]
    assert "Fe" in iron.reasons["spin"]
    assert starting_magnetizations(iron, VALENCE) == {
        "starting_magnetization(1)": 0.25,
        "starting_magnetization(2)": 0.0,
    }
    off = choose(rocksalt(4.3, "Fe", "O"), ScfParameters(spin="none"), family)
    assert not off.polarised
    given = choose(rocksalt(4.3, "Fe", "O"), ScfParameters(magnetic_moments={"Fe": 2}), family)
    assert given.species[0].moment == 2.0
    with pytest.raises(InvalidInputError, match="no Co"):
        choose(rocksalt(4.3, "Fe", "O"), ScfParameters(magnetic_moments={"Co": 2}), family)


def test_moments_of_sites_make_kinds_of_atoms(family):
    lattice = np.diag([2.8, 2.8, 2.8])
    coords = np.array([[0.0] * 3, [0.5] * 3])
    antiferromagnet = Structure(
        lattice=lattice, species=("Fe", "Fe"), frac_coords=coords, spins=(2.0, -2.0)
    )
    chosen = choose(antiferromagnet, ScfParameters(mesh_from="rule"), family)
    assert [one.label for one in chosen.species] == ["Fe1", "Fe2"]
    text = pw_input(
        PwTask(
            calculation="scf",
            structure=antiferromagnet,
            choices=chosen,
            pseudos={"Fe": "Fe.upf"},
            settings={"system": starting_magnetizations(chosen, VALENCE)},
        )
    )
    assert "starting_magnetization(2) = -0.125" in text
    assert "Fe2 55.8450 Fe.upf" in text
    assert "nspin = 2" in text
    assert "ntyp = 2" in text


def test_ase_reads_the_input_back(family, tmp_path):
    from ase.io.espresso import read_espresso_in

    structure = rocksalt(4.3)
    chosen = choose(structure, ScfParameters(kdist=0.5), family)
    task = PwTask(
        calculation="scf",
        structure=structure,
        choices=chosen,
        pseudos={"Mg": "Mg.upf", "O": "O.upf"},
    )
    path = tmp_path / "pw.in"
    path.write_text(pw_input(task))
    with path.open() as stream:
        atoms = read_espresso_in(stream)
    assert atoms.cell[:] == pytest.approx(structure.lattice, abs=1e-9)
    assert atoms.get_scaled_positions() == pytest.approx(structure.frac_coords, abs=1e-9)
    assert tuple(atoms.get_chemical_symbols()) == structure.species


def test_fixed_occupations_need_paired_electrons(family):
    fixed = ScfParameters(occupations="fixed")
    assert choose(rocksalt(4.2), fixed, family).nbnd == 12
    with pytest.raises(InvalidInputError, match="paired electrons"):
        choose(rocksalt(4.2, "Al", "O"), fixed, family)
    with pytest.raises(InvalidInputError, match="do not hold"):
        choose(rocksalt(4.2), ScfParameters(nbnd=3), family)


def test_the_ladder_has_an_order_and_limits(family):
    chosen = choose(rocksalt(4.2), ScfParameters(mesh_from="rule"), family)
    task = PwTask(calculation="scf", structure=rocksalt(4.2), choices=chosen, pseudos={})
    names = [remedy.name for remedy in ladder(task, "unconverged", "all")]
    assert names == [
        "mixing_beta 0.3",
        "local Thomas-Fermi mixing",
        "16 bands",
        "conjugate gradients",
        "projected conjugate gradients",
        "gaussian smearing of 0.01 Ry",
    ]
    assert [r.physics for r in ladder(task, "unconverged", "all")] == [False] * 5 + [True]
    assert len(list(ladder(task, "unconverged", "numerical"))) == 5
    assert list(ladder(task, "unconverged", "none")) == []
    assert next(ladder(task, "diagonalisation", "all")).name == "conjugate gradients"


def test_symmetry_and_size_are_counted(family):
    structure = silicon(0.0)
    assert irreducible_points(structure, (4, 4, 4), (0, 0)) == 8
    chosen = choose(structure, ScfParameters(kmesh=(4, 4, 4)), family)
    found = estimate(structure, chosen)
    assert found.kpoints == 8
    volume = structure.volume / BOHR_A**3
    assert found.plane_waves == pytest.approx(volume * 14**1.5 / (6 * np.pi**2), rel=1e-2)
    assert 0 < found.seconds(10) < 100
    assert found.memory_gb < 1


def test_parameters_are_closed_and_consistent():
    with pytest.raises(ValueError, match="not both"):
        EspressoParameters(workflow="scf", kdist=0.2, kmesh=(1, 1, 1))
    with pytest.raises(ValueError, match="four times"):
        EspressoParameters(workflow="scf", ecutwfc_ry=50, ecutrho_ry=100)
    with pytest.raises(ValueError, match="no smearing"):
        EspressoParameters(workflow="scf", occupations="fixed", degauss_ry=0.01)


# -- the program ---------------------------------------------------------------------------------


@pytest.fixture
def _no_command():
    yield
    program.set_command(None)


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
