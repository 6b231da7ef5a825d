"""A small cache whose entries are forgotten soon enough for revocations to take effect."""

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

FRESH_S: Final = 1.5
"""Deleting and revoking take effect within 2 s in every process: nothing is kept longer."""


class FreshCache(Generic[K, V]):
    """At most ``size`` values, each for at most ``fresh_s`` seconds. Thread-safe.

    The age of a value counts from before it was read: take :meth:`now`, read, then
    :meth:`put` with that time.

    Args:
        size: How many values; the oldest goes first.
        fresh_s: How long a value is believed, s.
    """

    def __init__(self, *, size: int = 4096, fresh_s: float = FRESH_S) -> None:
        self._size = size
        self._fresh_s = fresh_s
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._lock = threading.Lock()

    @staticmethod
    def now() -> float:
        """The clock that ages are counted on, s."""
        return time.monotonic()

    def get(self, key: K) -> V | None:
        """The value, None where there is none or it is too old."""
        entry = self._entries.get(key)
        if entry is None or time.monotonic() - entry[0] > self._fresh_s:
            return None
        return entry[1]

    def put(self, key: K, value: V, *, read_at: float) -> None:
        """Remember a value that was read at ``read_at``."""
        with self._lock:
            self._entries[key] = (read_at, value)
            self._entries.move_to_end(key)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
