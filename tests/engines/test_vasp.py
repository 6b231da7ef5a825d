"""VASP's files written and read; a stand-in for the licensed program exercises the rest."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import ase.test
import numpy as np
import pytest
from ase.io import read as ase_read

sys.path.insert(0, str(Path(__file__).parent))
import vasp_files
from vasp_files import write_output, write_potcars, write_program

from nanoos.core.errors import EngineError, InvalidInputError, TransientError, UnavailableError
from nanoos.core.units import GPA_PER_EV_A3
from nanoos.engines import get_engine
from nanoos.engines.vasp.potcars import find_potcars, set_potcar_folder, titles_of
from nanoos.engines.vasp.program import set_command
from nanoos.engines.vasp.reading import read_run
from nanoos.structures import Structure, read_structure
from nanoos.testing import EngineContract
from nanoos.testing.crystals import rocksalt
from nanoos.testing.processes import running

CHEAP = {"kmesh": [2, 2, 2]}
POTCARS = {"Mg_pv": (8, 403.9), "O": (6, 400.0), "Ni_pv": (16, 367.9), "Si": (4, 245.3)}


@pytest.fixture(scope="module")
def potcars(tmp_path_factory):
    folder = tmp_path_factory.mktemp("potcars")
    write_potcars(folder, **POTCARS)
    return folder


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    return write_program(tmp_path_factory.mktemp("bin") / "vasp_std")


@pytest.fixture(scope="module", autouse=True)
def _a_vasp(potcars, stand_in):
    set_potcar_folder(str(potcars))
    set_command(str(stand_in))
    yield
    set_command(None)
    set_potcar_folder(None)


@pytest.fixture
def vasp(potcars, stand_in, tmp_path):
    """Gives the stand-in some behaviour."""

    def use(**behaviour) -> None:
        set_command(str(write_program(tmp_path / "vasp_std", **behaviour)))

    yield use
    set_potcar_folder(str(potcars))
    set_command(str(stand_in))


@pytest.fixture
def no_vasp(vasp, monkeypatch):
    """A machine without VASP and POTCARs."""
    monkeypatch.delenv("PMG_VASP_PSP_DIR", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    set_command(None)
    set_potcar_folder(None)


@pytest.fixture
def engine():
    return get_engine("VASP")()


class TestVasp(EngineContract):
    """All workflows with the stand-in."""

    name = "VASP"
    quick: ClassVar = {"scf": CHEAP, "relax": CHEAP, "vc_relax": CHEAP}

    def test_a_cell_is_relaxed_and_computed_afresh(self, runs):
        folder, result, _ = runs["vc_relax"]
        assert result.values["volume_a3_per_atom"] == pytest.approx(vasp_files.V0)
        assert result.values["n_steps"] == 3
        assert "NSW = 0" in (folder / "output" / "final.INCAR").read_text()
        frames = ase_read(folder / "output" / "trajectory.extxyz", index=":")
        assert [frame.info["stage"] for frame in frames] == ["relax"] * 3 + ["final"]
        assert frames[0].cell.volume == pytest.approx(2 * 9.938375)
        rows = (folder / "output" / "convergence.csv").read_text().splitlines()
        assert len(rows) == 1 + result.values["n_scf_iterations"] == 25

    def test_potcars_are_named_and_never_kept(self, runs):
        for folder, result, _ in runs.values():
            kept = [path for path in folder.rglob("*") if path.is_file()]
            assert not [path for path in kept if path.name.endswith("POTCAR")]
            assert not [path for path in kept if b"PSCTR" in path.read_bytes()]
            assert (folder / "input" / "POTCAR.spec").read_text() == "Mg_pv\nO\n"
            files = result.provenance.parameters["pseudopotentials"]["files"]
            assert files["Mg"][1] == "PAW_PBE Mg_pv 01Jan2000"
            level = result.provenance.parameters["level_of_theory"]
            assert level["reference"] == "VASP PAW PBE_54"

    def test_it_says_that_it_is_untested_with_the_program(self, runs):
        for _, result, _ in runs.values():
            assert "never with the program itself" in result.warnings[0]


def test_what_it_rests_on_are_the_potcars_in_use(engine, vasp, tmp_path):
    def fingerprint():
        return engine.fingerprint(rocksalt(), engine.validate_parameters(CHEAP))

    first = fingerprint()
    write_potcars(tmp_path, **POTCARS | {"O": (6, 414.0)})
    set_potcar_folder(str(tmp_path))
    assert first["Mg"] == fingerprint()["Mg"]
    assert first["O"] != fingerprint()["O"]


# -- inputs -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_vasp")
def test_written_inputs_read_back_without_vasp(engine, tmp_path):
    from pymatgen.io.vasp.inputs import Incar, Kpoints

    mixed = Structure(
        lattice=np.diag([4.0, 5.0, 6.0]),
        species=("O", "Ni", "O", "Ni"),
        frac_coords=np.array([[0, 0, 0], [0.5, 0.5, 0.1], [0, 0.5, 0], [0.5, 0.0, 0.6]]),
        spins=(0.0, 2.0, 0.0, -2.0),
    )
    folder = engine.prepare_input(mixed, {"workflow": "vc_relax", "kdist": 0.4}, tmp_path)
    assert sorted(p.name for p in folder.iterdir()) == [
        "INCAR", "KPOINTS", "POSCAR", "POTCAR.spec", "choices.json", "parameters.json", "structure.json"
    ]  # fmt: skip
    again = read_structure(folder / "POSCAR")
    assert again.species == ("O", "O", "Ni", "Ni"), "elements together"
    assert again.frac_coords == pytest.approx(mixed.frac_coords[[0, 2, 1, 3]])
    assert again.lattice == pytest.approx(mixed.lattice)
    assert (folder / "POTCAR.spec").read_text() == "O\nNi_pv\n"
    incar = Incar.from_file(folder / "INCAR")
    assert incar["MAGMOM"] == [0, 0, 2, -2], "in the order of the POSCAR"
    assert (incar["ISPIN"], incar["ISIF"], incar["IBRION"], incar["NSW"]) == (2, 3, 2, 60)
    assert incar["EDIFF"] == pytest.approx(4e-6)
    assert incar["EDIFFG"] == -0.02
    assert incar["ENCUT"] == 520
    mesh = Kpoints.from_file(folder / "KPOINTS")
    assert mesh.style.name == "Gamma"
    assert list(mesh.kpts[0]) == [4, 4, 3]  # 2π / (0.4 Å^-1 × 4, 5, 6 Å), rounded up
    reasons = json.loads((folder / "choices.json").read_text())["reasons"]
    assert reasons["spin"] == "the structure has moments"
    assert "were not at hand" in reasons["encut_ev"]


@pytest.mark.parametrize(
    ("structure", "given", "expected"),
    [
        (rocksalt(4.2), {}, {"ISMEAR": 0, "SIGMA": 0.0272, "ISPIN": 1, "NSW": 0}),
        (rocksalt(4.2), {"expected_gap_ev": 0.0}, {"ISMEAR": 1, "SIGMA": 0.1361}),
        (rocksalt(4.2), {"smearing": "fermi-dirac", "sigma_ev": 0.1}, {"ISMEAR": -1, "SIGMA": 0.1}),
        (rocksalt(4.2, "Ni"), {}, {"ISPIN": 2, "MAGMOM": [2.0, 0.0], "LORBIT": 11}),
        (rocksalt(4.2, "Ni"), {"spin": "none"}, {"ISPIN": 1}),
        (rocksalt(5.0, "Er", "N"), {}, {"ISPIN": 1}),
        (rocksalt(4.2), {"functional": "PBEsol", "encut_ev": 700}, {"GGA": "Ps", "ENCUT": 700}),
        (rocksalt(4.2), {"algorithm": "All", "kpar": 4, "nbands": 40},
         {"ALGO": "All", "KPAR": 4, "NBANDS": 40}),
    ],
    ids=["insulator", "metal", "given", "spin", "no-spin", "f-in-core", "functional", "tags"],
)  # fmt: skip
def test_choices_by_rule_and_overridden(engine, tmp_path, structure, given, expected):
    from pymatgen.io.vasp.inputs import Incar

    folder = engine.prepare_input(structure, {**CHEAP, **given}, tmp_path)
    incar = Incar.from_file(folder / "INCAR")
    assert {name: incar.get(name) for name in expected} == expected


def test_the_mesh_is_that_of_the_kpoint_model_by_default(engine, tmp_path):
    folder = engine.prepare_input(rocksalt(4.2), {}, tmp_path)
    choices = json.loads((folder / "choices.json").read_text())
    assert "k-point model" in choices["reasons"]["mesh"]
    assert choices["mesh"] == [int(n) for n in (folder / "KPOINTS").read_text().split()[-3:]]


def test_the_cutoff_follows_the_potcars(engine, tmp_path):
    folder = engine.prepare_input(rocksalt(4.2), CHEAP, tmp_path)
    assert json.loads((folder / "choices.json").read_text())["encut_ev"] == 526  # 1.3 × 403.9
    with pytest.raises(InvalidInputError, match=r"below the 403\.9 eV of the POTCAR Mg_pv"):
        engine.prepare_input(rocksalt(4.2), {**CHEAP, "encut_ev": 300}, tmp_path / "low")


def test_a_potcar_is_put_together_for_a_run_by_hand(engine, tmp_path):
    folder = engine.prepare_input(rocksalt(4.2), CHEAP, tmp_path)
    words = [sys.executable, "-m", "nanoos.engines.vasp", "--potcar", str(folder)]
    missing = subprocess.run(words, capture_output=True, text=True, check=False)
    assert missing.returncode != 0
    assert "NANO_OS_VASP_POTCAR_DIR" in missing.stderr
    text = engine.write_potcar(folder).read_text()
    assert text.index("TITEL  = PAW_PBE Mg_pv") < text.index("TITEL  = PAW_PBE O ")


@pytest.mark.usefixtures("vasp")
def test_titles_and_where_they_are_found(potcars):
    assert titles_of(("Fe", "O"), "PBE_54", None) == {"Fe": "Fe_pv", "O": "O"}
    assert titles_of(("Fe", "O"), "PBE_54", {"Fe": "Fe"}) == {"Fe": "Fe", "O": "O"}
    with pytest.raises(InvalidInputError, match="not one for Fe"):
        titles_of(("Fe", "O"), "PBE_54", {"Fe": "Co"})
    set_potcar_folder(str(potcars / "POT_GGA_PAW_PBE_54"))
    assert find_potcars({"O": "O"}, "PBE_54")["O"].z_valence == 6
    with pytest.raises(UnavailableError, match="called O"):
        find_potcars({"O": "O"}, "PBE_64")  # never one of another release
    set_potcar_folder(str(potcars))
    with pytest.raises(UnavailableError, match="called Fe_pv"):
        find_potcars({"O": "O", "Fe": "Fe_pv"}, "PBE_54")


# -- refusals -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_vasp")
def test_without_vasp_it_is_refused_and_says_what_to_set(engine, potcars, stand_in, monkeypatch):
    lacks = engine.lacking(engine.validate_parameters({}))
    assert [error.error_code for error in lacks] == ["no_vasp", "no_potcars"]
    with pytest.raises(UnavailableError) as caught:
        engine.validate(rocksalt(4.2), CHEAP)
    assert caught.value.error_code == "no_vasp"
    assert "NANO_OS_VASP_COMMAND" in caught.value.hint
    set_command(str(stand_in))
    with pytest.raises(UnavailableError) as caught:
        engine.validate(rocksalt(4.2), CHEAP)
    assert caught.value.error_code == "no_potcars"
    assert "NANO_OS_VASP_POTCAR_DIR" in caught.value.hint
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(potcars))
    engine.validate(rocksalt(4.2), CHEAP)


def test_what_cannot_work_is_refused(engine):
    for given, words in (
        ({"encut": 500}, "encut_ev"),
        ({"kdist": 0.2, "kmesh": [2, 2, 2]}, "not both"),
        ({"potcar_titles": {"Mg": "../Mg"}}, "potcar_titles"),
    ):
        with pytest.raises(InvalidInputError) as caught:
            engine.validate(rocksalt(4.2), given)
        assert words in f"{caught.value.message} {caught.value.hint}"
    large = Structure(
        lattice=np.diag([42.0] * 3),
        species=("Si",) * 1000,
        frac_coords=np.indices((10, 10, 10)).reshape(3, -1).T / 10,
    )
    with pytest.raises(InvalidInputError) as caught:
        engine.validate(large, {"kmesh": [4, 4, 4]})
    assert caught.value.error_code == "too_expensive"


# -- outputs ------------------------------------------------------------------------------------


def made(folder: Path, **changes):
    incar = {"NELM": "60", "ISPIN": "2" if changes.get("moment") else "1"}
    incar |= changes.pop("incar", {})
    crystal = rocksalt(4.5)
    frame = (crystal.lattice.tolist(), crystal.frac_coords.tolist())
    write_output(folder, incar, ["Mg", "O"], [frame], **changes)
    return read_run(folder)


def test_numbers_signs_and_units(tmp_path):
    run = made(tmp_path, forces=[[0.1, 0, 0], [-0.1, 0, 0]])
    volume = 4.5**3 / 4
    strain = volume / 2 / vasp_files.V0 - 1
    assert run.energy_ev == pytest.approx(2 * (-5 + strain**2 / 2))
    assert run.smearing_energy_ev == pytest.approx(-0.004)
    assert run.energy_sigma0_ev == pytest.approx(run.energy_ev + 0.002)
    assert run.stress == pytest.approx(np.eye(3) * strain / vasp_files.V0, abs=1e-9)
    assert strain > 0, "stretched: under tension, so the stress is positive"
    assert run.forces[0].tolist() == [0.1, 0, 0]
    assert (run.version, run.n_electrons, run.fermi_ev) == ("6.4.2", 8, 5.1)
    assert (run.cpu_s, run.wall_s) == (12.5, 13.25)
    assert run.gap is not None
    assert run.gap.gap_ev == pytest.approx(1.2)
    assert run.gap.direct
    assert run.total_magnetization is None
    assert len(run.scf_energies_ev[0]) == 6
    assert run.scf_converged
    assert run.relaxed is None


def test_moments_of_cell_and_sites(tmp_path):
    run = made(tmp_path, moment=2.0)
    assert run.total_magnetization == pytest.approx(2.0)
    assert run.magmoms == pytest.approx((1.0, 1.0))


def test_the_energy_is_without_the_pressure_term(tmp_path):
    assert made(tmp_path, pstress_kbar=50.0).energy_ev == pytest.approx(made(tmp_path).energy_ev)


def test_complaints_become_warnings(tmp_path):
    run = made(tmp_path, words=" BRMIX: very serious problems\n")
    assert any("BRMIX" in text for text in run.warnings)


def test_a_truncated_file_is_no_result(engine, tmp_path):
    with pytest.raises(EngineError) as caught:
        made(tmp_path, truncated=True)
    assert caught.value.error_code == "no_result"
    with pytest.raises(EngineError) as caught:
        engine.parse_output(tmp_path)
    assert caught.value.error_code == "no_result"


def test_sites_come_back_in_the_order_they_were_given(engine, vasp, tmp_path):
    vasp(output={"forces": [[1.0, 0, 0], [2.0, 0, 0], [3.0, 0, 0], [4.0, 0, 0]]})
    mixed = Structure(
        lattice=np.diag([4.0, 4.0, 4.0]),
        species=("O", "Mg", "O", "Mg"),
        frac_coords=np.array([[0, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0.0, 0.5]]),
    )
    result = engine.run(mixed, CHEAP, tmp_path)
    assert [row[0] for row in result.forces] == [1.0, 3.0, 2.0, 4.0]
    assert result.structure.species == mixed.species
    assert result.structure.frac_coords == pytest.approx(mixed.frac_coords)


def test_a_run_by_hand_is_read(engine, stand_in, tmp_path):
    folder = engine.prepare_input(rocksalt(4.3), CHEAP, tmp_path)
    engine.write_potcar(folder)
    subprocess.run([stand_in], cwd=folder, check=True, capture_output=True)
    result = engine.parse_output(folder)
    assert result.workflow == "scf"
    assert result.energy_ev == pytest.approx(-9.99996202)
    assert result.provenance.parameters["level_of_theory"]["functional"] == "PBE"
    assert set(result.provenance.inputs_sha256) == {"INCAR", "KPOINTS", "POSCAR"}


@pytest.mark.parametrize(
    ("output", "workflow", "code"),
    [({"iterations": 60}, "scf", "scf_not_converged"), ({"reached": False}, "relax", "relax_not_converged")],
    ids=["scf", "relax"],
)  # fmt: skip
def test_what_did_not_converge_is_a_failure(engine, vasp, tmp_path, output, workflow, code):
    vasp(output=output)
    given = {**CHEAP, "workflow": workflow, "max_scf_steps": 60}
    if workflow == "relax":
        given["max_continuations"] = 1
    with pytest.raises(EngineError) as caught:
        engine.run(rocksalt(4.3), given, tmp_path / "run")
    assert caught.value.error_code == code
    assert not (tmp_path / "run" / "output" / "result.json").exists()
    last = "scf" if workflow == "scf" else "relax-2"
    assert (tmp_path / "run" / "output" / f"{last}.vasprun.xml").exists(), "what it left is kept"


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        ({"says": "VERY BAD NEWS! internal error in subroutine SGRCON"}, EngineError, "VERY BAD NEWS"),
        ({"exit": 3, "says": "out of luck"}, EngineError, "out of luck"),
        ({"exit": "ld.so: error while loading shared libraries: libmkl"}, UnavailableError, "libmkl"),
        ({"output": {"truncated": True}}, EngineError, "no complete result"),
    ],
    ids=["its-words", "exit-code", "library", "truncated"],
)  # fmt: skip
def test_why_a_start_failed(engine, vasp, tmp_path, behaviour, kind, words):
    vasp(**behaviour)
    with pytest.raises(kind, match=words):
        engine.run(rocksalt(4.3), CHEAP, tmp_path / "run")
    assert not (tmp_path / "run" / "output" / "result.json").exists()


def test_cancelling_ends_the_program(engine, vasp, tmp_path):
    vasp(sleep_s=60)
    told = []

    class Cancelled(BaseException):
        pass

    def progress(_fraction, message):
        told.append(message)
        if "SCF iteration 1" in message:
            raise Cancelled

    started = time.monotonic()
    with pytest.raises(Cancelled):
        engine.run(rocksalt(4.3), CHEAP, tmp_path / "run", progress=progress)
    assert time.monotonic() - started < 30
    assert not running("vasp_std")
    assert "energy changes by 2.0e+00 eV of 2e-06" in told[-1]
    assert not (tmp_path / "run" / "output" / ".scratch").exists()


def test_a_program_that_is_killed_is_worth_another_attempt(engine, vasp, tmp_path):
    vasp(sleep_s=60)

    def kill(_fraction, message):
        if "SCF iteration" in message:
            for program in running("vasp_std"):
                program.kill()

    with pytest.raises(TransientError) as caught:
        engine.run(rocksalt(4.3), CHEAP, tmp_path / "run", progress=kill)
    assert caught.value.error_code == "killed"


# -- files of VASP itself, as ASE ships them ----------------------------------------------------

SHIPPED = Path(ase.test.__file__).parent / "testdata" / "vasp"


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="this ASE brings no files of VASP")
@pytest.mark.parametrize("name", ["vasprun_pstress.xml", "vasprun_dfpt.xml"])
def test_files_of_vasp_read_as_ase_reads_them(tmp_path, name):
    (tmp_path / "vasprun.xml").write_bytes((SHIPPED / name).read_bytes())
    run = read_run(tmp_path)
    atoms = ase_read(tmp_path / "vasprun.xml", format="vasp-xml")
    assert run.version.startswith("6.3")
    assert run.energy_ev == pytest.approx(atoms.get_potential_energy(force_consistent=True))
    assert run.energy_sigma0_ev == pytest.approx(atoms.get_potential_energy())
    assert run.forces == pytest.approx(atoms.get_forces(), abs=1e-9)
    assert run.stress == pytest.approx(atoms.get_stress(voigt=False), rel=1e-6, abs=1e-9)
    assert run.structure.species == tuple(atoms.get_chemical_symbols())
    pressure_gpa = -np.trace(run.stress) / 3 * GPA_PER_EV_A3
    assert abs(pressure_gpa) > 1


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="this ASE brings no files of VASP")
def test_the_gap_of_a_file_of_vasp(tmp_path):
    (tmp_path / "vasprun.xml").write_bytes((SHIPPED / "vasprun_pstress.xml").read_bytes())
    run = read_run(tmp_path)
    assert run.gap is not None
    assert 4.0 < run.gap.gap_ev < 7.0, "diamond with PBE: 4.1 eV, on a coarse mesh more"
    assert not run.gap.direct


def test_the_volume_of_a_cell_with_vacuum_is_not_relaxed():
    layer = Structure(
        lattice=np.diag([2.5, 4.3, 20.0]),
        species=("C",) * 2,
        frac_coords=[[0, 0, 0.5], [0.5, 0.17, 0.5]],
    )
    with pytest.raises(InvalidInputError, match="vacuum along c") as caught:
        get_engine("VASP")().validate(layer, {"workflow": "vc_relax"})
    assert caught.value.error_code == "vacuum_in_cell"
    assert "workflow relax" in caught.value.hint
