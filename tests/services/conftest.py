"""Running jobs inside the test's own process, so that a campaign takes seconds."""

import os
from collections.abc import Callable

import pytest

from nanoos.core.processes import host_identity
from nanoos.services.container import Services
from nanoos.services.job_attempts import Executor
from nanoos.worker.child import run_job

QUEUES = ("default", "ml", "md", "dft")


@pytest.fixture
def drain() -> Callable[..., int]:
    """Run queued jobs one after another; returns how many ran."""

    def run_all(services: Services, *, at_most: int = 10_000) -> int:
        executor = Executor(host=host_identity(), pid=os.getpid(), start_time=0.0)
        for number in range(at_most):
            claim = services.jobs.claim(QUEUES, executor)
            if claim is None:
                return number
            run_job(services, claim)
        return at_most

    return run_all
