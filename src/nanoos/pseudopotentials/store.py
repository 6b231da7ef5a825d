"""The families on this machine.

Each is a folder with a ``family.json``, put in place by one rename: a process killed at any
moment leaves all of a family or nothing that counts as one. The place is what
:func:`set_pseudo_folder` said; else ``NANO_OS_PSEUDO_DIR``, else ``pseudos`` in the data folder.
"""

import json
import os
import secrets
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Final

from nanoos.core.errors import NotFoundError, UnavailableError
from nanoos.core.folders import data_dir
from nanoos.pseudopotentials.family import PseudopotentialFamily, family_from_dict
from nanoos.pseudopotentials.known import KNOWN_FAMILIES

MANIFEST: Final = "family.json"
FORMAT: Final = 1

_folder: Path | None = None


def set_pseudo_folder(folder: Path | None) -> None:
    """Where families lie in this process; None for what the environment says."""
    global _folder  # noqa: PLW0603  (a property of the process)
    _folder = folder


def pseudo_folder() -> Path:
    """Where families lie; it may not exist yet."""
    if _folder is not None:
        return _folder
    if named := os.environ.get("NANO_OS_PSEUDO_DIR"):
        return Path(named).expanduser()
    return data_dir() / "pseudos"


def families() -> list[PseudopotentialFamily]:
    """Every family on this machine, sorted by name; what is no family is passed over."""
    root = pseudo_folder()
    if not root.is_dir():
        return []
    found = []
    for folder in sorted(root.iterdir()):
        family = None if folder.name.startswith(".") else _read(folder)
        if family is not None:
            found.append(family)
    return found


def get_family(name: str) -> PseudopotentialFamily:
    """The family called ``name``, in any case.

    Raises:
        UnavailableError: code ``family_missing``; it is known but not on this machine. The hint
            is the command that installs it.
        NotFoundError: nobody knows it; the hint names those that are here.
    """
    here = {family.name.casefold(): family for family in families()}
    if found := here.get(name.casefold()):
        return found
    names = ", ".join(family.name for family in here.values()) or "none"
    known = next((one for one in KNOWN_FAMILIES if one.casefold() == name.casefold()), None)
    if known is not None:
        raise UnavailableError(
            f"The pseudopotential family {known} is not installed (installed: {names}).",
            hint=f"nanoos pseudos install {known}, or from an archive: "
            "nanoos pseudos install FILE.tar.xz",
            details={"family": known},
            code="family_missing",
        )
    raise NotFoundError(
        f"There is no pseudopotential family named {name!r}.",
        hint=f"Installed: {names}. 'nanoos pseudos list' shows those that can be installed.",
    )


def remove_family(name: str) -> PseudopotentialFamily:
    """Delete a family; returns what it was.

    Raises:
        NotFoundError: it is not on this machine.
        UnavailableError: it is known and not on this machine, or the folder cannot be written.
    """
    family = get_family(name)
    gone = family.folder.with_name(f".removing-{secrets.token_hex(4)}")
    try:
        family.folder.rename(gone)  # from here on it is no family
    except OSError as error:
        raise UnavailableError(
            f"The family {family.name} cannot be removed: {error.strerror}.",
            hint=f"Its files lie in {family.folder}.",
        ) from error
    shutil.rmtree(gone, ignore_errors=True)
    return family


def _read(folder: Path) -> PseudopotentialFamily | None:
    manifest = folder / MANIFEST
    try:
        changed = manifest.stat().st_mtime_ns
    except OSError:
        return None
    return _read_manifest(manifest, changed)


@lru_cache(maxsize=64)
def _read_manifest(manifest: Path, _changed: int) -> PseudopotentialFamily | None:
    try:
        document = json.loads(manifest.read_text(encoding="utf-8"))
        if document.pop("format") != FORMAT:
            return None
        return family_from_dict(document, manifest.parent)
    except (OSError, ValueError, KeyError, TypeError):
        return None
