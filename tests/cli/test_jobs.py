"""``jobs`` and ``simulate``."""

import json
import re
import resource
import uuid

import pytest
from ase.io import read as ase_read
from ase.io import write as ase_write

from nanoos.engines.lammps import program
from nanoos.services.access import LOCAL_PRINCIPAL


@pytest.fixture
def probe(services):
    """The id of a job that waits."""
    with services.database.write() as session:
        return services.jobs.enqueue(session, "probe", {}, owner_id=LOCAL_PRINCIPAL.user_id)


def test_list_and_show(probe, run):
    page = run("jobs", "list", "--state", "queued", "--json").document
    assert [item["id"] for item in page["items"]] == [str(probe)]
    assert (page["total"], page["next"]) == (1, None)
    assert str(probe)[:8] in run("jobs", "list").out
    document = run("jobs", "show", str(probe)[:8], "--json").document
    assert document["state"] == "queued"
    assert document["created_at"].endswith("Z")
    assert document["files"] == []
    assert run("jobs", "list", "--state", "completed").out == ""


def test_cancel_and_retry(probe, run):
    assert run("jobs", "cancel", probe, "--json").document["state"] == "cancelled"
    again = run("jobs", "cancel", probe)
    assert again.code == 6
    assert "already" in again.err
    assert run("jobs", "retry", probe).code == 0
    assert run("jobs", "show", probe, "--json").document["state"] == "queued"
    kinds = [event["kind"] for event in run("jobs", "events", probe, "--json").lines]
    assert kinds == ["queued", "cancelled", "queued"]
    assert run("jobs", "events", probe, "--after", "2", "--json").document["number"] == 3


def test_following_a_job_that_has_ended_ends(probe, run):
    run("jobs", "cancel", probe)
    assert "cancelled" in run("jobs", "events", probe, "--follow").out
    silent = run("jobs", "log", probe, "--follow")
    assert (silent.code, silent.out) == (0, "")
    assert "nothing" in silent.err


def test_the_log_is_readable_before_the_job_ends(probe, services, run):
    (services.job_files.run_dir(probe) / "log.txt").write_text("step 1\nstep 2\n")
    assert run("jobs", "log", probe).out == "step 1\nstep 2\n"
    assert run("jobs", "log", probe, "--json").document == {
        "job_id": str(probe),
        "log": "step 1\nstep 2\n",
    }
    assert run("jobs", "show", probe, "--json").document["files"][0]["name"] == "log.txt"


def test_files_are_copied(probe, services, run, tmp_path):
    folder = services.job_files.run_dir(probe) / "output"
    folder.mkdir()
    (folder / "eos.svg").write_text("<svg/>")
    copied = run("jobs", "files", str(probe)[:8], "-o", tmp_path / "there", "--json").document
    assert copied["files"] == ["output/eos.svg"]
    assert (tmp_path / "there" / "output" / "eos.svg").read_text() == "<svg/>"
    (tmp_path / "file").write_text("")
    refused = run("jobs", "files", probe, "--output", tmp_path / "file" / "there")
    assert refused.code == 2
    assert "Traceback" not in refused.err


def test_a_copy_that_does_not_fit_leaves_nothing(probe, services, run, tmp_path):
    content = bytes(range(256)) * 12_000
    (services.job_files.run_dir(probe) / "trajectory.bin").write_bytes(content)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, before[1]))
    try:
        refused = run("jobs", "files", probe, "-o", tmp_path / "there")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert refused.code != 0
    assert "trajectory.bin" in refused.err
    assert "Traceback" not in refused.err
    assert not list((tmp_path / "there").iterdir())
    assert run("jobs", "files", probe, "-o", tmp_path / "there").code == 0
    assert (tmp_path / "there" / "trajectory.bin").read_bytes() == content


