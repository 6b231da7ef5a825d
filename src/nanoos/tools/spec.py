"""What a tool is: a program that cannot share the main environment."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROGRAMS: Final = Path(__file__).parent / "programs"
"""Files of ours that a tool's own Python runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """How a tool is installed, checked and run.

    Attributes:
        name: Name in the registry: letters, digits, ``-`` and ``_``.
        purpose: What it is for, one sentence.
        requirements: What pip installs, pinned (``mace-torch==0.3.16``).
        distribution: The one of them whose version is the tool's.
        imports: Modules that must import for the tool to count as installed.
        license: Of the program, not of weights that it may load.
        size_mb: What it takes on disk, MB, roughly.
        shares: Distributions taken from the main environment with all that they need, by
            links, instead of a second copy. The tool's own packages come before them.
        python: Versions of Python it runs on, as in ``requires-python``.
        program: The file its long-lived process serves requests from, None where it is only
            ever run as a command.
    """

    name: str
    purpose: str
    requirements: tuple[str, ...]
    distribution: str
    imports: tuple[str, ...]
    license: str
    size_mb: int
    shares: tuple[str, ...] = ()
    python: str = ">=3.11"
    program: Path | None = None

    @property
    def variable(self) -> str:
        """The environment variable that names a Python of the user's that has the tool."""
        return f"NANO_OS_{self.name.upper().replace('-', '_')}_PYTHON"

    @property
    def install_command(self) -> str:
        """What installs it."""
        return f"nanoos tools install {self.name}"
