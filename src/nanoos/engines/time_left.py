"""How long a run still takes, told with its progress."""

import time
from typing import TYPE_CHECKING, Final

from nanoos.core.durations import duration

if TYPE_CHECKING:
    from nanoos.engines.base import Progress

_STARTING_S: Final = 5.0
"""What is done so soon after the first step was done by an execution that was killed."""
_ENOUGH_S: Final = 20.0
_ENOUGH_SHARE: Final = 0.005


class TimeLeft:
    """Estimates the time left from the share done and how long it took.

    It knows nothing until the run was watched for a while, and nothing any more once the time
    it gave is over.
    """

    def __init__(self) -> None:
        self._share = 0.0
        self._first_at: float | None = None
        self._watched_from = (0.0, 0.0)
        self._end: float | None = None

    def seconds(self, share: float, now: float) -> float | None:
        """Seconds left, None where nobody can tell.

        Args:
            share: Done, 0 to 1; 0 where it is not known.
            now: ``time.monotonic()``.
        """
        if share > self._share:
            self._share = share
            if self._first_at is None:
                self._first_at = now
            if now - self._first_at < _STARTING_S:
                self._watched_from = (now, share)
            else:
                self._end = self._estimate(share, now)
        return self._end - now if self._end is not None and self._end > now else None

    def _estimate(self, share: float, now: float) -> float | None:
        began, before = self._watched_from
        took, done = now - began, share - before
        if took < _ENOUGH_S or done < _ENOUGH_SHARE:
            return None
        return now + (1.0 - share) * took / done


def with_time_left(progress: "Progress | None") -> "Progress | None":
    """The same progress, the time left put behind each message where it is known."""
    if progress is None:
        return None
    left = TimeLeft()

    def tell(share: float, message: str) -> None:
        seconds = left.seconds(share, time.monotonic())
        words = "" if seconds is None else f", about {duration(seconds)} left"
        progress(share, message + words)

    return tell