def test_files_of_a_job_without_any(probe, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "no files" in run("jobs", "files", probe).err
    assert not list(tmp_path.glob("job-*"))


@pytest.mark.parametrize(
    ("text", "code"),
    [("nonsense", 2), ("abc", 2), ("abcdef01", 5), ("7d0f2b0e-5c5f-4c9e-9a37-0d6a3c1f2b11", 5)],
)
def test_what_is_no_job_is_a_clear_error(lab, text, code):
    ran = lab("jobs", "show", text)
    assert ran.code == code
    assert "job" in ran.err


def test_a_prefix_that_means_several_jobs_is_refused(services, run, monkeypatch):
    ids = iter([uuid.UUID("abcdef00" + "0" * 23 + "1"), uuid.UUID("abcdef00" + "0" * 23 + "2")])
    with services.database.write() as session:
        from nanoos.db import JobTable

        for job_id in ids:
            session.add(
                JobTable(id=job_id, kind="probe", owner_id=LOCAL_PRINCIPAL.user_id, payload={})
            )
    assert run("jobs", "show", "abcdef00").code == 6
    assert run("jobs", "show", "abcdef00" + "0" * 23 + "1").code == 0


def test_an_unknown_state_is_refused(lab):
    assert "queued" in lab("jobs", "list", "--state", "waiting").err


def test_simulate_and_wait_runs_it_here_and_once(lab, crystals):
    command = ("simulate", crystals / "a_MgO.cif", "--engine", "LJ", "--workflow", "single_point")
    queued = lab(*command, "--json")
    assert queued.code == 0
    assert queued.document["state"] == "queued"
    done = lab(*command, "--wait", "--json")
    assert done.code == 0, done.err
    assert done.document["id"] == queued.document["id"]
    assert done.document["state"] == "completed"
    assert isinstance(done.document["values"]["energy_ev_per_atom"], float)
    assert lab("jobs", "show", done.document["job_id"], "--json").document["files"]
    shown = lab("show", "MgO")
    assert "result" in shown.out
    assert "LJ" in shown.out
    assert len(done.document["stress_gpa"]) == 3
    table = lab(*command, "--wait")
    assert "eV/atom" in table.out
    assert "s of processor" in table.out
    assert re.search(r"stress, GPa +xx -?\d+\.\d+ yy .* \(tension positive\)", table.out)
    assert "nanoos jobs files" in table.err
    folder = crystals / "copied"
    assert lab(*command, "--wait", "-o", folder).code == 0
    assert (folder / "output" / "result.json").is_file()
    assert "--wait" in lab(*command, "-o", folder).err


def test_the_cell_of_the_file_is_simulated(lab, crystals):
    magnesia = crystals / "a_MgO.cif"
    assert lab("structures", "import", magnesia).code == 0
    large = crystals / "supercell.cif"
    ase_write(large, ase_read(magnesia) * (2, 1, 1))
    done = lab("simulate", large, "-e", "LJ", "-w", "single_point", "--wait", "--json").document
    sites = len(ase_read(large))
    shown = lab("structures", "export", done["structure_id"], "-o", crystals / "back.cif")
    assert shown.code == 0, shown.err
    assert len(ase_read(crystals / "back.cif")) == sites
    again = lab("simulate", large, "-e", "LJ", "-w", "single_point", "--wait", "--json").document
    assert again["id"] == done["id"]


@pytest.mark.parametrize("name", ["absent.cif", "folder/POSCAR", "a.b.extxyz"])
def test_a_file_that_is_not_there_is_said(lab, name):
    ran = lab("simulate", name, "-e", "LJ")
    assert ran.code == 5
    assert f"There is no file '{name}'" in ran.err


def test_a_word_too_long_for_a_path_is_no_traceback(lab):
    ran = lab("simulate", "Si" * 200, "-e", "LJ")
    assert ran.code == 5
    assert "Internal" not in ran.err


def test_simulate_again_after_a_cancellation_runs_it(lab, crystals):
    command = ("simulate", crystals / "a_MgO.cif", "--engine", "LJ", "--workflow", "single_point")
    job = lab(*command, "--json").document["job_id"]
    assert lab("jobs", "cancel", job).code == 0
    done = lab(*command, "--wait", "--json")
    assert done.code == 0, done.err
    assert (done.document["job_id"], done.document["state"]) == (job, "completed")


def test_a_cancellation_while_it_is_waited_for_says_how_to_go_on(lab, crystals, monkeypatch):
    def cancelled(settings, laboratory, simulation_id):
        asked = laboratory.simulations.get(simulation_id, LOCAL_PRINCIPAL)
        laboratory.jobs.cancel(asked.job_id, LOCAL_PRINCIPAL)
        return laboratory.simulations.get(simulation_id, LOCAL_PRINCIPAL)

    monkeypatch.setattr("nanoos.cli.simulate.followed", cancelled)
    ran = lab("simulate", crystals / "a_MgO.cif", "--engine", "LJ", "--wait")
    assert ran.code == 130
    assert "The simulation was cancelled." in ran.err
    assert "nanoos jobs retry" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--engine", "MLPI"], 5, "'MLIP'"),
        (["--engine", "LJ", "--workflow", "dance"], 2, "single_point"),
        (["--engine", "LJ", "--set", "fmx=0.1"], 2, "'fmax'"),
        (["--engine", "LJ", "--set", "nothing"], 2, "NAME=VALUE"),
        (["--engine", "LJ", "-w", "md", "--set", "thermostat_damping=Infinity"], 2, "finite"),
        (["--engine", "LJ", "-w", "md", "--set", "barostat_damping=1e9"], 2, "less than"),
    ],
)
def test_simulate_refuses_before_it_queues(lab, crystals, arguments, code, words):
    ran = lab("simulate", crystals / "a_MgO.cif", *arguments)
    assert ran.code == code
    assert words in ran.err
    assert lab("jobs", "list", "--json").document["total"] == 0


