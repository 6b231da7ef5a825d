"""A picture of a data set: what its targets look like, and which elements are in it."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nanoos.core.errors import UnavailableError
from nanoos.datasets.dataset import Dataset
from nanoos.datasets.packed_structures import FloatArray
from nanoos.structures.elements import SYMBOLS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_TARGETS: Final = 6
_PER_ROW: Final = 3
_BINS: Final = 60
_BAR_COLOR: Final = "#0b6e99"
_ABSENT_COLOR: Final = "#f1f1ef"
_INK: Final = "#222222"
_DARK: Final = 0.55
"""From this share of the colour scale on, letters are white."""

_NOBLE: Final = (2, 10, 18, 36, 54, 86)
_F_BLOCKS: Final = {6: range(57, 72), 7: range(89, 104)}
_LAST: Final = 103


def cell_of_element(number: int) -> tuple[int, float]:
    """Column (1 to 18) and row of an element; f elements in rows 8.4 and 9.4 below the others."""
    period = sum(number > noble for noble in _NOBLE) + 1
    if period in _F_BLOCKS and number in _F_BLOCKS[period]:
        return number - _F_BLOCKS[period].start + 3, period + 2.4
    before = (0, *_NOBLE)[period - 1]
    place = number - before
    length = (*_NOBLE, 118)[period - 1] - before
    if place <= (1 if period == 1 else 2):
        return place, float(period)
    return 18 - (length - place), float(period)


def dataset_figure_png(dataset: Dataset) -> bytes:
    """PNG: a histogram of each target (the first six) above a periodic table of the elements.

    Raises:
        UnavailableError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise UnavailableError(
            "Pictures need matplotlib, which is not installed.", hint="pip install 'nanoos[ml]'"
        ) from error
    names = list(dataset.targets)[:_MOST_TARGETS]
    columns = min(_PER_ROW, max(1, len(names)))
    rows = -(-len(names) // _PER_ROW)
    figure = Figure(figsize=(12.0, 2.9 * rows + 6.6), dpi=130, layout="constrained")
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[1.0] * rows + [2.25])
    for index, name in enumerate(names):
        axes = figure.add_subplot(grid[index // _PER_ROW, index % _PER_ROW])
        _histogram(axes, name, dataset.targets[name], dataset.units[name])
    table = figure.add_subplot(grid[rows, :])
    _periodic_table(figure, table, dataset.element_counts())
    formulas = len(set(dataset.reduced_formulas))
    figure.suptitle(
        f"{dataset.name}: {len(dataset):,} rows, {formulas:,} formulas", fontsize=13, color=_INK
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _histogram(axes: "Axes", name: str, values: FloatArray, unit: str) -> None:
    known = values[np.isfinite(values)]
    label = name.replace("_", " ")
    axes.set_xlabel(label if unit == "1" else f"{label} ({unit})")
    axes.set_ylabel("rows")
    axes.spines[["top", "right"]].set_visible(False)
    if not known.size:
        axes.text(0.5, 0.5, "no numbers", ha="center", va="center", transform=axes.transAxes)
        return
    edges = _edges(known)
    axes.hist(known, bins=edges.tolist(), color=_BAR_COLOR)
    beyond = int(((known < edges[0]) | (known > edges[-1])).sum())
    notes = [f"mean {known.mean():.3g}, std {known.std():.3g}"]
    if len(values) > known.size:
        notes.append(f"{len(values) - known.size:,} missing")
    zeros = int((known == 0).sum())
    if zeros > known.size // 10:
        notes.append(f"{zeros:,} are 0")
    if zeros > known.size // 4:
        axes.set_yscale("log")  # one bar of zeros would hide all others
    if beyond:
        notes.append(f"{beyond:,} outside the axis")
    axes.set_title("\n".join(notes), fontsize=8, loc="right", color=_INK)


def _edges(known: FloatArray) -> FloatArray:
    """Edges of bins over all values, but not over the farthest 0.1 % that stretch the axis much."""
    low, high = float(known.min()), float(known.max())
    inner_low, inner_high = np.quantile(known, [0.001, 0.999])
    if high - low > 2 * float(inner_high - inner_low) > 0:
        low, high = float(inner_low), float(inner_high)
    if (known == np.rint(known)).all():  # bins of other widths would make a comb of whole numbers
        step = max(1, round((high - low) / _BINS))
        return np.arange(np.floor(low) - 0.5, high + step, step)
    return np.linspace(low, high, _BINS + 1)


def _periodic_table(figure: Any, axes: "Axes", counts: Mapping[str, int]) -> None:
    """Number of rows with each element, on a logarithmic scale of colour."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    colors = colormaps["YlGnBu"]
    norm = LogNorm(vmin=1, vmax=max(10, *counts.values()) if counts else 10)
    for number in range(1, _LAST + 1):
        symbol = SYMBOLS[number]
        _cell(axes, number, symbol, counts.get(symbol, 0), (colors, norm))
    for number, text in ((57, "57-71"), (89, "89-103")):
        column, row = 3, 6 if number == 57 else 7  # noqa: PLR2004
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color="#777777")
    axes.set_xlim(0.4, 18.6)
    axes.set_ylim(9.95, 0.45)
    axes.set_aspect("equal")
    axes.axis("off")
    figure.colorbar(
        ScalarMappable(norm=norm, cmap=colors),
        ax=axes,
        label="rows with the element",
        shrink=0.7,
        pad=0.01,
    )


def _cell(axes: "Axes", number: int, symbol: str, count: int, scale: tuple[Any, Any]) -> None:
    from matplotlib.patches import Rectangle

    column, row = cell_of_element(number)
    colors, norm = scale
    share = float(norm(count)) if count else 0.0
    face: Sequence[float] | str = colors(share) if count else _ABSENT_COLOR
    ink = "white" if share > _DARK else _INK if count else "#aaaaaa"
    axes.add_patch(
        Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, facecolor=face, edgecolor="none")
    )
    axes.text(column, row - 0.08, symbol, ha="center", va="center", fontsize=9.5, color=ink)
    axes.text(
        column - 0.42, row - 0.3, str(number), ha="left", va="center", fontsize=4.5, color=ink
    )
    if count:
        text = f"{count:,}" if count < 10_000 else f"{count / 1000:.0f}k"  # noqa: PLR2004
        axes.text(column, row + 0.29, text, ha="center", va="center", fontsize=5.5, color=ink)
