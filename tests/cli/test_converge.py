"""``nanoos converge``: the study as a job, its files, the verdict, the export."""

import sys
from pathlib import Path
from uuid import UUID

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "engines"))
from espresso_program import forget_espresso, pw_command, use_espresso

from nanoos.kpoints import studies
from nanoos.kpoints.studies import StudyFile
from nanoos.services.access import LOCAL_PRINCIPAL
from nanoos.services.kpoint_studies import KpointStudyService

SILICON = """Si2
1.0
0 2.715 2.715
2.715 0 2.715
2.715 2.715 0
Si
2
Direct
0 0 0
0.25 0.25 0.25
"""
CHEAP = (
    "--set",
    "ecutwfc_ry=10",
    "--set",
    "conv_thr_ry_per_atom=1e-6",
    "--set",
    "tolerance_ev=0.2",
)


@pytest.fixture(scope="module")
def pseudos(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pseudos")
    use_espresso(shared, folder)
    yield folder
    forget_espresso()


@pytest.fixture
def silicon(tmp_path, pseudos, monkeypatch):
    monkeypatch.setenv("NANO_OS_QE_COMMAND", pw_command())
    monkeypatch.setenv("NANO_OS_PSEUDO_DIR", str(pseudos))
    path = tmp_path / "Si.poscar"
    path.write_text(SILICON)
    return path


@pytest.fixture
def settings(settings, pseudos):
    return settings.model_copy(update={"qe_command": pw_command(), "pseudo_dir": str(pseudos)})


def test_a_study_is_a_job_with_files_a_verdict_and_a_store(
    run, silicon, services, drain, tmp_path, monkeypatch
):
    monkeypatch.setattr(studies, "CONFIRMING_A", 10.0)
    queued = run("converge", silicon, *CHEAP, "--submit", "--json").document
    assert (queued["state"], queued["energies"], queued["prediction"]) == ("queued", [], None)
    assert drain(services) == 1
    folder = tmp_path / "not" / "there"
    ran = run("converge", silicon, *CHEAP, "--json", "-o", folder)
    assert ran.code == 0, ran.err
    found = ran.document
    assert found["simulation_id"] == queued["simulation_id"], "the same work is done once"
    assert found["state"] == "completed"
    energies = {one["length_a"]: one["energy_ev"] for one in found["energies"]}
    at = found["converged_length_a"]
    assert max(energies) == at + 10
    assert abs(energies[at + 10] - energies[at]) <= 0.2
    assert abs(energies[5.0] - energies[at + 10]) > 0.02
    assert found["mesh"] in [one["mesh"] for one in found["energies"]]
    assert found["prediction"]["prediction_holds"] in (0.0, 1.0)
    stem = f"Si_{found['simulation_id'][:8]}_kpoints"
    assert [Path(name).name for name in found["files"]] == [f"{stem}.csv", f"{stem}.png"]
    assert (folder / f"{stem}.png").read_bytes().startswith(b"\x89PNG")

    table = run("converge", silicon, *CHEAP, "-o", folder)
    assert "change, meV" in table.out
    assert "that RF" in table.err

    stored = tmp_path / "studies.jsonl"
    assert run("converge", "--export", stored, "--json").document["exported"] == 1
    (study,) = StudyFile(stored)
    assert study.converged_length == at
    assert study.structure.formula == "Si"
    assert "PseudoDojo" in study.code
    assert run("converge", "--export", stored).code != 0, "no file is written over"
    both = run("converge", silicon, "--export", tmp_path / "more.jsonl", "--json")
    assert both.code == 2
    assert "makes none" in both.document["error"]["message"]

    (folder / f"{stem}.csv").unlink()
    (folder / f"{stem}.csv").mkdir()
    unwritten = run("converge", silicon, *CHEAP, "--json", "-o", folder)
    assert unwritten.code == 2
    assert '"converged_length_a"' in unwritten.out, "what was found is told all the same"


def test_a_failed_study_is_tried_again(run, silicon, services, drain, monkeypatch):
    service = services.kpoint_studies
    assert isinstance(service, KpointStudyService)
    queued = run("converge", silicon, *CHEAP, "--submit", "--json").document
    monkeypatch.setattr("nanoos.engines.espresso.convergence.study_lengths", lambda _: iter((5.0,)))
    drain(services)
    job = services.jobs.get(UUID(queued["job_id"]), LOCAL_PRINCIPAL)
    assert (job.state, job.error["code"]) == ("failed", "kpoints_not_converged")
    again = run("converge", silicon, *CHEAP, "--submit", "--json").document
    assert (again["state"], again["job_id"]) == ("queued", queued["job_id"])
    assert list(service.studies(LOCAL_PRINCIPAL)) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((), "No structure"), (("Si.poscar", "--set", "kdist=0.2"), "its own meshes")],
    ids=["nothing", "a mesh"],
)
def test_what_cannot_be_is_said(run, silicon, monkeypatch, arguments, words):
    monkeypatch.chdir(silicon.parent)
    ran = run("converge", *arguments)
    assert ran.code != 0
    assert words in ran.err