def test_vasp_is_refused_without_its_licence_but_inputs_are_written(
    lab, crystals, tmp_path, monkeypatch
):
    for name in ("PMG_VASP_PSP_DIR", "NANO_OS_VASP_COMMAND", "NANO_OS_VASP_POTCAR_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    command = ("simulate", crystals / "a_MgO.cif", "--engine", "VASP", "--set", "kmesh=[3,3,3]")
    refused = lab(*command)
    assert refused.code == 8
    assert "NANO_OS_VASP_COMMAND" in refused.err
    ran = lab(*command, "--write-input", tmp_path / "vasp", "--json")
    assert ran.code == 0, ran.err
    assert {"INCAR", "KPOINTS", "POSCAR", "POTCAR.spec"} <= set(ran.document["files"])
    assert (tmp_path / "vasp" / "input" / "POTCAR.spec").read_text() == "Mg_pv\nO\n"
    assert lab("jobs", "list", "--json").document["total"] == 0


def test_lammps_is_refused_without_the_program_but_inputs_are_written(
    lab, crystals, tmp_path, monkeypatch
):
    monkeypatch.setattr(program, "_command", None)  # what the command line sets does not stay
    monkeypatch.setenv("NANO_OS_LAMMPS_COMMAND", "/nowhere/lmp")
    pair = {"epsilon": 0.01, "sigma": 2.5}
    command = (
        "simulate", crystals / "a_MgO.cif", "--engine", "LAMMPS", "--set", "potential=lj/cut",
        "--set", "pairs=" + json.dumps({"Mg-Mg": pair, "O-O": pair}),
    )  # fmt: skip
    assert lab(*command).code == 8
    ran = lab(*command, "--write-input", tmp_path / "lammps", "--json")
    assert ran.code == 0, ran.err
    assert {"in.lammps", "structure.data"} <= set(ran.document["files"])


def test_templates_are_listed_kept_run_and_deleted(lab, crystals):
    listed = lab("templates", "list", "--json").document
    assert {one["name"] for one in listed["items"]} >= {"MD_NVT_LAMMPS", "MD_NPT_LAMMPS"}
    assert "--template MD_NVT_LAMMPS" in lab("templates", "show", "MD_NVT_LAMMPS").err
    kept = lab(
        "templates", "save", "soft", "-e", "LJ", "-w", "relax", "--set", "fmax=0.03", "--json"
    )
    assert kept.document["parameters"] == {"fmax": 0.03}
    command = ("simulate", crystals / "a_MgO.cif", "--template", "soft")
    ran = lab(*command, "--set", "max_steps=9", "--json")
    assert ran.code == 0, ran.err
    assert ran.document["workflow"] == "relax"
    assert ran.document["parameters"]["fmax"] == 0.03
    assert ran.document["parameters"]["max_steps"] == 9
    assert lab(*command, "--engine", "MLIP").code == 2
    assert lab("templates", "delete", "soft", "--json").document == {"deleted": "soft"}
    assert lab(*command).code == 5
    assert "comes with nanoos" in lab("templates", "delete", "MD_NVT_LAMMPS").err


def test_a_worker_is_told_which_queues_there_are(lab):
    ran = lab("worker", "--queue", "dtf")
    assert ran.code == 2
    assert "'dft'" in ran.err
