"""Brings back what was lost: jobs of dead workers and jobs whose lease ran out."""

import threading
import time

import structlog

from nanoos.core.processes import host_identity, is_alive, kill_group
from nanoos.services.container import Services
from nanoos.services.job_garbage import collect_garbage
from nanoos.services.jobs import Executor, JobService

GARBAGE_INTERVAL_S = 3600.0
MONITORING_INTERVAL_S = 60.0

log = structlog.get_logger(__name__)


def recover_host(jobs: JobService) -> int:
    """Requeue jobs of dead workers of this host at once and end what those left running."""
    recovered = 0
    for claim, executor in jobs.running_on(host_identity()):
        if not is_alive(executor.pid, executor.start_time):
            _end_processes(executor)
            recovered += jobs.requeue_lost(claim, "its worker was killed")
    return recovered


def reconcile(jobs: JobService) -> int:
    """Requeue jobs whose lease ran out; returns how many.

    The processes of such a job are ended first where they are on this host: its worker may be
    stopped (SIGSTOP) and its child still at work.
    """
    recovered = 0
    for claim, executor in jobs.expired():
        if executor.host == host_identity():
            _end_processes(executor)
        recovered += jobs.requeue_lost(claim, "its lease ran out", only_expired=True)
    return recovered


def _end_processes(executor: Executor) -> None:
    if executor.process_group is not None:
        kill_group(executor.process_group, executor.process_start_time)


class Reconciler(threading.Thread):
    """Reconciles now and then, watches models and collects garbage, until told to stop.

    Any number may run, on any number of machines.

    Args:
        services: What it works with.
        stopping: Set when it should end.
    """

    def __init__(self, services: Services, stopping: threading.Event) -> None:
        super().__init__(name="reconciler", daemon=True)
        self._services = services
        self._stopping = stopping

    def run(self) -> None:
        """Reconcile a few times in each lease."""
        jobs = self._services.jobs
        collect_at = time.monotonic() + GARBAGE_INTERVAL_S
        monitor_at = time.monotonic() + MONITORING_INTERVAL_S
        while not self._stopping.wait(min(5.0, jobs.lease_s / 4)):
            try:
                recovered = recover_host(jobs) + reconcile(jobs)
                if recovered:
                    log.info("requeued lost jobs", count=recovered)
                if time.monotonic() > monitor_at:
                    monitor_at = time.monotonic() + MONITORING_INTERVAL_S
                    self._services.monitoring.check_new()
                if time.monotonic() > collect_at:
                    collect_at = time.monotonic() + GARBAGE_INTERVAL_S
                    services = self._services
                    collect_garbage(services.database, jobs, services.job_files)
            except Exception as error:  # noqa: BLE001 - it must outlive whatever happens
                log.warning("cannot reconcile", error=f"{type(error).__name__}: {error}")
