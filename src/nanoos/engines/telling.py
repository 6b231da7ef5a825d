"""What is told of a run while it lasts: lines of the standard log, kept by whoever listens to it.

The worker of a job does, and they stand in the job's log; otherwise nobody hears them.
"""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

RUNS: Final = logging.getLogger("nanoos.engines.runs")
"""Where it is told, each line at level INFO."""
_MOST_BYTES: Final = 4096


def tell(text: str) -> None:
    """Tell a line, or several."""
    RUNS.info("%s", text)


def tell_written(path: Path, *, begin: int = 0) -> None:
    """Tell what a program wrote to a file from byte ``begin`` on; the end of it where it is long."""
    with suppress(OSError), path.open("rb") as stream:
        first = max(begin, stream.seek(0, os.SEEK_END) - _MOST_BYTES)
        stream.seek(first)
        text = stream.read().decode("utf-8", errors="replace")
        if first > begin:
            text = f"...\n{text.partition(chr(10))[2]}"
        if text.strip():
            tell(f"{path.name}:\n{text.rstrip()}")
