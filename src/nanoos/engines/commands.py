"""How programs are named in settings: a command as in a shell, perhaps with an ``mpirun``."""

import os
import shlex
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from nanoos.core.errors import ConfigError, UnavailableError

_OF_MPIRUN: Final = ("-np", "-n", "-c", "--np", "--n")
_COUNTS: Final = {
    **dict.fromkeys(("mpirun", "mpiexec", "orterun", "prterun", "mpiexec.hydra"), _OF_MPIRUN),
    "srun": ("-n", "--ntasks"),
    "aprun": ("-n",),
    "jsrun": ("-n", "--nrs"),
}
"""Launchers and how each is told the number of processes."""


def command_words(
    named: str, *, setting: str, example: str, hint: str, code: str
) -> tuple[str, ...]:
    """The words of a command in a setting, the first one the path of a program that is there.

    Args:
        named: The command.
        setting: The environment variable that holds it, for messages.
        example: What such a command looks like.
        hint: What to do where there is no such program.
        code: Of that error.

    Raises:
        ConfigError: it cannot be read.
        UnavailableError: it names no program.
    """
    try:
        words = shlex.split(named)
    except ValueError as error:
        raise ConfigError(
            f"{setting} cannot be read: {error}.", hint=f"Write it as in a shell: {example}"
        ) from error
    found = shutil.which(os.path.expanduser(words[0]))  # noqa: PTH111
    if found is None:
        raise UnavailableError(
            f"{setting} names {words[0]!r}, which is no program here.", hint=hint, code=code
        )
    return (found, *words[1:])


def shown_command(words: Sequence[str]) -> str:
    """A command without the machine's folders."""
    return shlex.join(Path(word).name if os.sep in word else word for word in words)


def counted_processes(words: Sequence[str]) -> int | None:
    """How many processes the launcher in a command starts; None where it does not say.

    A launcher without a number starts as many as its allocation has (``SLURM_NTASKS``).
    """
    names = [Path(word).name for word in words]
    begin = next((i for i, name in enumerate(names) if name in _COUNTS), None)
    if begin is None:
        return None
    for word, after in pairwise((*words[begin + 1 :], "")):
        for flag in _COUNTS[names[begin]]:
            glued = word.removeprefix(f"{flag}=" if flag.startswith("--") else flag)
            value = after if word == flag else glued
            if value != word and value.isdigit():
                return max(1, int(value))
    allocated = os.environ.get("SLURM_NTASKS", "")
    return max(1, int(allocated)) if allocated.isdigit() else None


def processes_of(words: Sequence[str]) -> int:
    """As :func:`counted_processes`; where that is not said, the cores of a launcher's machine, else 1."""
    launched = any(Path(word).name in _COUNTS for word in words)
    return counted_processes(words) or (os.cpu_count() or 1 if launched else 1)
