"""The VASP at hand: ``NANO_OS_VASP_COMMAND``, else a ``vasp_std`` on PATH."""

import os
import shutil
from dataclasses import dataclass
from typing import Final

from nanoos.core.errors import UnavailableError
from nanoos.engines.commands import command_words, processes_of

COMMAND_HINT: Final = (
    "Set NANO_OS_VASP_COMMAND to how your licensed VASP is started (mpirun -np 16 vasp_std), or put "
    "vasp_std on PATH. Without it inputs are written all the same: nanoos simulate ... "
    "--write-input DIR."
)

_command: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VaspProgram:
    """How VASP is started.

    Attributes:
        command: It takes no arguments of its own.
        processes: How many it starts, as far as it says.
    """

    command: tuple[str, ...]
    processes: int

    def environment(self) -> dict[str, str]:
        """The environment it runs in: one thread for each process unless the user said more."""
        return {"OMP_NUM_THREADS": "1", **os.environ}


def set_command(command: str | None) -> None:
    """Say what the settings say; None or empty for what the environment says."""
    global _command  # noqa: PLW0603  (a property of the process)
    _command = command or None


def find_program() -> VaspProgram:
    """The VASP at hand, looked for without running it.

    Raises:
        UnavailableError: code ``no_vasp``; there is none.
        ConfigError: the command in the settings cannot be read.
    """
    named = (_command or os.environ.get("NANO_OS_VASP_COMMAND", "")).strip()
    if not named:
        found = shutil.which("vasp_std")
        if found is None:
            raise UnavailableError(
                "VASP is not on this machine: it is licensed and comes with no package.",
                hint=COMMAND_HINT,
                code="no_vasp",
            )
        return VaspProgram(command=(found,), processes=1)
    words = command_words(
        named,
        setting="NANO_OS_VASP_COMMAND",
        example="mpirun -np 16 /opt/vasp/bin/vasp_std",
        hint=COMMAND_HINT,
        code="no_vasp",
    )
    return VaspProgram(command=words, processes=processes_of(words))
