"""Weights files inside installed packages, found and hashed without importing the package."""

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_PACKAGED = {
    "CHGNet": ("chgnet", "pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar"),
    "SevenNet": ("sevenn", "pretrained_potentials/SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth"),
}


@cache
def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal; computed once in a process."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def packaged_weights(potential: str) -> Path | None:
    """The weights file of a potential, None where its package is not installed."""
    package, relative = _PACKAGED[potential]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / relative
    return path if path.is_file() else None
