"""Brings back what was lost: jobs of dead workers and jobs whose lease ran out."""

import threading

import structlog

from nanoos.core.errors import NanoosError
from nanoos.core.processes import host_identity, is_alive, kill_group
from nanoos.services.jobs import JobService

log = structlog.get_logger(__name__)


def recover_host(jobs: JobService) -> int:
    """Requeue jobs of dead workers of this host at once and end what those left running."""
    recovered = 0
    for claim, executor in jobs.running_on(host_identity()):
        if is_alive(executor.pid, executor.start_time):
            continue
        if executor.process_group is not None:
            kill_group(executor.process_group, executor.process_start_time)
        recovered += jobs.requeue_lost(claim, "its worker was killed")
    return recovered


def reconcile(jobs: JobService) -> int:
    """Requeue jobs whose lease ran out; returns how many."""
    return sum(jobs.requeue_lost(claim, "its lease ran out") for claim in jobs.expired())


class Reconciler(threading.Thread):
    """Reconciles now and then until told to stop."""

    def __init__(self, jobs: JobService, stopping: threading.Event) -> None:
        super().__init__(name="reconciler", daemon=True)
        self._jobs = jobs
        self._stopping = stopping

    def run(self) -> None:
        """Reconcile a few times in each lease."""
        while not self._stopping.wait(min(5.0, self._jobs.lease_s / 4)):
            try:
                recovered = recover_host(self._jobs) + reconcile(self._jobs)
                if recovered:
                    log.info("requeued lost jobs", count=recovered)
            except NanoosError as error:
                log.warning("cannot reconcile", error=str(error))
