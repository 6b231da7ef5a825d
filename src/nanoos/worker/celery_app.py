"""In a lab: Celery carries wake-ups between machines, the database stays the truth.

A relay announces ready jobs; a message carries the id of the job that caused it, and whoever
receives it claims the most urgent jobs of that queue until none is ready. A lost message costs
time, never work: what stays queued is announced again.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import structlog
from celery import Celery, Task
from celery.signals import worker_shutting_down
from kombu.exceptions import ChannelError

from nanoos.config import Settings
from nanoos.services.container import Services
from nanoos.services.job_announcements import JobAnnouncements
from nanoos.worker.reconciler import Reconciler, recover_host
from nanoos.worker.slot import Slot

WAKE_TASK = "nanoos.wake"
QUEUE_PREFIX = "nanoos."
STALE_S = 5.0
"""A job that was announced this long ago, and nothing is left in its queue, is announced again."""

BUSY_INTERVAL_S = 0.02
IDLE_INTERVAL_S = 0.1
IDLE_AFTER_S = 30.0

log = structlog.get_logger(__name__)


def make_celery(settings: Settings) -> Celery:
    """The Celery application: at most once, no results, no remote control."""
    app = Celery("nanoos", broker=settings.broker_url, set_as_current=False)
    app.conf.update(
        task_acks_late=False,
        task_ignore_result=True,
        worker_enable_remote_control=False,
        worker_prefetch_multiplier=1,
        worker_enable_prefetch_count_reduction=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"socket_timeout": 10, "socket_connect_timeout": 5},
        task_default_queue=queue_name("default"),
    )
    return app


def queue_name(queue: str) -> str:
    """Name of the broker's queue for one of ours."""
    return f"{QUEUE_PREFIX}{queue}"


class Relay(threading.Thread):
    """Announces ready jobs to the broker. Several may run: each job is announced by one.

    Args:
        jobs: What has been announced.
        app: Whose broker.
        stopping: Set when it should end.
        on_unread: Told the queues whose messages nobody has taken for :data:`STALE_S`.
    """

    def __init__(
        self,
        jobs: JobAnnouncements,
        app: Celery,
        stopping: threading.Event,
        *,
        on_unread: Callable[[Sequence[str]], None] = lambda _queues: None,
    ) -> None:
        super().__init__(name="relay", daemon=True)
        self._jobs = jobs
        self._app = app
        self._stopping = stopping
        self._on_unread = on_unread
        self._connection: Any = None

    def run(self) -> None:
        """Announce until told to stop; an absent broker or database is tried again."""
        idle_s = 0.0
        repaired = time.monotonic()
        while True:
            interval_s = BUSY_INTERVAL_S if idle_s < IDLE_AFTER_S else IDLE_INTERVAL_S
            if self._stopping.wait(interval_s):
                self._disconnect()
                return
            try:
                idle_s = 0.0 if self.announce() else idle_s + interval_s
                if time.monotonic() - repaired > STALE_S / 2:
                    self.repair()
                    repaired = time.monotonic()
            except Exception as error:  # noqa: BLE001 - it must outlive whatever happens
                log.warning("cannot announce jobs", error=f"{type(error).__name__}: {error}")
                self._disconnect()
                self._stopping.wait(1.0)

    def announce(self) -> int:
        """Announce what is ready; returns how many.

        Raises:
            NanoosError: the database cannot be reached.
            OperationalError: the broker cannot be reached; what was not sent stays unannounced.
        """
        if not self._jobs.has_unpublished():
            return 0
        producer = self._app.amqp.Producer(self._connect())
        taken = self._jobs.take_unpublished()
        sent = 0
        try:
            for job_id, queue in taken:
                self._app.send_task(
                    WAKE_TASK,
                    args=(str(job_id),),
                    queue=queue_name(queue),
                    retry=False,
                    producer=producer,
                )
                sent += 1
        finally:
            if sent < len(taken):
                self._jobs.withdraw_announcements([job_id for job_id, _ in taken[sent:]])
        return sent

    def repair(self) -> None:
        """Have jobs announced again whose messages were lost: the broker was wiped, or died.

        Only where the broker's queue is empty: jobs may also wait long because all workers are
        busy, and repeating that would fill the broker without end.
        """
        stale = self._jobs.stale_queues(stale_s=STALE_S)
        empty = [queue for queue in stale if self._is_empty(queue)]
        if empty:
            self._jobs.withdraw_stale(empty, stale_s=STALE_S)
        if unread := [queue for queue in stale if queue not in empty]:
            self._on_unread(unread)

    def _is_empty(self, queue: str) -> bool:
        channel = self._connect().channel()
        try:
            declared = channel.queue_declare(queue=queue_name(queue), passive=True)
        except ChannelError:
            return True  # a wiped broker does not know the queue
        finally:
            channel.close()
        return bool(declared.message_count == 0)

    def _connect(self) -> Any:
        if self._connection is None:
            connection = self._app.connection_for_write(connect_timeout=5)
            connection.ensure_connection(max_retries=1, timeout=5)
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(Exception):  # it is broken already
                self._connection.release()
            self._connection = None


