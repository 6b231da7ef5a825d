"""``nanoos discover`` as a person uses it: killed with -9, and taken up by the same command."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

CAMPAIGN = """\
name: small search
target_property: bulk_modulus
goal: max
parameter_space:
  type: prototypes
  prototypes:
    zincblende: {A: [Mg, Ca, Sr, Zn, Cd, Ba], X: [O, S, Se, Te]}
simulation:
  engine: LJ
  workflow: equation_of_state
bo_config: {n_initial_random: 5, batch_size: 3}
simulation_budget: 11
baseline: {enabled: true, seed: 3}
"""


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(CAMPAIGN)
    return path


def start(campaign: Path, *options: str) -> subprocess.Popen[str]:
    # tests that run in the background are started with Ctrl-C ignored, and would pass that on
    command = ["env", "--default-signal=INT", sys.executable, "-m", "nanoos", "discover"]
    return subprocess.Popen(
        [*command, str(campaign), "--json", *options],
        cwd=campaign.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def attempts(data: Path) -> dict[str, int]:
    """How often each simulation was begun, by key."""
    with sqlite3.connect(data / "nanoos.db") as connection:
        rows = connection.execute("SELECT key, attempt FROM jobs WHERE kind = 'simulation'")
        return dict(rows.fetchall())


def completed(data: Path) -> set[str]:
    if not (data / "nanoos.db").exists():
        return set()
    try:
        with sqlite3.connect(data / "nanoos.db") as connection:
            rows = connection.execute(
                "SELECT key FROM jobs WHERE kind = 'simulation' AND state = 'completed'"
            )
            return {key for (key,) in rows}
    except sqlite3.OperationalError:  # the schema is being made
        return set()


def wait_for(data: Path, number: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while len(completed(data)) < number and process.poll() is None:
        assert time.monotonic() < deadline, "the campaign does not get on"
        time.sleep(0.05)


def test_killed_with_9_it_is_taken_up_and_repeats_nothing(campaign, tmp_path):
    data = tmp_path / "data"
    process = start(campaign)
    wait_for(data, 4, process)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive, "no process outlives the command"
    before = completed(data)
    assert before

    again = start(campaign)
    output, errors = again.communicate(timeout=240)
    assert again.returncode == 0, errors
    lines = [json.loads(line) for line in output.splitlines()]
    last = lines[-1]
    assert last["event"] == "finished"
    assert last["state"] == "completed"
    values = [winner["value"] for winner in last["winners"]]
    assert values == sorted(values, reverse=True)
    own = [e for e in lines if e["event"] == "candidate" and not e["baseline"]]
    assert len(own) == 11
    counts = attempts(data)
    assert all(counts[key] == 1 for key in before), "what was finished was not begun again"
    assert all(count <= 2 for count in counts.values())
    report = tmp_path / "discoveries" / "small-search"
    for name in ("report.html", "results.csv", "winners.extxyz", "progress.png", "progress.html"):
        assert (report / name).stat().st_size > 100, name
    assert (report / "progress.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((report / "winners").glob("*.cif"))) == min(10, 11)

    third = start(campaign)
    output, errors = third.communicate(timeout=120)
    assert third.returncode == 0, errors
    assert json.loads(output.splitlines()[-1])["winners"] == last["winners"]
    assert attempts(data) == counts, "a finished campaign runs nothing"


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(campaign, tmp_path):
    data = tmp_path / "data"
    line = next(line for line in CAMPAIGN.splitlines(keepends=True) if "zincblende" in line)
    more = "".join(line.replace("zincblende", name) for name in ("zincblende", "cscl", "rocksalt"))
    # long enough to be still at work when the signal comes
    text = CAMPAIGN.replace(line, more).replace("simulation_budget: 11", "simulation_budget: 70")
    campaign.write_text(text)
    process = start(campaign)
    wait_for(data, 2, process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert json.loads(output.splitlines()[-1])["event"] == "interrupted"
    with sqlite3.connect(data / "nanoos.db") as connection:
        running = connection.execute("SELECT count(*) FROM jobs WHERE state = 'running'")
        assert running.fetchone() == (0,), "jobs were given back"


def test_dry_run_spends_nothing(campaign, tmp_path):
    process = start(campaign, "--dry-run")
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    estimate = json.loads(output)
    assert (estimate["size"], estimate["simulations"], estimate["missing"]) == (24, 11, [])
    with sqlite3.connect(tmp_path / "data" / "nanoos.db") as connection:
        for table in ("design_campaigns", "structures", "jobs"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_a_typo_is_answered_with_the_nearest_key_and_the_line(campaign):
    campaign.write_text(CAMPAIGN.replace("batch_size", "batchsize"))
    process = start(campaign)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    error = json.loads(output)["error"]
    assert f"{campaign}:11: unknown key 'batchsize'" in error["message"]
    assert "batch_size" in error["hint"]
