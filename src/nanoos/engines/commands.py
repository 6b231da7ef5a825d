"""How programs are named in settings: a command as in a shell, perhaps with an ``mpirun``."""

import os
import shlex
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from nanoos.core.errors import ConfigError, UnavailableError


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


def processes_of(words: Sequence[str]) -> int:
    """How many processes an ``mpirun`` in a command starts, as far as it says."""
    for flag, value in pairwise(words):
        if flag in {"-n", "-np", "--ntasks", "-c"} and value.isdigit():
            return max(1, int(value))
    return 1
