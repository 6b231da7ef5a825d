"""What people see: tables, lines and progress.

Tables go to standard output, everything said beside them to standard error. Colour follows
NO_COLOR and the terminal; a table that is piped is never cut.
"""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from rich.console import Console

PIPED_WIDTH = 10_000
"""Columns of a table that is not shown on a terminal: no line is broken or cut."""

PROGRESS_AFTER_S = 2.0
"""A progress bar appears when the work takes longer than this."""

_SHRUNK = 8
"""Columns that are left to a column that shrinks."""

_GAP = 3
"""Columns between two columns of a table."""

STATE_STYLES = {
    "completed": "green",
    "imported": "green",
    "ok": "green",
    "running": "cyan",
    "queued": "yellow",
    "duplicate": "yellow",
    "warning": "yellow",
    "cancelled": "dim",
    "paused": "dim",
    "failed": "red",
    "refused": "red",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        title: With the unit where there is one: ``volume, Å³``; may have several lines.
        of: Gives the cell of an item; None is shown as a dash.
        right: Whether it holds numbers.
        shrinks: Whether it is cut first on a narrow terminal.
        states: Whether its words are states, shown in their colour.
    """

    title: str
    of: Callable[[Any], Any]
    right: bool = False
    shrinks: bool = False
    states: bool = False


def console(*, stderr: bool = False) -> "Console":
    """A console on the present standard output or error."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=False)


def print_table(
    columns: Sequence[Column], items: Sequence[Any], *, empty: str, title: str | None = None
) -> None:
    """Print a table, or on standard error the sentence ``empty`` where there is nothing."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    if not items:
        say(empty)
        return
    out = console()
    widths = [_wanted(column, items) for column in columns]
    roomy = sum(widths) + _GAP * len(columns) <= out.width
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for column, width in zip(columns, widths, strict=True):
        table.add_column(
            Text(column.title),
            justify="right" if column.right else "left",
            no_wrap=roomy and not column.shrinks,  # where all cannot fit, all are cut
            min_width=width if roomy and not column.shrinks else None,
        )
    for item in items:
        table.add_row(*(_cell(column, item) for column in columns))
    out.print(table)


def fitting(columns: Sequence[Column], optional: Sequence[Column], items: Sequence[Any]) -> int:
    """How many of the ``optional`` columns, from the first, fit beside ``columns``; at least 1."""
    room = console().width - sum(_wanted(column, items) + _GAP for column in columns)
    for count, column in enumerate(optional):
        room -= _wanted(column, items) + _GAP
        if room < 0:
            return max(count, 1)
    return len(optional)


def _wanted(column: Column, items: Sequence[Any]) -> int:
    return _SHRUNK if column.shrinks else _widest(column, items)


def _widest(column: Column, items: Sequence[Any]) -> int:
    lines = column.title.splitlines()
    return max(len(text) for text in (*lines, *(cell_text(column.of(item)) for item in items)))


def _cell(column: Column, item: Any) -> Any:
    from rich.text import Text

    text = cell_text(column.of(item))
    style = STATE_STYLES.get(text, "") if column.states else ""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def cell_text(value: Any) -> str:
    """A value as a cell: a dash for None, four digits for numbers, minutes for times."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) >= 1e4 or 0 < abs(value) < 1e-3 else f"{value:.3f}"  # noqa: PLR2004
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(cell_text(item) for item in value) or "-"
    return str(value).replace("\n", " ")


UNITS = {
    "_ev_per_atom_ps": "eV/atom/ps",
    "_k_per_ns": "K/ns",
    "_cm2_s": "cm²/s",
    "_thz": "THz",
    "_ps": "ps",
    "_ev_per_atom": "eV/atom",
    "_ev_a3": "eV/Å³",
    "_a3_per_atom": "Å³/atom",
    "_g_cm3": "g/cm³",
    "_ev_a": "eV/Å",
    "_gpa": "GPa",
    "_a3": "Å³",
    "_deg": "°",
    "_ev": "eV",
    "_bohr": "µB",
    "_fs": "fs",
    "_a": "Å",
    "_k": "K",
    "_s": "s",
}
"""Endings of names that carry a unit, longest first, and how the unit is written."""

_YES_OR_NO: Final = frozenset(
    (
        "dynamically_stable",
        "elastically_stable",
        "gap_is_direct",
        "predicted_mesh_fine_enough",
        "prediction_holds",
    )
)
"""Values of results that are 1.0 or 0.0."""


def named_number(name: str, value: Any) -> tuple[str, Any, str]:
    """``bulk_modulus_gpa`` and its value as what, value and unit for a table."""
    for ending, unit in UNITS.items():
        if name.endswith(ending):
            return name.removesuffix(ending).replace("_", " "), value, unit
    if name in _YES_OR_NO:
        return name.replace("_", " "), bool(value), ""
    if name.startswith("n_") and float(value).is_integer():
        return name.replace("_", " "), int(value), ""
    return name.replace("_", " "), value, ""


def short_id(value: Any) -> str:
    """The first 8 characters of an id: enough to name it to another command."""
    return str(value)[:8]


def print_facts(facts: Sequence[tuple[str, Any]]) -> None:
    """Print name and value, one pair on each line."""
    from rich.text import Text

    width = max((len(name) for name, _ in facts), default=0)
    out = console()
    for name, value in facts:
        out.print(Text.assemble((name.ljust(width), "bold"), "  ", cell_text(value)))


def say(text: str) -> None:
    """Tell a person something beside the output proper."""
    print(text, file=sys.stderr)  # noqa: T201


def say_next(page: Any, shown: int) -> None:
    """Tell how to see the rest of a list."""
    if page.next:
        say(f"{shown} of {page.total}. The next ones: --cursor {page.next}")


Report = Callable[[float, str], None]


class _LateBar:
    """A progress bar that appears only when the work turns out to take a while."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._begun = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __call__(self, fraction: float, message: str) -> None:
        if self._bar is None:
            if time.monotonic() - self._begun < PROGRESS_AFTER_S:
                return
            self._start()
        self._bar.update(self._task, completed=fraction, message=message)

    def _start(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[message]}"),
            console=console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(self._title, total=1.0, message="")
        self._bar.start()

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()


class _CountingBar(_LateBar):
    """The same where nobody knows how much there will be: counts instead of a fraction."""

    def _start(self) -> None:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[message]}"),
            console=console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(self._title, total=None, message="")
        self._bar.start()


@contextlib.contextmanager
def progress(title: str, *, kind: Literal["fraction", "count"] = "fraction") -> Iterator[Report]:
    """A progress bar on standard error, for work over two seconds; nothing where piped.

    Yields a function of (fraction 0..1, message).
    """
    if not sys.stderr.isatty():
        yield _silent
        return
    bar = _LateBar(title) if kind == "fraction" else _CountingBar(title)
    try:
        yield bar
    finally:
        bar.stop()


def _silent(_fraction: float, _message: str) -> None:
    """Progress that nobody watches."""
