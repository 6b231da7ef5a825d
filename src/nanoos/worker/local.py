"""The local worker: threads that poll the jobs table. No broker, nothing to install."""

import threading
from collections.abc import Sequence

import structlog

from nanoos.config import Settings
from nanoos.core.errors import NanoosError
from nanoos.services.jobs import JobService
from nanoos.worker.reconciler import Reconciler, recover_host
from nanoos.worker.slot import ChildGoneError, Slot

log = structlog.get_logger(__name__)


class LocalWorker:
    """Runs jobs of ``queues``, ``concurrency`` at once, until stopped.

    Several may run against one database, on one machine or many.

    Args:
        jobs: The job service.
        settings: Handed to child processes; gives the polling interval.
        queues: Which queues to serve.
        concurrency: How many slots.
    """

    def __init__(
        self, jobs: JobService, settings: Settings, *, queues: Sequence[str], concurrency: int
    ) -> None:
        self._jobs = jobs
        self._settings = settings
        self._queues = list(queues)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, name=f"slot-{number}")
            for number in range(concurrency)
        ]
        self._reconciler = Reconciler(jobs, self._stopping)

    def start(self) -> None:
        """Begin; jobs that a killed worker of this host left are brought back first."""
        recover_host(self._jobs)
        self._reconciler.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; running jobs are given back and go on with the next worker."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait(self) -> None:
        """Sleep until :meth:`stop` is called from a signal handler or another thread."""
        self._stopping.wait()

    def request_stop(self) -> None:
        """Ask to stop without waiting; safe in a signal handler."""
        self._stopping.set()

    def _serve(self) -> None:
        slot = Slot(self._jobs, self._settings, self._stopping)
        try:
            while not self._stopping.is_set():
                try:
                    if self._jobs.has_work(self._queues) and slot.run_next(self._queues):
                        continue
                except (NanoosError, ChildGoneError) as error:
                    log.warning("worker slot", error=str(error))
                    self._stopping.wait(1.0)
                self._stopping.wait(self._settings.poll_seconds)
        finally:
            slot.close()
