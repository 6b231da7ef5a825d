"""What engines and their programs say of a run stands in the log of its job."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "engines"))
from espresso_program import forget_espresso, use_espresso

from nanoos.engines.run_files import RunLog
from nanoos.engines.telling import tell_written
from nanoos.services.access import LOCAL_PRINCIPAL as ME
from nanoos.structures import Structure
from nanoos.testing.crystals import rocksalt
from nanoos.worker.run_lines import MOST_BYTES, runs_told_to

FACES = 0.5 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
COPPER = Structure(lattice=3.615 * FACES, species=("Cu",), frac_coords=[[0, 0, 0]])
SILICON = Structure(
    lattice=5.5 * FACES, species=("Si", "Si"), frac_coords=[[0, 0, 0], [0.25, 0.25, 0.25]]
)


@pytest.fixture
def log_of(services, drain):
    """Run a simulation as a job; its state, and its log."""

    def run(structure, **work):
        record, _ = services.structures.add(structure, ME, source={"kind": "test"})
        asked = services.simulations.submit(record.id, ME, **work)
        drain(services)
        state = services.jobs.get(asked.job_id, ME).state
        return state, services.job_files.log(asked.job_id, ME).decode()

    return run


def test_the_log_of_lammps_has_the_run_and_what_the_program_wrote(log_of):
    parameters = {"potential": "Cu_mishin1.eam.alloy", "num_steps": 40, "repeats": [2, 2, 2]}
    state, log = log_of(COPPER, engine="LAMMPS", workflow="MD_NVT_LAMMPS", parameters=parameters)
    assert state == "completed"
    assert "MD_NVT_LAMMPS of " in log
    assert "from step 0: log.0.lammps" in log
    assert "Total wall time" in log
    assert "done in" in log.splitlines()[-1]


def test_the_log_of_lammps_says_why_it_failed(log_of):
    parameters = {"potential": "Cu_mishin1.eam.alloy", "temperature": 40_000, "timestep": 10}
    state, log = log_of(
        COPPER,
        engine="LAMMPS",
        workflow="MD_NVT_LAMMPS",
        parameters={**parameters, "repeats": [2, 2, 2], "num_steps": 4000},
    )
    assert state == "failed"
    assert "failed: " in log
    assert "log.0.lammps:" in log


def test_the_log_of_pw_x_has_its_stages_and_the_end_of_its_output(log_of, shared, tmp_path):
    use_espresso(shared, tmp_path / "pseudos")
    try:
        work = {"ecutwfc_ry": 12, "kmesh": [2, 2, 2]}
        state, log = log_of(SILICON, engine="QE", workflow="scf", parameters=work)
    finally:
        forget_espresso()
    assert state == "completed"
    assert "SCF iterations" in log
    assert "scf.out:" in log
    assert "JOB DONE." in log
    assert len(log) < 8000


def test_the_log_of_a_potential_has_its_steps(log_of):
    state, log = log_of(rocksalt(), engine="LJ", workflow="relax")
    assert state == "completed"
    assert "LJ " in log.splitlines()[0]
    assert "done in" in log.splitlines()[-1]


def test_of_very_much_the_beginning_and_the_end_are_kept(tmp_path):
    log, run_log = tmp_path / "job.txt", RunLog(tmp_path / "log.txt")
    with runs_told_to(log):
        for number in range(20_000):
            run_log.line(f"step {number} of a run that has very many")
    run_log.line("after the job")
    lines = log.read_text().splitlines()
    assert lines[0] == "step 0 of a run that has very many"
    assert lines[-1] == "step 19999 of a run that has very many"
    assert sum("left out" in line for line in lines) == 1
    assert log.stat().st_size < 1.1 * MOST_BYTES
    assert len((tmp_path / "log.txt").read_text().splitlines()) == 20_001


def test_of_a_long_output_the_end_is_told(tmp_path):
    (tmp_path / "scf.out").write_text("old\n" + "noise\n" * 10_000 + "the reason\n")
    (tmp_path / "scf.err").write_text("old\nnew\n")
    with runs_told_to(tmp_path / "job.txt"):
        tell_written(tmp_path / "scf.out")
        tell_written(tmp_path / "scf.err", begin=4)
        tell_written(tmp_path / "absent")
    told = (tmp_path / "job.txt").read_text()
    assert told.startswith("scf.out:\n...\nnoise\n")
    assert told.endswith("the reason\nscf.err:\nnew\n")
    assert len(told) < 5000
