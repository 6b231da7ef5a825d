"""Simulations that were cancelled or failed and are retried go on from what they had saved."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "engines"))
from espresso_program import forget_espresso, use_espresso

from nanoos.core.errors import CancelledError
from nanoos.services.access import LOCAL_PRINCIPAL as ME
from nanoos.structures import Structure
from nanoos.worker import child

FACES = 0.5 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
COPPER = Structure(lattice=3.615 * FACES, species=("Cu",), frac_coords=[[0, 0, 0]])
SILICON = Structure(
    lattice=5.5 * FACES, species=("Si", "Si"), frac_coords=[[0, 0, 0], [0.25, 0.25, 0.25]]
)
DYNAMICS = {
    "potential": "Cu_mishin1.eam.alloy",
    "num_steps": 12_000,
    "restart_interval": 500,
    "repeats": [4, 4, 4],
    "thermo_interval": 100,
    "dump_interval": 3000,
    "analysis": [],
}


@pytest.fixture
def pw_x(services, shared, tmp_path):
    use_espresso(shared, tmp_path / "pseudos")
    yield
    forget_espresso()


@pytest.fixture
def submit(services):
    def submitted(structure, **work):
        record, _ = services.structures.add(structure, ME, source={"kind": "test"})
        return services.simulations.submit(record.id, ME, **work)

    return submitted


@pytest.fixture
def cancelled_at(services, drain, monkeypatch):
    """Run what waits, and cancel it as soon as it tells what ``here`` accepts."""

    def run(here):
        report = services.jobs.report_progress

        def reported(claim, fraction, message):
            report(claim, fraction, message)
            if here(message):
                raise CancelledError("A user asked.")

        with monkeypatch.context() as patch:
            patch.setattr(child, "PROGRESS_INTERVAL_S", 0.0)
            patch.setattr(type(services.jobs), "report_progress", staticmethod(reported))
            assert drain(services) == 1

    return run


def text_of(services, job_id, name):
    with services.job_files.open(job_id, name, ME) as handle:
        return handle.read().decode()


def restarts(services, job_id):
    names = [file.name for file in services.job_files.names(job_id, ME)]
    return sorted(name for name in names if "/restart." in name)


@pytest.mark.parametrize("folder", ["is there", "is gone"])
def test_dynamics_go_on_from_their_restart_file(folder, services, submit, cancelled_at, drain):
    asked = submit(COPPER, engine="LAMMPS", workflow="MD_NVT_LAMMPS", parameters=DYNAMICS)
    run_dir = services.runs_dir / str(asked.job_id)
    cancelled_at(lambda _: any(run_dir.glob("output/restart.*")))
    assert services.jobs.get(asked.job_id, ME).state == "cancelled"
    assert restarts(services, asked.job_id)
    if folder == "is gone":
        services.job_files.discard(asked.job_id)
    services.jobs.retry(asked.job_id, ME)
    assert restarts(services, asked.job_id), "what was saved can be read while the job waits"
    drain(services)
    done = services.simulations.get(asked.id, ME)
    assert done.record["labels"]["resumed"] == "1 times"
    assert done.record["series"]["step"] == list(range(0, 12_001, 100))
    assert not restarts(services, asked.job_id)
    assert not run_dir.exists()


NSCF = {"ecutwfc_ry": 12, "kmesh": [2, 2, 2], "dense_kdist": 1.3}


@pytest.mark.usefixtures("pw_x")
@pytest.mark.parametrize("folder", ["is there", "is gone"])
def test_finished_stages_of_pw_x_are_not_computed_again(
    folder, services, submit, cancelled_at, drain
):
    asked = submit(SILICON, engine="QE", workflow="nscf", parameters=NSCF)
    cancelled_at(lambda message: message.startswith("nscf"))
    if folder == "is gone":
        services.job_files.discard(asked.job_id)
    services.jobs.retry(asked.job_id, ME)
    drain(services)
    assert services.jobs.get(asked.job_id, ME).state == "completed"
    log = text_of(services, asked.job_id, "output/log.txt")
    said = {"is there": "scf: finished before", "is gone": "scf: nothing of it was saved"}
    assert said[folder] in log


@pytest.mark.usefixtures("pw_x")
def test_a_density_that_pw_x_cannot_read_does_not_stand_in_the_way(
    services, submit, cancelled_at, drain
):
    asked = submit(SILICON, engine="QE", workflow="nscf", parameters=NSCF)
    cancelled_at(lambda message: message.startswith("nscf"))
    output = services.runs_dir / str(asked.job_id) / "output"
    (density,) = output.glob(".scratch/*.save/charge-density.dat")
    density.write_bytes(density.read_bytes()[:1000])
    for state in ("failed", "completed"):
        services.jobs.retry(asked.job_id, ME)
        drain(services)
        assert services.jobs.get(asked.job_id, ME).state == state
