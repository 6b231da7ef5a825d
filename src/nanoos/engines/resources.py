"""What a run was given to work with, and what it used."""

import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import psutil

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_LONGER: Final = 1.5
_MB: Final = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallelism:
    """What a program is started with.

    Attributes:
        processes: How many, as far as its command says.
        threads: Of each.
    """

    processes: int = 1
    threads: int = 1


class Meter:
    """Measures this process and those it starts, while its block runs.

    A process that lives long runs one job after the other, and the system only knows the largest
    memory of its whole life: the memory is looked at now and then instead.
    """

    def __init__(self) -> None:
        self._began, self._cpu_s = 0.0, 0.0
        self._largest = 0
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._look, name="meter", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._began, self._cpu_s = time.monotonic(), _processor_s()
        self._watch.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""
        self._ended.set()
        self._watch.join()

    def used(self) -> dict[str, float]:
        """``wall_s``; ``cpu_s`` of all processes that have ended; ``max_rss_mb`` of all at once."""
        self._largest = max(self._largest, _memory_bytes())
        return {
            "wall_s": time.monotonic() - self._began,
            "cpu_s": _processor_s() - self._cpu_s,
            "max_rss_mb": self._largest / _MB,
        }

    def _look(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            self._largest = max(self._largest, _memory_bytes())
            if self._ended.wait(pause_s):
                return
            pause_s = min(_LONGEST_PAUSE_S, _LONGER * pause_s)


def threads_in(environment: Mapping[str, str]) -> int:
    """Threads that ``OMP_NUM_THREADS`` gives each process; 1 where it does not say."""
    first = environment.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return max(1, int(first)) if first.isdigit() else 1


def _processor_s() -> float:
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


def _memory_bytes() -> int:
    found = 0
    own = psutil.Process()
    for process in [own, *own.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            found += process.memory_info().rss
    return found
