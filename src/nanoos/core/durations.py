"""Durations in words."""

import math
from typing import Final

_SECONDS_UP_TO: Final = 90
_MINUTES_UP_TO: Final = 5400


def duration(seconds: float) -> str:
    """``42 s``, ``12 min`` or ``3.5 h``."""
    if seconds < _SECONDS_UP_TO:
        return f"{math.ceil(seconds)} s"
    if seconds < _MINUTES_UP_TO:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
