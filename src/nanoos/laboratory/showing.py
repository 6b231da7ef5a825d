"""How things of the laboratory look in a terminal and in a notebook."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
_SHOWN = 20


def text_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width, separated by two blanks."""
    lines = [list(headers), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def html_table(caption: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a notebook; every cell is escaped."""

    def line(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    head = f"<thead>{line('th', headers)}</thead>" if any(headers) else ""
    body = "".join(line("td", row) for row in rows)
    return f"<table><caption><b>{escape(caption)}</b></caption>{head}<tbody>{body}</tbody></table>"


def number(value: float | None, digits: int = 4) -> str:
    """A number for people, a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}g}"


class Listing(Sequence[T], Generic[T]):
    """A list that prints as a table.

    Args:
        items: What it holds.
        columns: Heading to what stands under it.
        total: How many there are in all, where ``items`` is only a part.
    """

    def __init__(
        self,
        items: Sequence[T],
        columns: Mapping[str, Callable[[T], Any]],
        *,
        total: int | None = None,
    ) -> None:
        self._items = list(items)
        self._columns = dict(columns)
        self.total = len(self._items) if total is None else total

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> "Listing[T]": ...

    def __getitem__(self, index: int | slice) -> "T | Listing[T]":
        if isinstance(index, slice):
            return Listing(self._items[index], self._columns)
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def to_pandas(self) -> "pd.DataFrame":
        """The table as a data frame, values as they are."""
        import pandas as pd

        return pd.DataFrame(
            {name: [get(item) for item in self._items] for name, get in self._columns.items()}
        )

    def _cells(self) -> list[list[str]]:
        return [
            [_cell(get(item)) for get in self._columns.values()] for item in self._items[:_SHOWN]
        ]

    def _caption(self) -> str:
        shown = min(len(self._items), _SHOWN)
        return f"{self.total} in all" if shown == self.total else f"{shown} of {self.total}"

    def __repr__(self) -> str:
        return f"{text_table(list(self._columns), self._cells())}\n({self._caption()})"

    def _repr_html_(self) -> str:
        return html_table(self._caption(), list(self._columns), self._cells())


def _cell(value: Any) -> str:
    if isinstance(value, float) or value is None:
        return number(value)
    return str(value)
