"""What a long piece of work has done so far, in a file that the next attempt goes on from."""

import os
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]

MOST_TIME_SHARE: Final = 0.05
"""Saving takes at most this share of the time: a step that is quicker is not saved alone."""
_WORK: Final = "work"


class Checkpoint:
    """Arrays in one file, which is whole or not there.

    Args:
        path: The file; its folder is made.
        work: Names what is done. What other work left there is not taken up.
    """

    def __init__(self, path: Path, work: str) -> None:
        self._path = path
        self._work = work
        self._next = 0.0

    def load(self) -> dict[str, npt.NDArray[Any]]:
        """What was saved last; empty where there is nothing of this work that can be read."""
        try:
            with self._path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                if str(stored[_WORK]) != self._work:
                    return {}
                return {name: stored[name] for name in stored.files if name != _WORK}
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
            return {}

    def save(self, arrays: Callable[[], Arrays], *, whatever_it_costs: bool = False) -> None:
        """Write what ``arrays`` gives, unless that was done too short a time ago.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        began = time.monotonic()
        if began < self._next and not whatever_it_costs:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self._path.with_name(f".{self._path.name}.part")
        with scratch.open("wb") as stream:
            contents: dict[str, Any] = {**arrays(), _WORK: np.array(self._work)}
            np.savez(stream, **contents)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(self._path)
        now = time.monotonic()
        self._next = now + (now - began) / MOST_TIME_SHARE
