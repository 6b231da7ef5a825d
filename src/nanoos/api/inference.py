"""Inference in a server process: one prediction at a time, outside the request threads."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

import structlog

from nanoos.core.errors import RateLimitedError

T = TypeVar("T")

log = structlog.get_logger(__name__)

MOST_WAITING: Final = 64


class Inference:
    """One thread that runs models; requests wait for it without holding a thread themselves."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._waiting = 0

    async def run(self, work: Callable[[], T]) -> T:
        """The result of ``work``, called in the thread. Call in the event loop.

        Raises:
            RateLimitedError: too many requests wait already.
        """
        if self._waiting >= MOST_WAITING:
            raise RateLimitedError(
                f"{self._waiting} predictions wait already.",
                retry_after_s=5,
                hint="Ask for several structures at once with POST /ml/properties/batch.",
            )
        self._waiting += 1
        try:
            return await asyncio.wrap_future(self._thread.submit(work))
        finally:
            self._waiting -= 1

    def prepare(self, work: Callable[[], None]) -> None:
        """Call ``work`` in the thread before the requests that come later; nobody waits for it.

        Where it fails that is logged: a request that needs what it prepares says why.
        """
        self._thread.submit(work).add_done_callback(_log_failure)

    def close(self) -> None:
        """Take no more work."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _log_failure(done: Future[None]) -> None:
    error = None if done.cancelled() else done.exception()
    if error is not None:
        log.warning("cannot prepare models", error=f"{type(error).__name__}: {error}")
