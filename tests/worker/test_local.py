"""The local worker with real child processes."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from worker_waiting import (
    events,
    get,
    local_worker,
    put,
    wait_for,
    wait_until,
)

from nanoos.config import Settings
from nanoos.core.errors import TransientError
from nanoos.core.processes import host_identity, is_alive, start_bound, start_time
from nanoos.services.access import LOCAL_PRINCIPAL as LOCAL
from nanoos.services.container import Services
from nanoos.services.jobs import Executor
from nanoos.testing.processes import running
from nanoos.worker import LocalWorker, slot
from nanoos.worker.reconciler import reconcile, recover_host


@pytest.fixture
def worker(services: Services, settings: Settings) -> Iterator[LocalWorker]:
    """A running local worker with one slot."""
    with local_worker(services, settings) as running:
        yield running


def pipes() -> set[str]:
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            if path.readlink().name.startswith("pipe:"):
                found.add(path.name)
    return found


def children() -> list[psutil.Process]:
    return running("nanoos.worker.child")


def test_jobs_run_fail_and_are_retried(services: Services, worker: LocalWorker) -> None:
    good = put(services, seconds=0.1, steps=3)
    once = put(services, fail="once")
    bad = put(services, fail="permanent", steps=2)
    wrong = put(services, unknown="field")
    assert wait_until(services, good, "completed").result == {"attempt": 1, "steps": 3}
    job = wait_until(services, bad, "failed")
    assert (job.attempt, job.error["code"]) == (1, "probe_failed")
    wait_for(lambda: services.job_files.names(bad, LOCAL)[0].sha256, "sealed files")
    assert [file.name for file in services.job_files.names(bad, LOCAL)] == ["trace.txt", "log.txt"]
    assert b"failed: The probe was asked to fail." in services.job_files.log(bad, LOCAL)
    assert wait_until(services, wrong, "failed").error["message"].startswith("Internal error")
    assert b"unknown" in services.job_files.log(wrong, LOCAL)
    assert wait_until(services, once, "completed").attempt == 2
    assert events(services, once) == ["queued", "started", "retrying", "started", "completed"]
    pids = {process.pid for process in children()}
    assert len(pids) == 1  # one warm child did it all


def test_a_running_job_is_cancelled_within_two_seconds(
    services: Services, worker: LocalWorker
) -> None:
    job_id = put(services, seconds=60, steps=600, child_program=True)
    wait_for(lambda: get(services, job_id).progress > 0, "progress")
    (child,) = children()
    programs = child.children()
    assert len(programs) == 1
    began = time.monotonic()
    services.jobs.cancel(job_id, LOCAL)
    wait_until(services, job_id, "cancelled")
    assert time.monotonic() - began < 2.0
    wait_for(lambda: not programs[0].is_running(), "the end of the program it had started")
    wait_for(lambda: services.job_files.names(job_id, LOCAL)[0].sha256, "sealed files")
    wait_until(services, put(services), "completed")


def test_a_cancelled_job_goes_on_where_it_was_when_it_is_retried(
    services: Services, worker: LocalWorker
) -> None:
    job_id = put(services, seconds=3, steps=30)
    wait_for(lambda: get(services, job_id).progress > 0, "progress")
    services.jobs.cancel(job_id, LOCAL)
    wait_until(services, job_id, "cancelled")
    services.jobs.retry(job_id, LOCAL)
    wait_until(services, job_id, "completed")
    with services.job_files.open(job_id, "trace.txt", LOCAL) as handle:
        steps = [line.split() for line in handle.read().decode().splitlines()]
    assert [int(step) for _, step in steps] == list(range(30))
    assert [steps[0][0], steps[-1][0]] == ["1", "2"]
    assert not (services.runs_dir / str(job_id)).exists()


def test_a_killed_child_costs_an_attempt_and_a_killer_job_fails(
    services: Services, worker: LocalWorker
) -> None:
    job_id = put(services, seconds=2, steps=20)
    wait_for(lambda: get(services, job_id).progress > 0, "progress")
    children()[0].kill()
    assert wait_until(services, job_id, "completed").attempt == 2
    job = get(services, job_id)
    assert (job.failures, job.error) == (1, None)
    with services.job_files.open(job_id, "trace.txt", LOCAL) as handle:
        steps = [int(line.split()[1]) for line in handle]
    assert steps == list(range(20))  # the second attempt went on where the first had been


def test_stopping_gives_running_jobs_back_quickly(services: Services, settings: Settings) -> None:
    with local_worker(services, settings) as first:
        job_id = put(services, seconds=3, steps=30)
        wait_for(lambda: get(services, job_id).progress > 0, "progress")
        began = time.monotonic()
        first.stop()
        assert time.monotonic() - began < 3.0
    assert get(services, job_id).state == "queued"
    assert children() == []
    with local_worker(services, settings):
        assert wait_until(services, job_id, "completed").failures == 0
    assert events(services, job_id).count("completed") == 1


def test_stopping_during_the_start_of_a_child_does_not_wait_for_it(
    services: Services, settings: Settings
) -> None:
    with local_worker(services, settings) as worker:
        wait_for(children, "a child")
        worker.stop()
    assert children() == []


def test_what_a_killed_worker_left_is_brought_back_and_its_processes_ended(
    services: Services,
) -> None:
    job_id = put(services)
    left = start_bound(["sleep", "60"])  # in our own process group: must survive
    orphan = psutil.Popen(["sleep", "60"], start_new_session=True)
    dead = Executor(
        host=host_identity(),
        pid=os.getpid(),
        start_time=start_time(os.getpid()) - 50.0,
        process_group=orphan.pid,
        process_start_time=start_time(orphan.pid),
    )
    services.jobs.claim(["default"], dead)
    assert recover_host(services.jobs) == 1
    assert orphan.wait(timeout=10) == -signal.SIGKILL
    assert left.poll() is None
    left.kill()
    left.wait()
    assert get(services, job_id).state == "queued"
    assert recover_host(services.jobs) == 0


def test_a_worker_that_is_alive_or_elsewhere_is_left_alone(services: Services) -> None:
    for host in (host_identity(), "another-machine"):
        put(services)
        services.jobs.claim(
            ["default"],
            Executor(host=host, pid=os.getpid(), start_time=start_time(os.getpid())),
        )
    assert recover_host(services.jobs) == 0
    assert reconcile(services.jobs) == 0


def test_children_that_cannot_start_are_not_started_in_a_tight_loop(
    services: Services, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot.sys, "executable", "/nonexistent/python")
    before = pipes()
    worker = LocalWorker(services, settings, queues=["default"], concurrency=1)
    job_id = put(services)
    worker.start()
    time.sleep(0.5)
    monkeypatch.undo()
    assert get(services, job_id).state == "queued"
    assert get(services, job_id).attempt == 0  # nothing is claimed that cannot be run
    worker.stop()
    assert pipes() == before


def test_a_slot_survives_a_database_that_goes_away(
    services: Services, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = threading.Event()
    has_work = services.jobs.has_work

    def sometimes(queues) -> bool:
        if away.is_set():
            raise TransientError("gone", code="database_unavailable")
        return has_work(queues)

    monkeypatch.setattr(services.jobs, "has_work", sometimes)
    away.set()
    with local_worker(services, settings):
        job_id = put(services)
        time.sleep(0.3)
        away.clear()
        wait_until(services, job_id, "completed")


def test_a_child_ends_itself_when_its_worker_falls_silent(
    services: Services, settings: Settings
) -> None:
    short = settings.model_copy(update={"lease_seconds": 2.0})
    job_id = put(services, seconds=60, steps=600, child_program=True)
    claim = services.jobs.claim(["default"], Executor(host="h", pid=1, start_time=0.0))
    child = slot.ChildProcess(short)
    child.wait_ready(short, threading.Event())
    child.give(claim, deadline=time.monotonic() + 1.0)
    for _ in range(10):
        time.sleep(0.3)
        child.extend(deadline=time.monotonic() + 1.0)
    assert child.is_alive  # as long as it hears of the lease
    programs = psutil.Process(child.pid).children()
    wait_for(lambda: not child.is_alive, "the end of the child")
    wait_for(lambda: not any(p.is_running() for p in programs), "the end of its program")
    child.kill()
    assert get(services, job_id).state == "running"


def test_closing_leaves_no_descriptor_and_no_process(settings: Settings) -> None:
    before = pipes()
    child = slot.ChildProcess(settings)
    child.wait_ready(settings, threading.Event())
    child.kill(grace_s=0.5)
    child.kill()
    assert pipes() == before
    assert not is_alive(child.pid, child.started)
