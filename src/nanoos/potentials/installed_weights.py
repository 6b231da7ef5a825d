"""The folder of weights on this machine, read without loading any of them.

Each set of weights is a folder with a ``manifest.json``; :mod:`nanoos.models.store` writes it.
The folder is what :func:`set_weights_folder` said; else ``NANO_OS_MODELS_DIR``, else ``models``
in the data folder.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from nanoos.core.errors import UnavailableError
from nanoos.core.folders import data_dir

MANIFEST: Final = "manifest.json"
_FORMAT: Final = 1

_folder: Path | None = None


def set_weights_folder(folder: Path | None) -> None:
    """Where added weights lie in this process; None for what the environment says."""
    global _folder  # noqa: PLW0603  (a property of the process)
    _folder = folder


def weights_folder() -> Path:
    """Where added weights lie; it may not exist yet."""
    if _folder is not None:
        return _folder
    if named := os.environ.get("NANO_OS_MODELS_DIR"):
        return Path(named).expanduser()
    return data_dir() / "models"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledWeights:
    """Weights on this machine.

    Attributes:
        name: Name of the set.
        family: What kind of network they belong to.
        folder: Where the files lie.
        files: File name to SHA-256, as written when they were added.
        license: SPDX identifier.
        source: Who published them, and where they came from.
        added_at: ISO 8601, UTC.
    """

    name: str
    family: str
    folder: Path
    files: Mapping[str, str]
    license: str
    source: str
    added_at: str

    @property
    def sha256(self) -> str:
        """One hash over all files and their names."""
        return joint_sha256(self.files)

    def as_dict(self) -> dict[str, Any]:
        """JSON types, as the manifest holds them."""
        data = asdict(self)
        del data["folder"]
        return {"format": _FORMAT, **data, "files": dict(self.files)}


def joint_sha256(files: Mapping[str, str]) -> str:
    """One hash over file names and their SHA-256."""
    lines = "".join(f"{name} {files[name]}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def installed_weights() -> dict[str, InstalledWeights]:
    """Name to weights, sorted; folders without a readable manifest are not weights."""
    folder = weights_folder()
    if not folder.is_dir():
        return {}
    found = (_read(path) for path in sorted(folder.iterdir()) if not path.name.startswith("."))
    return {weights.name: weights for weights in found if weights is not None}


def find_weights(name: str) -> InstalledWeights | None:
    """The weights called ``name``, None where they were not added."""
    return _read(weights_folder() / name)


def require_weights(name: str) -> InstalledWeights:
    """The weights called ``name``.

    Raises:
        UnavailableError: they were not added; the hint says how.
    """
    weights = find_weights(name)
    if weights is None:
        raise UnavailableError(
            f"The weights {name} are not on this machine.",
            hint=how_to_get(name),
            code="weights_missing",
        )
    return weights


def how_to_get(name: str) -> str:
    """The commands that bring weights here."""
    return f"nanoos models pull {name}   (or, without a network: nanoos models add FOLDER)"


def _read(folder: Path) -> InstalledWeights | None:
    try:
        data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(data, dict) or data.pop("format", None) != _FORMAT:
        return None
    try:
        weights = InstalledWeights(folder=folder, **data)
    except TypeError:
        return None
    return weights if all((folder / file).is_file() for file in weights.files) else None
