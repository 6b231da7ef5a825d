"""Chaos trials: processes are killed and the broker is wiped while jobs run.

An :class:`Arena` is a small laboratory of real processes: workers, a server that enqueues jobs
and, in a lab, PostgreSQL and Redis. A trial hands in jobs, breaks one thing at a random moment,
and looks afterwards whether every job completed, none twice, and no process was left behind.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import select

from nanoos.bootstrap import build_services, prepare
from nanoos.config import Settings, load_settings
from nanoos.core.processes import start_bound
from nanoos.db import Database, JobTable
from nanoos.db.jobs import TERMINAL_STATES
from nanoos.db.migrate import upgrade
from nanoos.services.access import LOCAL_PRINCIPAL
from nanoos.services.container import Services
from nanoos.services.job_files import JobFiles
from nanoos.services.jobs import Job
from nanoos.testing.servers import RedisServer, postgresql_server, redis_server

MARKER = "CHAOS_ARENA"
LEASE_S = 2.0
TRIAL_TIMEOUT_S = 120.0
EMBEDDED_KINDS = ("worker killed", "child killed", "server killed", "worker frozen")
LAB_KINDS = (*EMBEDDED_KINDS, "broker wiped", "broker killed")

_WORKER = """
import sys
from nanoos.bootstrap import build_services, prepare
from nanoos.config import load_settings
from nanoos.worker import run_worker
settings = prepare(load_settings())
services = build_services(settings)
print("up", flush=True)
sys.exit(run_worker(settings, services, queues=["default"], concurrency=int(sys.argv[1])))
"""

_SERVER = """
import json, sys, time
from nanoos.bootstrap import build_services, prepare
from nanoos.config import load_settings
from nanoos.services.access import LOCAL_PRINCIPAL
services = build_services(prepare(load_settings()))
print("up", flush=True)
for line in sys.stdin:
    for key, payload in json.loads(line).items():
        with services.database.write() as session:
            services.jobs.enqueue(
                session, "probe", payload, owner_id=LOCAL_PRINCIPAL.user_id, key=key
            )
        time.sleep(0.02)
    print("enqueued", flush=True)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialReport:
    """What a trial showed.

    Attributes:
        kind: What was broken.
        jobs: How many jobs it had.
        attempts: How many attempts they took.
        lost: Jobs that did not complete.
        twice: Jobs that finished more than once, or did a step twice.
        orphans: Processes that were left behind.
        seconds: How long it took until every job had ended.
        notes: What exactly was wrong, for people.
    """

    kind: str
    jobs: int
    attempts: int
    lost: int
    twice: int
    orphans: int
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """True if nothing was lost, done twice or left behind."""
        return not (self.lost or self.twice or self.orphans)


@dataclass(kw_only=True)
class Arena:
    """The processes of a laboratory, each of which may be killed."""

    settings: Settings
    services: Services
    environment: Mapping[str, str]
    broker: RedisServer | None
    log: Path
    n_workers: int
    slots: int
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    server: subprocess.Popen[bytes] | None = None

    def start_worker(self) -> None:
        """Start one more worker process."""
        self.workers.append(self._start(_WORKER, str(self.slots)))

    def restart_server(self) -> None:
        """Kill the server if there is one; start another."""
        if self.server is not None:
            _kill(self.server)
        self.server = self._start(_SERVER)

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return start_bound(
                [sys.executable, "-c", program, *arguments],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    def submit(self, jobs: Mapping[str, Mapping[str, Any]]) -> None:
        """Have the server enqueue jobs by key, from now on."""
        assert self.server is not None
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps(jobs).encode() + b"\n")
        self.server.stdin.flush()

    def stop(self) -> None:
        """End all processes."""
        for process in [*self.workers, *([self.server] if self.server else [])]:
            _kill(process)

    def children(self) -> list[psutil.Process]:
        """The workers' child processes."""
        found = []
        for worker in self.workers:
            try:
                found += psutil.Process(worker.pid).children()
            except psutil.NoSuchProcess:
                continue
        return found

    def orphans(self) -> list[str]:
        """Processes that carry the arena's mark and that no living worker answers for."""
        expected = {process.pid for process in self.workers}
        expected |= {child.pid for child in self.children()}
        if self.server is not None:
            expected.add(self.server.pid)
        mark = f"{MARKER}={self.environment[MARKER]}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit() or int(folder.name) in expected:
                continue
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                    found.append(f"{folder.name}: {command.decode(errors='replace')[:150]}")
            except OSError:
                continue
        return found


@contextmanager
def open_arena(folder: Path, *, database: str, lease_s: float = LEASE_S) -> Iterator[Arena]:
    """A running laboratory, gone when the block ends.

    Args:
        folder: For its data.
        database: ``sqlite``: one worker with two slots, no broker; ``postgresql``: two workers
            with one slot each, woken through Redis.
        lease_s: Lease of a claim, s; short ones show more in less time.
    """
    with ExitStack() as stack:
        broker = None
        overrides: dict[str, Any] = {"data_dir": folder, "lease_seconds": lease_s}
        if database == "postgresql":
            postgres = stack.enter_context(postgresql_server())
            broker = stack.enter_context(redis_server())
            url = postgres.url(postgres.create_database())
            lab = Database(url)
            upgrade(lab)
            lab.dispose()
            overrides |= {"database_url": url, "broker_url": broker.url}
        settings = prepare(load_settings(**overrides))
        services = build_services(settings)
        stack.callback(services.close)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NANO_OS_")}
        environment |= {f"NANO_OS_{name.upper()}": str(value) for name, value in overrides.items()}
        environment |= {
            "NANO_OS_CONFIG_FILE": str(folder / "absent.toml"),
            "OMP_NUM_THREADS": "1",
            MARKER: uuid.uuid4().hex,
        }
        arena = Arena(
            settings=settings,
            services=services,
            environment=environment,
            broker=broker,
            log=folder / "processes.log",
            n_workers=1 if broker is None else 2,
            slots=2 if broker is None else 1,
        )
        stack.callback(arena.stop)
        arena.restart_server()
        for _ in range(arena.n_workers):
            arena.start_worker()
        yield arena


