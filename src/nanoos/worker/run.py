"""One worker process from start to end."""

import signal
from collections.abc import Sequence
from types import FrameType

from nanoos.config import Settings
from nanoos.services.container import Services


def run_worker(
    settings: Settings, services: Services, *, queues: Sequence[str], concurrency: int
) -> int:
    """Run jobs until the process is told to end (TERM or INT); returns its exit code.

    With ``settings.broker_url`` Celery wakes it, without it polls the database. On the first
    signal running jobs are given back, on the second the process ends at once; what it left is
    brought back by the next worker. Must be called in the main thread.

    Raises:
        TransientError: the database cannot be reached.
        UnavailableError: a broker is configured and Celery is not installed.
    """
    if settings.broker_url:
        return _celery_worker(settings, services, queues, concurrency)
    from nanoos.worker.local import LocalWorker

    worker = LocalWorker(services, settings, queues=queues, concurrency=concurrency)

    def end(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        worker.request_stop()

    previous = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        worker.start()
        worker.wait()
    finally:
        worker.stop()
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0


def _celery_worker(
    settings: Settings, services: Services, queues: Sequence[str], concurrency: int
) -> int:
    from nanoos.core.errors import UnavailableError

    try:
        from nanoos.worker.celery_app import CeleryWorker
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"A broker is configured, but {error.name} is not installed.",
            hint="pip install 'nanoos[lab]', or unset NANO_OS_BROKER_URL.",
        ) from error
    return CeleryWorker(services, settings, queues=queues, concurrency=concurrency).run()
