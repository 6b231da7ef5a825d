"""Where the parts of a drawn interval stand, as shares of the width; the template draws them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final

_MARGIN: Final = 0.45
"""Free room beside the interval, in widths of it: labels stand there."""
_MOST_TICKS: Final = 6
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on the axis.

    Attributes:
        place: From 0 (left) to 100 (right).
        label: The value.
    """

    place: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalPlot:
    """An interval on an axis; places from 0 (left) to 100 (right).

    Attributes:
        lower: Place of the lower end.
        middle: Place of the median.
        upper: Place of the upper end.
        start: Where the axis begins: left, or at zero.
        ticks: Of the axis.
    """

    lower: float
    middle: float
    upper: float
    start: float
    ticks: Sequence[Tick]


def interval_plot(lower: float, middle: float, upper: float) -> IntervalPlot:
    """An axis that shows the interval with room on both sides, and round marks on it.

    Args:
        lower: Lower end, positive.
        middle: Between the ends.
        upper: Upper end.
    """
    width = max(upper - lower, 0.02 * upper)
    left = lower - _MARGIN * width
    right = upper + _MARGIN * width
    scale = 100 / (right - left)

    def place(value: float) -> float:
        return round((value - left) * scale, 3)

    step = _round_step((right - left) / _MOST_TICKS)
    decimals = max(0, -floor(log10(step) + 1e-9)) + (1 if _is_quarter(step) else 0)
    first, last = max(0, ceil(left / step)), floor(right / step)
    ticks = [
        Tick(place=place(number * step), label=f"{number * step:.{decimals}f}")
        for number in range(first, last + 1)
        if 3 < place(number * step) < 97  # noqa: PLR2004 - labels would be cut off
    ]
    return IntervalPlot(
        lower=place(lower),
        middle=place(middle),
        upper=place(upper),
        start=max(0.0, place(0.0)),
        ticks=ticks,
    )


def _round_step(smallest: float) -> float:
    power = 10.0 ** floor(log10(smallest))
    return next(step * power for step in _STEPS if step * power >= smallest * (1 - 1e-9))


def _is_quarter(step: float) -> bool:
    return abs(step / 10.0 ** floor(log10(step) + 1e-9) - 2.5) < 1e-6  # noqa: PLR2004
