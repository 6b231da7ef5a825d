"""One reading for all who ask for the same at the same moment."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from fastapi.concurrency import run_in_threadpool

T = TypeVar("T")


class Flights:
    """Joins equal readings: when memory grows old under load, the database is asked once."""

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Future[Any]] = {}

    async def join(self, key: Hashable, read: Callable[[], T]) -> T:
        """The result of ``read``, called in a thread unless the same ``key`` is read already."""
        flight = self._running.get(key)
        if flight is None:
            flight = asyncio.ensure_future(run_in_threadpool(read))
            self._running[key] = flight
            flight.add_done_callback(lambda _: self._running.pop(key, None))
        result: T = await asyncio.shield(flight)
        return result
