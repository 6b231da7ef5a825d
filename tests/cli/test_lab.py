"""The laptop's campaign in a lab: PostgreSQL, Redis and two workers, by configuration alone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from nanoos.db import Database, JobTable
from nanoos.testing.servers import PostgresServer, RedisServer

CAMPAIGN = """\
name: lab search
target_property: bulk_modulus
goal: max
parameter_space:
  type: prototypes
  prototypes:
    zincblende: {A: [Mg, Ca, Sr, Zn, Cd, Ba], X: [O, S, Se, Te]}
simulation: {engine: LJ, workflow: equation_of_state}
bo_config: {n_initial_random: 5, batch_size: 3}
simulation_budget: 8
"""


def start(tmp_path: Path, environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nanoos", *arguments],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_workers_run_one_campaign(tmp_path, postgres: PostgresServer, redis: RedisServer):
    name = postgres.create_database()
    environment = os.environ | {
        "NANO_OS_DATABASE_URL": postgres.url(name),
        "NANO_OS_BROKER_URL": redis.url,
        "NANO_OS_DATA_DIR": str(tmp_path / "shared"),
        "OMP_NUM_THREADS": "1",
    }
    campaign = tmp_path / "lab.yaml"
    campaign.write_text(CAMPAIGN)

    early = start(tmp_path, environment, "discover", str(campaign), "--dry-run")
    output, _ = early.communicate(timeout=60)
    assert early.returncode == 8, output
    assert "nanoos db upgrade" in output, "a shared database is never migrated by itself"

    upgrade = start(tmp_path, environment, "db", "upgrade")
    output, _ = upgrade.communicate(timeout=60)
    assert upgrade.returncode == 0, output

    workers = [
        start(tmp_path, environment, "worker", "--queue", queue, "--queue", other)
        for queue, other in (("default", "md"), ("md", "ml"))
    ]
    try:
        search = start(tmp_path, environment, "discover", str(campaign), "--json")
        output, _ = search.communicate(timeout=200)
        assert search.returncode == 0, output
        last = json.loads(output.splitlines()[-1])
        assert last["state"] == "completed"
        assert last["winners"]
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        ends = [worker.communicate(timeout=60)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], ends

    database = Database(postgres.url(name))
    with database.read() as session:
        jobs = session.query(JobTable).all()
        assert {job.state for job in jobs} == {"completed"}
        assert all(job.attempt == 1 for job in jobs), "nothing was run twice"
        by_worker = {job.worker_pid for job in jobs if job.kind == "simulation"}
    database.dispose()
    assert len(by_worker) == 2, "both workers simulated"
    assert not list((tmp_path / "shared").glob("*.db")), "no SQLite file was made"
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (tmp_path / "shared" / "runs").exists():
        if not list((tmp_path / "shared" / "runs").iterdir()):
            break
        time.sleep(0.1)
    assert not list((tmp_path / "shared" / "runs").iterdir()), "scratch folders are gone"
