"""The pw.x at hand: ``NANO_OS_QE_COMMAND``, else one on PATH, else the tool QE."""

import os
import shlex
import shutil
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

from nanoos.core.errors import ConfigError, UnavailableError
from nanoos.tools import tool_environments

INSTALL_HINT: Final = (
    "nanoos tools install QE, or put pw.x on PATH, or set NANO_OS_QE_COMMAND to how it is started."
)

_command: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EspressoProgram:
    """How pw.x is started.

    Attributes:
        command: Without its own arguments.
        origin: Who named it.
        processes: How many an ``mpirun`` in the command starts, as far as it says.
    """

    command: tuple[str, ...]
    origin: Literal["setting", "path", "tool"]
    processes: int

    def arguments(self, input_name: str, pools: int) -> list[str]:
        """The whole command line for an input file."""
        extra = ["-nk", str(pools)] if pools > 1 else []
        return [*self.command, *extra, "-in", input_name]

    def environment(self) -> dict[str, str]:
        """The environment it runs in: one thread for each process."""
        return {**os.environ, "OMP_NUM_THREADS": "1"}


def set_command(command: str | None) -> None:
    """Say what the settings say; None or empty for what the environment says."""
    global _command  # noqa: PLW0603  (a property of the process)
    _command = command or None


def find_program() -> EspressoProgram:
    """The pw.x at hand, looked for without running it.

    Raises:
        UnavailableError: code ``no_pw``; there is none.
        ConfigError: the command in the settings cannot be read.
    """
    named = (_command or os.environ.get("NANO_OS_QE_COMMAND", "")).strip()
    if named:
        words = _words(named)
        return EspressoProgram(command=words, origin="setting", processes=processes_of(words))
    if found := shutil.which("pw.x"):
        return EspressoProgram(command=(found,), origin="path", processes=1)
    try:
        python = tool_environments().python("QE")
    except UnavailableError as error:
        raise UnavailableError(
            "Quantum ESPRESSO is not on this machine: there is no pw.x and the tool QE is "
            f"{tool_environments().state('QE').problem}.",
            hint=INSTALL_HINT,
            code="no_pw",
        ) from error
    command = (str(python), "-m", "qepy", "--pw.x")
    return EspressoProgram(command=command, origin="tool", processes=1)


def _words(named: str) -> tuple[str, ...]:
    try:
        words = shlex.split(named)
    except ValueError as error:
        raise ConfigError(
            f"NANO_OS_QE_COMMAND cannot be read: {error}.",
            hint="Write it as in a shell: mpirun -np 4 /opt/qe/bin/pw.x",
        ) from error
    found = shutil.which(os.path.expanduser(words[0]))  # noqa: PTH111
    if found is None:
        raise UnavailableError(
            f"NANO_OS_QE_COMMAND names {words[0]!r}, which is no program here.",
            hint=INSTALL_HINT,
            code="no_pw",
        )
    return (found, *words[1:])


def processes_of(words: tuple[str, ...]) -> int:
    """How many processes an ``mpirun`` in a command starts, as far as it says."""
    for flag, value in pairwise(words):
        if flag in {"-n", "-np", "--ntasks", "-c"} and value.isdigit():
            return max(1, int(value))
    return 1
