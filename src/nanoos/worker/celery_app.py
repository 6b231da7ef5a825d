"""In a lab: Celery carries wake-ups between machines, the database stays the truth.

A relay announces ready jobs; a message carries the id of the job that caused it, and whoever
receives it claims the most urgent job of that queue. A lost message costs time, never work:
what stays queued is announced again.
"""

import threading
from collections.abc import Sequence

import structlog
from celery import Celery
from celery.signals import worker_shutting_down
from kombu.exceptions import OperationalError

from nanoos.config import Settings
from nanoos.core.errors import NanoosError
from nanoos.services.jobs import JobService
from nanoos.worker.reconciler import Reconciler, recover_host
from nanoos.worker.slot import ChildGoneError, Slot

WAKE_TASK = "nanoos.wake"
RELAY_INTERVAL_S = 0.02
STALE_S = 10.0

log = structlog.get_logger(__name__)


def make_celery(settings: Settings) -> Celery:
    """The Celery application: at most once, no results, no remote control."""
    app = Celery("nanoos", broker=settings.broker_url)
    app.conf.update(
        task_acks_late=False,
        task_ignore_result=True,
        worker_enable_remote_control=False,
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"socket_timeout": 10, "socket_connect_timeout": 5},
        task_default_queue="nanoos.default",
    )
    return app


def queue_name(queue: str) -> str:
    """Name of the broker's queue for one of ours."""
    return f"nanoos.{queue}"


class Relay(threading.Thread):
    """Announces ready jobs to the broker. Several may run: each job is announced by one."""

    def __init__(self, jobs: JobService, app: Celery, stopping: threading.Event) -> None:
        super().__init__(name="relay", daemon=True)
        self._jobs = jobs
        self._app = app
        self._stopping = stopping

    def run(self) -> None:
        """Announce until told to stop; an absent broker is tried again."""
        while not self._stopping.wait(RELAY_INTERVAL_S):
            try:
                if not self._jobs.has_unpublished(stale_s=STALE_S):
                    continue
                for job_id, queue in self._jobs.take_unpublished(stale_s=STALE_S):
                    self._app.send_task(
                        WAKE_TASK, args=(str(job_id),), queue=queue_name(queue), retry=False
                    )
            except (NanoosError, OperationalError, OSError) as error:
                log.warning("cannot announce jobs", error=str(error))
                self._stopping.wait(1.0)


class CeleryWorker:
    """A worker that sleeps until the broker wakes it.

    Args:
        jobs: The job service.
        settings: Handed to child processes; names the broker.
        queues: Which queues to serve.
        concurrency: How many jobs at once.
    """

    def __init__(
        self, jobs: JobService, settings: Settings, *, queues: Sequence[str], concurrency: int
    ) -> None:
        self._jobs = jobs
        self._settings = settings
        self._queues = list(queues)
        self._concurrency = concurrency
        self._stopping = threading.Event()
        self._slots = threading.local()
        self._opened: list[Slot] = []
        self.app = make_celery(settings)
        self.app.task(name=WAKE_TASK)(self._wake)

    def _wake(self, _job_id: str) -> None:
        slot: Slot | None = getattr(self._slots, "slot", None)
        if slot is None:
            slot = self._slots.slot = Slot(self._jobs, self._settings, self._stopping)
            self._opened.append(slot)
        try:
            if not self._stopping.is_set():
                slot.run_next(self._queues)
        except (NanoosError, ChildGoneError) as error:
            log.warning("worker slot", error=str(error))

    def _on_shutdown(self, **_kwargs: object) -> None:
        """Give running jobs back instead of waiting for hours until they end."""
        self._stopping.set()

    def run(self) -> None:
        """Serve until the process is told to end (TERM or INT)."""
        recover_host(self._jobs)
        worker_shutting_down.connect(self._on_shutdown)
        Reconciler(self._jobs, self._stopping).start()
        Relay(self._jobs, self.app, self._stopping).start()
        worker = self.app.Worker(
            pool="threads",
            concurrency=self._concurrency,
            queues=[queue_name(queue) for queue in self._queues],
            loglevel=self._settings.log_level.upper(),
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            optimization="fair",
        )
        try:
            worker.start()
        finally:
            self._stopping.set()
            for slot in self._opened:
                slot.close()
