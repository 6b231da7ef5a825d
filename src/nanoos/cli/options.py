"""Options and arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[
    bool, typer.Option("--json", help="Machine readable: JSON on standard output, nothing else.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=200, help="How many to show at most.")]
Cursor = Annotated[
    str | None, typer.Option("--cursor", help="Go on where a page ended (its 'next').")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Paths = Annotated[list[Path], typer.Argument(help="Files, folders or zip archives.")]
IdOrPrefix = Annotated[
    str, typer.Argument(help="Its id, or the first characters of it (at least 6).")
]
