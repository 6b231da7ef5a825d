"""The local worker: threads that poll the jobs table. No broker, nothing to install."""

import threading
from collections.abc import Sequence

import structlog

from nanoos.config import Settings
from nanoos.services.container import Services
from nanoos.worker.reconciler import Reconciler, recover_host
from nanoos.worker.slot import Slot

LONGEST_PAUSE_S = 30.0
"""Between attempts to go on when children cannot be started or the database is away."""

log = structlog.get_logger(__name__)


class LocalWorker:
    """Runs jobs of ``queues``, ``concurrency`` at once, until stopped.

    Several may run against one database, on one machine or many.

    Args:
        services: What it works with; must stay open until it is stopped.
        settings: Handed to child processes; gives the polling interval.
        queues: Which queues to serve.
        concurrency: How many slots.
    """

    def __init__(
        self, services: Services, settings: Settings, *, queues: Sequence[str], concurrency: int
    ) -> None:
        self._services = services
        self._settings = settings
        self._queues = list(queues)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, name=f"slot-{number}", daemon=True)
            for number in range(concurrency)
        ]
        self._reconciler = Reconciler(services, self._stopping)

    def start(self) -> None:
        """Begin; jobs that a killed worker of this host left are brought back first.

        Raises:
            TransientError: the database cannot be reached.
        """
        recover_host(self._services.jobs)
        self._reconciler.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; running jobs are given back and go on with the next worker."""
        self._stopping.set()
        for thread in [*self._threads, self._reconciler]:
            if thread.ident is not None:
                thread.join()

    def wait(self) -> None:
        """Sleep until :meth:`request_stop` or :meth:`stop` is called."""
        self._stopping.wait()

    def request_stop(self) -> None:
        """Ask to stop without waiting; safe in a signal handler."""
        self._stopping.set()

    def _serve(self) -> None:
        slot = Slot(self._services, self._settings, self._stopping)
        pause_s = 0.0
        try:
            while not self._stopping.wait(pause_s):
                try:
                    slot.warm_up()
                    found = slot.run_next(self._queues)
                    pause_s = 0.0 if found else self._settings.poll_seconds
                except Exception as error:  # noqa: BLE001 - a slot must outlive whatever happens
                    pause_s = min(LONGEST_PAUSE_S, max(1.0, 2 * pause_s))
                    if not self._stopping.is_set():
                        log.warning("worker slot", error=f"{type(error).__name__}: {error}")
        finally:
            slot.close()