class CeleryWorker:
    """A worker that sleeps until the broker wakes it.

    Args:
        services: What it works with; must stay open while it runs.
        settings: Handed to child processes; names the broker.
        queues: Which queues to serve.
        concurrency: How many jobs at once.
    """

    def __init__(
        self, services: Services, settings: Settings, *, queues: Sequence[str], concurrency: int
    ) -> None:
        self._services = services
        self._settings = settings
        self._queues = list(queues)
        self._concurrency = concurrency
        self._stopping = threading.Event()
        self._slots = threading.local()
        self._lock = threading.Lock()
        self._n_busy = 0
        self._worker: Any = None
        self.app = make_celery(settings)

        @self.app.task(name=WAKE_TASK, bind=True)  # type: ignore[untyped-decorator]
        def wake(task: Task, _job_id: str) -> None:
            routing_key: str = task.request.delivery_info["routing_key"]
            self._wake(routing_key.removeprefix(QUEUE_PREFIX))

    def _wake(self, queue: str) -> None:
        """Work until nothing is ready in the queue of the message.

        The pool's threads live as long as the pool: a slot, and the child that dies with the
        thread that made it, is kept for each.
        """
        slot: Slot | None = getattr(self._slots, "slot", None)
        if slot is None:
            slot = self._slots.slot = Slot(self._services, self._settings, self._stopping)
        self._count_busy(1)
        try:
            while not self._stopping.is_set() and slot.run_next([queue]):
                pass
        except Exception as error:  # noqa: BLE001 - what is queued is announced again
            log.warning("worker slot", error=f"{type(error).__name__}: {error}")
        finally:
            self._count_busy(-1)
        if self._stopping.is_set():
            slot.close()

    def _count_busy(self, change: int) -> None:
        with self._lock:
            self._n_busy += change

    def _wake_consumer(self, queues: Sequence[str]) -> None:
        """Have Celery connect anew if it leaves messages unread though a slot is free.

        With Redis it can fall silent for good: when the broker dies after a message was read
        and before it was acknowledged, the message counts against the prefetch limit for ever,
        so nothing is read any more and the dead connection is never noticed.
        """
        consumer = getattr(self._worker, "consumer", None)
        if self._n_busy >= self._concurrency or set(queues).isdisjoint(self._queues):
            return
        if consumer is not None and consumer.hub is not None:
            log.warning("the broker's messages are not read: connecting anew", queues=queues)
            consumer.hub.call_soon(_lose_connection)

    def _on_shutdown(self, **_kwargs: object) -> None:
        """Give running jobs back instead of waiting for hours until they end."""
        self._stopping.set()

    def run(self) -> int:
        """Serve until the process is told to end (TERM or INT); returns the exit code.

        Must be called in the main thread. An absent broker is waited for.

        Raises:
            TransientError: the database cannot be reached.
        """
        recover_host(self._services.jobs)
        worker_shutting_down.connect(self._on_shutdown)
        threads = [
            Reconciler(self._services, self._stopping),
            Relay(
                JobAnnouncements(self._services.database),
                self.app,
                self._stopping,
                on_unread=self._wake_consumer,
            ),
        ]
        self._worker = self.app.Worker(
            pool="threads",
            concurrency=self._concurrency,
            queues=[queue_name(queue) for queue in self._queues],
            loglevel="DEBUG" if self._settings.log_level == "debug" else "WARNING",
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            optimization="fair",
            quiet=True,
        )
        for thread in threads:
            thread.start()
        try:
            self._worker.start()
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join()
        return int(self._worker.exitcode or 0)


def _lose_connection() -> None:
    """Raised in Celery's event loop this looks like a lost connection, which it then renews."""
    raise ConnectionResetError("messages were not read")
