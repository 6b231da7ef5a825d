"""A small cache whose entries are forgotten soon enough for revocations to take effect."""

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from nanoos.db import Database

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

FRESH_S: Final = 1.5
"""Deleting and revoking take effect within 2 s in every process: nothing is kept longer."""


class ChangeWatch:
    """Knows since when nothing at all was written to the database. Thread-safe.

    What was read after that time is as true at the last look as when it was read, so one cheap
    question makes every remembered value young again.

    Args:
        database: Whose change stamp is compared.
        every_s: It is asked at most this often, s.
    """

    def __init__(self, database: Database, *, every_s: float = 0.4) -> None:
        self._db = database
        self._every_s = every_s
        self._lock = threading.Lock()
        self._stamp = ""
        self._asked_at = float("-inf")
        self.quiet: tuple[float, float] = (float("inf"), float("-inf"))
        """Nothing was written between these times (monotonic clock, s)."""

    def look(self) -> None:
        """Ask the database, unless that was done a moment ago.

        Raises:
            TransientError: the database cannot be reached.
        """
        with self._lock:
            before = time.monotonic()
            if before - self._asked_at < self._every_s:
                return
            stamp = self._db.change_stamp()
            since = self.quiet[0] if stamp == self._stamp else time.monotonic()
            self._stamp, self._asked_at = stamp, before
            self.quiet = (since, before)


class FreshCache(Generic[K, V]):
    """At most ``size`` values, each for at most ``fresh_s`` seconds. Thread-safe.

    The age of a value counts from before it was read: take :meth:`now`, read, then
    :meth:`put` with that time.

    Args:
        size: How many values; the oldest goes first.
        fresh_s: How long a value is believed, s.
        watch: Where given, a value that was read in the database's present quiet time counts as
            read at the last look.
    """

    def __init__(
        self, *, size: int = 4096, fresh_s: float = FRESH_S, watch: ChangeWatch | None = None
    ) -> None:
        self._size = size
        self._fresh_s = fresh_s
        self._watch = watch
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._lock = threading.Lock()

    @staticmethod
    def now() -> float:
        """The clock that ages are counted on, s."""
        return time.monotonic()

    def get(self, key: K) -> V | None:
        """The value, None where there is none or it is too old."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        read_at, value = entry
        if self._watch is not None:
            since, looked_at = self._watch.quiet
            if read_at >= since:
                read_at = max(read_at, looked_at)
        return value if time.monotonic() - read_at <= self._fresh_s else None

    def put(self, key: K, value: V, *, read_at: float) -> None:
        """Remember a value that was read at ``read_at``."""
        with self._lock:
            self._entries[key] = (read_at, value)
            self._entries.move_to_end(key)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
