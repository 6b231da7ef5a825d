"""DFT over HTTP with the real pw.x: submitted, followed, its files fetched, cancelled."""

import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from people import Person

from nanoos.config import Settings
from nanoos.services.container import Services
from nanoos.testing.processes import running
from nanoos.worker import LocalWorker

sys.path.insert(0, str(Path(__file__).parents[1] / "engines"))
from espresso_program import forget_espresso, pw_command, use_espresso

SILICON = """Si2
1.0
0 2.75 2.75
2.75 0 2.75
2.75 2.75 0
Si
2
Direct
0 0 0
0.25 0.25 0.25
"""
CHEAP = {"ecutwfc_ry": 12, "kmesh": [2, 2, 2], "conv_thr_ry_per_atom": 1e-7}
HEAVY = {"ecutwfc_ry": 80, "kmesh": [8, 8, 8]}
PATIENCE_S = 240.0


@pytest.fixture(scope="module")
def pseudos(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("pseudos")
    use_espresso(shared, folder)
    yield folder
    forget_espresso()


@pytest.fixture
def settings(settings: Settings, pseudos: Path) -> Settings:
    return settings.model_copy(update={"qe_command": pw_command(), "pseudo_dir": str(pseudos)})


@pytest.fixture
def _worker(services: Services, settings: Settings) -> Iterator[None]:
    worker = LocalWorker(services, settings, queues=["dft"], concurrency=1)
    worker.start()
    yield
    worker.stop()


def submit(ann: Person, structure: str, parameters: dict, workflow: str = "scf"):
    body = {
        "structure_id": structure,
        "engine": "QE",
        "workflow": workflow,
        "parameters": parameters,
    }
    return ann.client.post("/api/v1/simulations", json=body)


def wait(ann: Person, path: str, condition, what: str):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = ann.client.get(f"/api/v1{path}").json()
        if condition(found):
            return found
        assert time.monotonic() < deadline, f"waited in vain for {what}: {found}"
        time.sleep(0.05)


def programs() -> list[psutil.Process]:
    """Every pw.x that descends from this process."""
    return running("scf.in")


@pytest.mark.usefixtures("_worker")
def test_from_submission_to_files_and_cancelled_in_time(ann: Person) -> None:
    answer = ann.client.post("/api/v1/structures", files={"file": ("POSCAR", SILICON)})
    silicon = answer.json()["id"]
    refused = submit(ann, silicon, {"ecutwfc": 12})
    assert refused.status_code == 422
    assert "ecutwfc_ry" in refused.text

    asked = submit(ann, silicon, CHEAP)
    assert asked.status_code == 202, asked.text
    simulation, job = asked.json()["id"], asked.json()["job_id"]
    ended = ("completed", "failed", "cancelled")
    done = wait(ann, f"/simulations/{simulation}", lambda s: s["state"] in ended, "the SCF")
    assert done["state"] == "completed", done["error"]
    assert done["progress"] == 1.0
    assert -300 < done["energy_ev"] < -150
    assert done["values"]["band_gap_ev"] > 0.3
    assert done["resources"]["requested"]["processes"] == 1
    assert done["resources"]["used"]["cpu_s"] > 0
    pressure = -sum(done["stress_gpa"][i][i] for i in range(3)) / 3
    assert pressure == pytest.approx(done["values"]["pressure_gpa"], abs=1e-6)
    stated = done["record"]["provenance"]["parameters"]["level_of_theory"]
    assert stated["functional"] == "PBE"
    assert submit(ann, silicon, CHEAP).json()["id"] == simulation, "the same work is done once"

    files = {
        one["name"]: one for one in ann.client.get(f"/api/v1/jobs/{job}/files").json()["items"]
    }
    assert {"input/pw.in", "output/scf.out", "output/final.cif", "output/result.json"} <= set(files)
    assert any(name.endswith(".upf") for name in files)
    output = ann.client.get(f"/api/v1/jobs/{job}/files/output/scf.out")
    assert hashlib.sha256(output.content).hexdigest() == files["output/scf.out"]["sha256"]
    assert "JOB DONE" in output.text

    running = submit(ann, silicon, HEAVY).json()["job_id"]
    wait(
        ann, f"/jobs/{running}", lambda j: j["state"] == "running" and programs(), "a running pw.x"
    )
    (program,) = programs()
    began = time.monotonic()
    assert ann.client.post(f"/api/v1/jobs/{running}/cancel").status_code == 200
    wait(ann, f"/jobs/{running}", lambda j: j["state"] == "cancelled", "the end of the job")
    assert time.monotonic() - began < 2.0
    psutil.wait_procs([program], timeout=PATIENCE_S)
    assert not programs()
    kept = ann.client.get(f"/api/v1/jobs/{running}/files").json()["items"]
    assert "output/scf.out" in {one["name"] for one in kept}
