"""The pw.x at hand: ``NANO_OS_QE_COMMAND``, else one on PATH, else the tool QE."""

import os
import shutil
from dataclasses import dataclass
from typing import Final, Literal

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.engines.commands import command_words, counted_processes, processes_of
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
        processes: How many it starts, as far as it says.
    """

    command: tuple[str, ...]
    origin: Literal["setting", "path", "tool"]
    processes: int

    def check_pools(self, pools: int) -> None:
        """Refuse more pools of k-points than there are processes, where their number is known.

        Raises:
            InvalidInputError: code ``too_many_pools``.
        """
        counted = counted_processes(self.command) if self.origin == "setting" else 1
        if counted is None or (pools <= counted and counted % pools == 0):
            return
        raise InvalidInputError(
            f"nk is {pools}: the processes of pw.x, {counted}, cannot be divided into so many pools.",
            hint="Leave nk out, or start more in NANO_OS_QE_COMMAND, as in: mpirun -np 4 pw.x",
            code="too_many_pools",
        )

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
        words = command_words(
            named,
            setting="NANO_OS_QE_COMMAND",
            example="mpirun -np 4 /opt/qe/bin/pw.x",
            hint=INSTALL_HINT,
            code="no_pw",
        )
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
