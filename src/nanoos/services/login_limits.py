"""How often one may try to log in."""

from functools import cached_property
from typing import Any, Final

import structlog

from nanoos.core.errors import RateLimitedError

log = structlog.get_logger(__name__)

_PREFIX: Final = "nanoos-login"


class LoginLimiter:
    """Counts attempts to log in by address and by name, over a moving minute.

    In a lab with Redis the counts are shared by all servers; elsewhere, and while Redis does not
    answer, each process counts for itself. Thread-safe.

    Args:
        per_minute: Attempts allowed in any 60 s, from one address and for one name.
        broker_url: Where it is a Redis, the counts are kept there.
    """

    def __init__(self, per_minute: int, *, broker_url: str = "") -> None:
        self._per_minute = per_minute
        self._shared_url = broker_url if broker_url.startswith(("redis://", "rediss://")) else ""

    def check(self, address: str, username: str) -> None:
        """Count an attempt.

        Raises:
            RateLimitedError: too many; says when to come back.
        """
        from limits.errors import StorageError

        keys = (("address", address), ("name", username.casefold()[:200]))
        try:
            waits = [self._wait(self._limiter, kind, value) for kind, value in keys]
        except StorageError as error:
            log.warning("login limits are counted in this process only", error=str(error))
            waits = [self._wait(self._own, kind, value) for kind, value in keys]
        wait_s = max(waits)
        if wait_s > 0:
            raise RateLimitedError(
                "Too many attempts to log in.",
                retry_after_s=wait_s,
                hint=f"Try again in {wait_s} s.",
            )

    def _wait(self, limiter: Any, kind: str, value: str) -> int:
        import math
        import time

        if limiter.hit(self._rate, _PREFIX, kind, value):
            return 0
        stats = limiter.get_window_stats(self._rate, _PREFIX, kind, value)
        return max(1, math.ceil(float(stats.reset_time) - time.time()))

    @cached_property
    def _rate(self) -> Any:
        from limits import RateLimitItemPerMinute

        return RateLimitItemPerMinute(self._per_minute)

    @cached_property
    def _limiter(self) -> Any:
        from limits.storage import storage_from_string
        from limits.strategies import MovingWindowRateLimiter

        if not self._shared_url:
            return self._own
        storage = storage_from_string(self._shared_url, wrap_exceptions=True)
        return MovingWindowRateLimiter(storage)

    @cached_property
    def _own(self) -> Any:
        from limits.storage import MemoryStorage
        from limits.strategies import MovingWindowRateLimiter

        return MovingWindowRateLimiter(MemoryStorage())
