"""Waiting for jobs, and keeping workers short-lived."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nanoos.config import Settings
from nanoos.services.access import LOCAL_PRINCIPAL as LOCAL
from nanoos.services.container import Services
from nanoos.services.jobs import Job
from nanoos.worker import LocalWorker

PATIENCE_S = 120.0
"""Processes start slowly on a busy machine; a test that works never waits for this."""


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(0.02)


def put(services: Services, *, key: str | None = None, **payload) -> uuid.UUID:
    with services.database.write() as session:
        return services.jobs.enqueue(session, "probe", payload, owner_id=LOCAL.user_id, key=key)


def get(services: Services, job_id: uuid.UUID) -> Job:
    return services.jobs.get(job_id, LOCAL)


def wait_until(services: Services, job_id: uuid.UUID, *states: str) -> Job:
    wait_for(lambda: get(services, job_id).state in states, f"{states}")
    return get(services, job_id)


def events(services: Services, job_id: uuid.UUID) -> list[str]:
    return [event.kind for event in services.jobs.events(job_id, LOCAL)]


@contextmanager
def local_worker(
    services: Services, settings: Settings, *, concurrency: int = 1
) -> Iterator[LocalWorker]:
    worker = LocalWorker(services, settings, queues=["default"], concurrency=concurrency)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()
