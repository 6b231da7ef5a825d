"""Plots of curves, as the text of SVG files.

Written directly: a run of two seconds must not wait another second for a plotting library to
load. The numbers stand beside each plot as CSV for whoever wants another look of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np

from nanoos.engines.analysis.trajectory import FloatArray

COLORS: Final = ("#0b6e99", "#b5651d", "#2a9d8f", "#8a4f9e", "#6b705c", "#c1121f")
MAX_POINTS: Final = 2000

_WIDTH, _PANEL = 720, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 86, 18, 18, 52
_TICKS: Final = 6
_STYLE: Final = (
    "text{font-family:sans-serif;font-size:13px;fill:#333}"
    ".grid{stroke:#ddd;stroke-width:1}.axis{stroke:#333;stroke-width:1;fill:none}"
    ".curve{fill:none;stroke-width:1.6;stroke-linejoin:round}"
)


def curves(
    x_values: FloatArray,
    named: Mapping[str, FloatArray],
    *,
    x: str,
    y: str,
    level: float | None = None,
    upright: float | None = None,
) -> str:
    """Several curves over one axis, from zero.

    Args:
        x_values: (n,).
        named: Name to (n,).
        x: Label with unit.
        y: Label with unit.
        level: A horizontal line for the eye.
        upright: A vertical one.
    """
    top = max(float(values.max()) for values in named.values())
    frame = _Frame(x=_range(x_values), y=(0.0, 1.05 * top if top > 0 else 1.0), top=_TOP)
    parts = [*frame.axes(x_label=x, y_label=y), *frame.legend(list(named))]
    if level is not None and level < frame.y[1]:
        parts.append(frame.line(np.array(frame.x), np.array([level, level]), "#999", width=0.8))
    if upright is not None and frame.x[0] < upright < frame.x[1]:
        parts.append(frame.line(np.array([upright, upright]), np.array(frame.y), "#999", width=0.8))
    for (_, values), color in zip(named.items(), _colors(len(named)), strict=True):
        parts.append(frame.line(x_values, values, color))
    return _svg(parts, height=_TOP + _PANEL + _BOTTOM)


def fit(
    points: tuple[FloatArray, FloatArray], curve: tuple[FloatArray, FloatArray], *, x: str, y: str
) -> str:
    """Points, and the curve through them.

    Args:
        points: (n,) each.
        curve: (m,) each, beginning and ending with the points or beyond.
        x: Label with unit.
        y: Label with unit.
    """
    heights = np.concatenate([points[1], curve[1]])
    frame = _Frame(x=_range(curve[0], margin=0.03), y=_range(heights, margin=0.05), top=_TOP)
    parts = frame.axes(x_label=x, y_label=y)
    parts.append(frame.line(*curve, COLORS[0]))
    parts += frame.dots(*points, COLORS[1])
    return _svg(parts, height=_TOP + _PANEL + _BOTTOM)


def bands(
    x_values: FloatArray,
    energies: Sequence[FloatArray],
    ticks: Sequence[tuple[str, float]],
    *,
    y: str,
    window: tuple[float, float] | None = None,
) -> str:
    """Bands along a path through reciprocal space.

    Args:
        x_values: (n,), along the path.
        energies: (n, n_bands) for each spin, of either sign.
        ticks: Label and place of the special points.
        y: Label with unit.
        window: What is shown of the energies; None: all.
    """
    low = min(0.0, *(float(channel.min()) for channel in energies))
    high = max(float(channel.max()) for channel in energies)
    shown = _range(np.array([low, high]), margin=0.05)
    if window is not None:
        shown = max(shown[0], window[0]), min(shown[1], window[1])
    frame = _Frame(x=_range(x_values), y=shown, top=_TOP, height=2 * _PANEL if window else _PANEL)
    parts = frame.axes(x_label="", y_label=y, upright_grid=False)
    bottom = frame.bottom
    for label, place in _joined(ticks, within=0.01 * (frame.x[1] - frame.x[0])):
        at = np.array([place, place])
        parts.append(frame.line(at, np.array(frame.y), "#999", width=0.8))
        share = (place - frame.x[0]) / (frame.x[1] - frame.x[0])
        across = _LEFT + share * (_WIDTH - _LEFT - _RIGHT)
        parts.append(_text(across, bottom + 18, label.replace("G", "Γ"), anchor="middle"))
    if frame.y[0] < 0 < frame.y[1]:
        parts.append(frame.line(np.array(frame.x), np.zeros(2), "#333", width=0.8))
    for channel, color in zip(energies, _colors(len(energies)), strict=True):
        seen = (channel.max(axis=0) > shown[0]) & (channel.min(axis=0) < shown[1])
        parts += [frame.line(x_values, np.clip(band, *shown), color) for band in channel[:, seen].T]
    return _svg(parts, height=bottom + _BOTTOM)


def _joined(ticks: Sequence[tuple[str, float]], *, within: float) -> list[tuple[str, float]]:
    """Points where the path jumps share a place, and their labels: ``U|K``."""
    found: list[tuple[str, float]] = []
    for label, place in ticks:
        if found and place - found[-1][1] < within:
            found[-1] = (f"{found[-1][0]}|{label}", found[-1][1])
        else:
            found.append((label, place))
    return found


def time_series(
    time: FloatArray,
    named: Mapping[str, FloatArray],
    *,
    x: str,
    excluded_until: float | None = None,
) -> str:
    """One panel for each quantity, the part that averages leave out shaded.

    Args:
        time: (n,).
        named: Label with unit to (n,).
        x: Label of the time with its unit.
        excluded_until: End of the equilibration.
    """
    parts: list[str] = []
    top = _TOP
    for i, ((label, values), color) in enumerate(
        zip(named.items(), _colors(len(named)), strict=True)
    ):
        frame = _Frame(x=_range(time), y=_range(values, margin=0.05), top=top)
        if excluded_until:
            parts.append(frame.shade(frame.x[0], excluded_until))
        parts += frame.axes(x_label=x if i == len(named) - 1 else "", y_label=label)
        parts.append(frame.line(time, values, color))
        top += _PANEL + _TOP
    return _svg(parts, height=top + _BOTTOM)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """The rectangle of one panel, and the way from numbers to pixels."""

    x: tuple[float, float]
    y: tuple[float, float]
    top: int
    height: int = _PANEL

    @property
    def bottom(self) -> int:
        return self.top + self.height

    def _at(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        wide = _WIDTH - _LEFT - _RIGHT
        return _LEFT + across * wide, self.top + self.height * (1 - up)

    def line(self, x: FloatArray, y: FloatArray, color: str, *, width: float = 1.6) -> str:
        every = -(-len(x) // MAX_POINTS)
        h, v = self._at(x[::every], y[::every])
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(h, v, strict=True))
        return (
            f'<polyline class="curve" stroke="{color}" stroke-width="{width}" points="{points}"/>'
        )

    def dots(self, x: FloatArray, y: FloatArray, color: str) -> list[str]:
        h, v = self._at(x, y)
        return [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" fill="{color}"/>'
            for a, b in zip(h, v, strict=True)
        ]

    def shade(self, start: float, end: float) -> str:
        h, _ = self._at(np.array([start, min(end, self.x[1])]), np.array(self.y))
        width = max(0.0, float(h[1] - h[0]))
        return (
            f'<rect x="{h[0]:.1f}" y="{self.top}" width="{width:.1f}" height="{self.height}" '
            'fill="#eee"/>'
        )

    def axes(self, *, x_label: str, y_label: str, upright_grid: bool = True) -> list[str]:
        bottom, right = self.bottom, _WIDTH - _RIGHT
        parts = []
        for tick in _ticks(*self.x) if upright_grid else ():
            h, _ = self._at(np.array(tick), np.array(self.y[0]))
            parts.append(f'<path class="grid" d="M{h:.1f} {self.top}V{bottom}"/>')
            if x_label:
                parts.append(_text(float(h), bottom + 18, f"{tick:g}", anchor="middle"))
        for tick in _ticks(*self.y):
            _, v = self._at(np.array(self.x[0]), np.array(tick))
            parts.append(f'<path class="grid" d="M{_LEFT} {v:.1f}H{right}"/>')
            parts.append(_text(_LEFT - 8, float(v) + 4, f"{tick:g}", anchor="end"))
        parts.append(f'<path class="axis" d="M{_LEFT} {self.top}V{bottom}H{right}"/>')
        middle = self.top + self.height / 2
        parts.append(_text(18, middle, y_label, anchor="middle", turned=True))
        if x_label:
            parts.append(_text((_LEFT + right) / 2, bottom + 40, x_label, anchor="middle"))
        return parts

    def legend(self, names: Sequence[str]) -> list[str]:
        right = _WIDTH - _RIGHT
        parts = []
        for i, (name, color) in enumerate(zip(names, _colors(len(names)), strict=True)):
            y = self.top + 16 + 18 * i
            parts.append(f'<path stroke="{color}" stroke-width="3" d="M{right - 22} {y - 4}h20"/>')
            parts.append(_text(right - 28, y, name, anchor="end"))
        return parts


def _range(values: FloatArray, margin: float = 0.0) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):  # constant: room above and below
        pad = 0.5 * abs(low) or 1.0
        return low - pad, high + pad
    return low - margin * (high - low), high + margin * (high - low)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between the ends."""
    rough = (high - low) / _TICKS
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = int(np.ceil(low / step - 1e-9))
    last = int(np.floor(high / step + 1e-9))
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def _text(x: float, y: float, words: str, *, anchor: str, turned: bool = False) -> str:
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turn}>{escape(words)}</text>'


def _colors(n: int) -> list[str]:
    return [COLORS[i % len(COLORS)] for i in range(n)]


def _svg(parts: Sequence[str], *, height: int) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}">'
    )
    background = f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>'
    lines = [head, f"<style>{_STYLE}</style>", background, *parts, "</svg>"]
    return "\n".join(lines) + "\n"
