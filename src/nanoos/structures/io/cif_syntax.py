"""The syntax of CIF 1.1: data blocks, tags, loops, quoted and multi-line values.

Ref: Hall, Allen and Brown, DOI 10.1107/S010876739101067X.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from nanoos.structures.io.text import malformed, shown

_TOKEN = re.compile(r"""'(?:[^']|'(?=\S))*'(?=\s|$)|"(?:[^"]|"(?=\S))*"(?=\s|$)|\#.*|\S+""")


@dataclass(slots=True)
class Loop:
    """A table: column tags and rows of equal length.

    Attributes:
        line: Where it starts in the file, from 1.
        tags: Column tags.
        cells: All values, row after row.
        lines: The line of each value.
    """

    line: int
    tags: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)

    @property
    def n_rows(self) -> int:
        """Number of rows, a last incomplete one counted."""
        return -(-len(self.cells) // len(self.tags)) if self.tags else 0

    def column(self, tag: str) -> list[str]:
        """Values of one column.

        Raises:
            StructureRefusedError: the values do not fill whole rows.
        """
        width = len(self.tags)
        if len(self.cells) % width:
            raise malformed(
                f"the loop starting here has {width} columns ({self.tags[0]}, ...) but "
                f"{len(self.cells)} values: a row is cut off or has a value too many.",
                line=self.line,
                hint="Complete the row; put quotes around values that contain blanks.",
            )
        return self.cells[self.tags.index(tag) :: width]

    def row_line(self, row: int) -> int:
        """Line in the file where a row starts."""
        return self.lines[row * len(self.tags)]


@dataclass(slots=True)
class Block:
    """One data block.

    Attributes:
        name: What follows ``data_``.
        line: Where it starts in the file, from 1.
        values: Tag (lower case, dots as underscores) to value and its line.
        loops: The loops in order.
    """

    name: str
    line: int
    values: dict[str, tuple[str, int]] = field(default_factory=dict)
    loops: list[Loop] = field(default_factory=list)

    def loop_with(self, *tags: str) -> tuple[Loop, str] | None:
        """The first loop with one of the tags, and which tag it is."""
        for tag in tags:
            for loop in self.loops:
                if tag in loop.tags:
                    return loop, tag
        return None

    def value(self, *tags: str) -> tuple[str, int] | None:
        """The first of the tags that has a known value (``?`` and ``.`` are not), and its line."""
        for tag in tags:
            if tag in self.values and self.values[tag][0] not in {"?", "."}:
                return self.values[tag]
        return None


def split_blocks(text: str) -> Iterator[tuple[str, int, list[str]]]:
    """Cut a file into data blocks without reading them.

    Yields:
        Name, number of the first line (from 1), and lines of each block.
    """
    name: str | None = None
    start, in_text = 1, False
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(";"):
            in_text = not in_text
        elif not in_text and line.lstrip()[:5].lower() == "data_":
            if name is not None:
                yield name, start, lines
            name, start, lines = line.split()[0][5:], number, []
        lines.append(line)
    if name is not None:
        yield name, start, lines
    elif lines:
        # some programs leave the data_ line out
        yield "", 1, lines


def count_atom_rows(lines: list[str]) -> int:
    """Rows of the longest atom-site table, estimated without reading values."""
    longest, n_tags, n_values = 0, 0, 0
    for line in lines:
        stripped = line.lstrip()
        if stripped[:10].lower() == "_atom_site":
            if n_values:
                n_tags = n_values = 0
            n_tags += 1
        elif stripped.startswith(("_", ";")) or stripped[:5].lower() in {"loop_", "data_"}:
            n_tags = n_values = 0
        elif n_tags and not stripped.startswith("#"):
            n_values += len(stripped.split())
            longest = max(longest, n_values // n_tags)
    return longest


def _tokens(lines: list[str], first_line: int) -> Iterator[tuple[str, bool, int]]:
    """Value, whether it was quoted, and line of every token."""
    held: list[str] | None = None
    opened = first_line
    for number, line in enumerate(lines, start=first_line):
        if held is not None:
            if line.startswith(";"):
                yield "\n".join(held), True, opened
                held = None
                line = line[1:]  # noqa: PLW2901 - what follows the closing mark is read on
            else:
                held.append(line)
                continue
        elif line.startswith(";"):
            held, opened = [line[1:]], number
            continue
        for token in _TOKEN.findall(line):
            if token[0] == "#":
                break
            quoted = token[0] in "'\"" and len(token) > 1 and token[-1] == token[0]
            yield (token[1:-1] if quoted else token), quoted, number
    if held is not None:
        raise malformed(
            "a text that starts with ';' in this line is never closed.",
            line=opened,
            hint="The file is cut off; close the text with a line that starts with ';'.",
        )


def parse_block(name: str, first_line: int, lines: list[str]) -> Block:
    """Read one block.

    Values that belong to no tag are skipped (they occur in comments of old files); a loop
    with incomplete rows is reported when one of its columns is asked for.

    Raises:
        StructureRefusedError: a text value is never closed.
    """
    block = Block(name=name, line=first_line)
    loop: Loop | None = None
    in_header = False
    pending: tuple[str, int] | None = None
    for token, quoted, line in _tokens(lines, first_line):
        lowered = token.lower() if not quoted else ""
        if lowered == "loop_":
            loop, in_header, pending = Loop(line=line), True, None
            block.loops.append(loop)
        elif lowered.startswith("_"):
            tag = lowered.replace(".", "_")
            if loop is not None and in_header:
                loop.tags.append(tag)
            else:
                loop, pending = None, (tag, line)
        elif lowered.startswith(("data_", "save_", "global_", "stop_")):
            loop, pending = None, None
        elif loop is not None:
            in_header = False
            if not loop.tags:
                raise malformed(
                    f"a loop without column names, at {shown(token)}.",
                    line=line,
                    hint="Put the column names between loop_ and the values.",
                )
            loop.cells.append(token)
            loop.lines.append(line)
        elif pending is not None:
            block.values.setdefault(pending[0], (token, pending[1]))
            pending = None
    return block