def run_trial(arena: Arena, kind: str, rng: random.Random) -> TrialReport:
    """Hand in jobs, break ``kind`` at a random moment, mend it, and look at what came out."""
    began = time.monotonic()
    prefix = f"{kind}-{uuid.uuid4().hex[:8]}"
    jobs = {
        f"{prefix}-{number}": {
            "seconds": round(rng.uniform(0.1, 1.2), 2),
            "steps": rng.randint(2, 8),
            "child_program": rng.random() < 0.5,
        }
        for number in range(rng.randint(3, 6))
    }
    arena.submit(jobs)
    time.sleep(rng.uniform(0.0, 1.5))
    _BREAKS[kind](arena, rng)
    if kind == "server killed":
        arena.submit(jobs)
    rows = _wait_for_end(arena, list(jobs))
    seconds = time.monotonic() - began
    notes: list[str] = []
    lost = [key for key in jobs if key not in rows or rows[key].state != "completed"]
    notes += [f"{key}: {rows[key].state if key in rows else 'absent'}" for key in lost]
    twice = 0
    for key, job in rows.items():
        wrong = _done_twice(arena, job, int(jobs[key]["steps"])) if key not in lost else None
        if wrong is not None:
            twice += 1
            notes.append(f"{key}: {wrong}")
    orphans = _settled_orphans(arena)
    return TrialReport(
        kind=kind,
        jobs=len(jobs),
        attempts=sum(job.attempt for job in rows.values()),
        lost=len(lost),
        twice=twice,
        orphans=len(orphans),
        seconds=seconds,
        notes=(*notes, *orphans),
    )


def _kill_worker(arena: Arena, rng: random.Random) -> None:
    _kill(arena.workers.pop(rng.randrange(len(arena.workers))))
    time.sleep(rng.uniform(0.0, 0.5))
    arena.start_worker()


def _kill_child(arena: Arena, rng: random.Random) -> None:
    deadline = time.monotonic() + 10
    while not (children := arena.children()) and time.monotonic() < deadline:
        time.sleep(0.05)
    if children:
        try:
            rng.choice(children).kill()
        except psutil.NoSuchProcess:
            return


def _kill_server(arena: Arena, _rng: random.Random) -> None:
    arena.restart_server()


def _freeze_worker(arena: Arena, rng: random.Random) -> None:
    worker = rng.choice(arena.workers)
    worker.send_signal(signal.SIGSTOP)
    time.sleep(LEASE_S + rng.uniform(-0.5, 1.5))
    worker.send_signal(signal.SIGCONT)


def _wipe_broker(arena: Arena, _rng: random.Random) -> None:
    assert arena.broker is not None
    arena.broker.wipe()


def _kill_broker(arena: Arena, rng: random.Random) -> None:
    assert arena.broker is not None
    arena.broker.kill()
    time.sleep(rng.uniform(0.0, 1.0))
    arena.broker.restart()


_BREAKS: dict[str, Callable[[Arena, random.Random], None]] = {
    "worker killed": _kill_worker,
    "child killed": _kill_child,
    "server killed": _kill_server,
    "worker frozen": _freeze_worker,
    "broker wiped": _wipe_broker,
    "broker killed": _kill_broker,
}


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _wait_for_end(arena: Arena, keys: Sequence[str]) -> dict[str, Job]:
    deadline = time.monotonic() + TRIAL_TIMEOUT_S
    while True:
        with arena.services.database.read() as session:
            found = session.execute(select(JobTable.key, JobTable.id).where(JobTable.key.in_(keys)))
            ids = {str(key): job_id for key, job_id in found}
        jobs = {key: arena.services.jobs.get(ids[key], LOCAL_PRINCIPAL) for key in ids}
        ended = [job for job in jobs.values() if job.state in TERMINAL_STATES]
        if len(ended) == len(keys) or time.monotonic() > deadline:
            return jobs
        time.sleep(0.1)


def _done_twice(arena: Arena, job: Job, steps: int) -> str | None:
    """What shows that a completed job was finished or worked on twice; None if nothing does."""
    events = arena.services.jobs.events(job.id, LOCAL_PRINCIPAL)
    if [event.number for event in events] != list(range(1, len(events) + 1)):
        return "its events are not numbered without gaps"
    terminal = [event.number for event in events if event.kind in TERMINAL_STATES]
    if terminal != [len(events)]:
        return f"terminal events {terminal} of {len(events)}"
    files: JobFiles = arena.services.job_files
    with files.open(job.id, "trace.txt", LOCAL_PRINCIPAL) as handle:
        lines = handle.read().decode().splitlines()
    if [int(line.split()[1]) for line in lines] != list(range(steps)):
        return f"steps {lines}"
    return None


def _settled_orphans(arena: Arena) -> list[str]:
    deadline = time.monotonic() + 3.0
    while (orphans := arena.orphans()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return orphans
