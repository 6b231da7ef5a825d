"""Hashes of weights files, computed once in a process."""

import hashlib
from functools import cache
from pathlib import Path


@cache
def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
