"""The lab: PostgreSQL, Redis, worker processes and every way the broker may be missing."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from worker_waiting import events, get, put, wait_for, wait_until

from nanoos.bootstrap import build_services
from nanoos.config import Settings
from nanoos.core.processes import start_bound
from nanoos.db import Database
from nanoos.services.container import Services
from nanoos.services.job_announcements import JobAnnouncements
from nanoos.testing.servers import PostgresServer, RedisServer
from nanoos.worker.celery_app import Relay, make_celery, queue_name

TEMPLATE = "nanoos_template"
PROGRAM = """
import sys
from nanoos.bootstrap import open_services
from nanoos.worker import run_worker
settings, services = open_services()
sys.exit(run_worker(settings, services, queues=["default", "md"], concurrency=2))
"""


@pytest.fixture
def lab_settings(settings: Settings, postgres: PostgresServer, redis: RedisServer) -> Settings:
    url = postgres.url(postgres.create_database(template=TEMPLATE))
    return settings.model_copy(
        update={"database_url": url, "broker_url": redis.url, "lease_seconds": 3.0}
    )


@pytest.fixture
def lab(lab_settings: Settings) -> Iterator[Services]:
    services = build_services(lab_settings)
    yield services
    services.close()


@contextmanager
def worker_process(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {
        "NANO_OS_DATA_DIR": str(settings.data_dir),
        "NANO_OS_DATABASE_URL": settings.database_url,
        "NANO_OS_BROKER_URL": settings.broker_url,
        "NANO_OS_LEASE_SECONDS": str(settings.lease_seconds),
    }
    with log.open("ab") as output:
        process = start_bound(
            [sys.executable, "-c", PROGRAM], env=environment, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        sys.stdout.write(log.read_text(errors="replace")[-3000:])  # shown if the test fails


def test_a_worker_lives_through_everything_the_broker_does(
    lab: Services, lab_settings: Settings, redis: RedisServer, tmp_path: Path
) -> None:
    redis.kill()
    with worker_process(lab_settings, tmp_path / "log") as process:
        waiting = put(lab, seconds=0.1)  # down at the start: jobs wait
        time.sleep(2.0)
        assert get(lab, waiting).state == "queued"
        redis.restart()
        wait_until(lab, waiting, "completed")

        running = put(lab, seconds=1.5, steps=6)
        wait_until(lab, running, "running")
        redis.kill()  # in the middle: what runs goes on
        assert wait_until(lab, running, "completed").attempt == 1
        meanwhile = put(lab)
        redis.restart()
        wait_until(lab, meanwhile, "completed")

        redis.wipe()
        wait_until(lab, put(lab), "completed")

        last = put(lab, seconds=60, steps=600)
        wait_for(lambda: get(lab, last).progress > 0, "progress")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert get(lab, last).state == "queued"
        assert events(lab, last)[-1] == "queued"
    assert redis_is_used_for_nothing_else(lab_settings)


def redis_is_used_for_nothing_else(settings: Settings) -> bool:
    """No result, no event and no remote-control queue is left in the broker."""
    from redis import Redis

    with Redis.from_url(settings.broker_url) as client:
        keys = {key.decode() for key in client.keys("*")}
    expected = {
        f"_kombu.{binding}.nanoos.{queue}"
        for binding in ("binding", "binding_permanent")
        for queue in ("default", "md")
    }
    expected |= {"nanoos.default", "nanoos.md", "unacked", "unacked_index", "unacked_mutex"}
    assert keys <= expected, keys
    return True


def test_two_workers_share_the_jobs_and_their_children_live_on(
    lab: Services, lab_settings: Settings, tmp_path: Path
) -> None:
    with (
        worker_process(lab_settings, tmp_path / "log"),
        worker_process(lab_settings, tmp_path / "log"),
    ):
        ids = [put(lab, seconds=0.4, steps=2) for _ in range(16)]
        for job_id in ids:
            job = wait_until(lab, job_id, "completed")
            assert (job.attempt, events(lab, job_id).count("completed")) == (1, 1)
        groups = processes_of(lab, ids)
        assert len({worker for worker, _ in groups}) == 2
        assert len(groups) <= 4  # two slots each, whose children outlive the job
        time.sleep(1.0)
        for _, child in groups:
            os.kill(child, 0)  # still there: the pool keeps the thread that made it


def processes_of(lab: Services, ids) -> set[tuple[int, int]]:
    from nanoos.db import JobTable

    with lab.database.read() as session:
        rows = [session.get(JobTable, job_id) for job_id in ids]
        return {(row.worker_pid, row.process_group) for row in rows}


def test_what_only_the_wiped_broker_knew_is_announced_again(
    lab: Services, lab_settings: Settings, redis: RedisServer
) -> None:
    ids = {put(lab) for _ in range(3)}
    app = make_celery(lab_settings)
    relay = Relay(JobAnnouncements(lab.database), app, threading.Event())
    assert relay.announce() == 3
    assert relay.announce() == 0
    make_stale(lab.database)
    relay.repair()
    assert relay.announce() == 0  # all three still wait in the broker: no flood
    redis.wipe()
    relay.repair()
    assert relay.announce() == len(ids)
    relay._disconnect()


def test_what_the_broker_did_not_take_is_not_marked_as_announced(
    lab: Services, lab_settings: Settings, redis: RedisServer
) -> None:
    put(lab)
    relay = Relay(JobAnnouncements(lab.database), make_celery(lab_settings), threading.Event())
    redis.kill()
    with pytest.raises(Exception, match="(?i)refused|connect"):  # noqa: RUF043
        relay.announce()
    assert JobAnnouncements(lab.database).has_unpublished()
    redis.restart()
    assert relay.announce() == 1
    redis.kill()
    put(lab)
    with pytest.raises(Exception, match="(?i)refused|connect|closed"):  # noqa: RUF043
        relay.announce()
    assert JobAnnouncements(lab.database).has_unpublished()
    relay._disconnect()
    redis.restart()
    assert relay.announce() == 1
    relay._disconnect()


def make_stale(database: Database) -> None:
    from sqlalchemy import update

    from nanoos.db import JobTable, db_now

    with database.write() as session:
        session.execute(update(JobTable).values(published_at=db_now(-100)))


def test_celery_delivers_at_most_once_and_keeps_no_results(settings: Settings) -> None:
    app = make_celery(settings.model_copy(update={"broker_url": "redis://localhost:1/0"}))
    assert app.conf.task_acks_late is False
    assert app.conf.task_ignore_result is True
    assert app.conf.worker_enable_remote_control is False
    assert queue_name("md") == "nanoos.md"
