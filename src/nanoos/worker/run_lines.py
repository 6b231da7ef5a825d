"""What engines tell of their runs, in the log of the job that runs them."""

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from nanoos.engines.telling import RUNS

MOST_BYTES: Final = 1 << 18
"""After so much, only the last records are kept: the whole is in the run's own files."""
_LAST_RECORDS: Final = 30


@contextmanager
def runs_told_to(log: Path) -> Iterator[None]:
    """Append what engines tell to a job's log; of very much the beginning and the end."""
    lines = _Lines(log)
    before = (RUNS.level, RUNS.propagate)
    RUNS.setLevel(logging.INFO)
    RUNS.propagate = False  # to the worker's log
    RUNS.addHandler(lines)
    try:
        yield
    finally:
        RUNS.removeHandler(lines)
        lines.close()
        RUNS.setLevel(before[0])
        RUNS.propagate = before[1]


class _Lines(logging.Handler):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._target = path.open("ab", buffering=0)
        self._written = self._n_left = 0
        self._last: deque[str] = deque(maxlen=_LAST_RECORDS)

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage() + "\n"
        if self._n_left or self._written + len(text) > MOST_BYTES:
            self._n_left += 1
            self._last.append(text)
        else:
            self._write(text)

    def _write(self, text: str) -> None:
        self._written += len(text)
        with suppress(OSError):  # a full disk must not end the run
            self._target.write(text.encode(errors="replace"))

    def close(self) -> None:
        if left_out := self._n_left - len(self._last):
            self._write(f"-- {left_out} records are left out; the run's own files hold them\n")
        for text in self._last:
            self._write(text)
        self._last.clear()
        self._target.close()
        super().close()
