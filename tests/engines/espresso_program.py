"""The pw.x and the pseudopotentials that tests run with, or a word why there are none."""

import os
import shutil
import sys
from pathlib import Path

import platformdirs
import pytest

from nanoos.core.errors import UnavailableError
from nanoos.engines.espresso.program import set_command
from nanoos.pseudopotentials import install_family, set_pseudo_folder
from nanoos.tools import ToolEnvironments

ARCHIVE = "pseudos/pseudodojo_pbe_sr_v0.4.1_standard.tar.xz"


def pw_command() -> str:
    """``QE_TEST_COMMAND``, a pw.x on PATH, the user's own tool QE, else one that is made here."""
    if named := os.environ.get("QE_TEST_COMMAND") or shutil.which("pw.x"):
        return named
    own = ToolEnvironments(platformdirs.user_data_path("nanoos") / "tools")
    state = own.state("QE")
    if not state.available:
        own = ToolEnvironments(Path(sys.prefix) / "nanoos-tools")
        try:
            own.install("QE")
        except UnavailableError as error:
            pytest.skip(f"there is no pw.x here: {error.message}")
    return f"{own.python('QE')} -m qepy --pw.x"


def use_espresso(shared: Path, folder: Path) -> None:
    """Let this process find pw.x and PseudoDojo."""
    archive = shared / ARCHIVE
    if not archive.exists():
        pytest.skip(f"{archive} is not there")
    set_command(pw_command())
    set_pseudo_folder(folder)
    install_family(archive)


def forget_espresso() -> None:
    """Back to what the environment says."""
    set_command(None)
    set_pseudo_folder(None)
