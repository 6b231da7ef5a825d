"""Weights of k-point models: one safetensors file with a JSON header, nothing to execute."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.structures.io import write_atomically

_HEADER_KEY: Final = "nanoos_kpoints"
_LENGTH_BYTES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightFile:
    """What a file holds.

    Attributes:
        header: JSON types.
        arrays: Name to array.
        sha256: Of the file.
    """

    header: Mapping[str, Any]
    arrays: Mapping[str, npt.NDArray[Any]]
    sha256: str


def written_weights(
    path: Path, arrays: Mapping[str, npt.NDArray[Any]], header: Mapping[str, Any]
) -> str:
    """Write a file (never half of it); its SHA-256. The same content gives the same bytes."""
    from safetensors.numpy import save

    ready = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    content = save(ready, metadata={_HEADER_KEY: json.dumps(header, sort_keys=True)})
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def read_weights(path: Path, *, kind: str, newest: int) -> WeightFile:
    """Read a file.

    Args:
        path: Of the file.
        kind: What it must hold.
        newest: Format that is read.

    Raises:
        InvalidInputError: not such a file, or of another kind or format; code
            ``invalid_weights``.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        content = path.read_bytes()
        arrays = load(content)
        header = _header(content)
        described = f"{header['kind']!r} of format {header['format']!r}"
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    if (header["kind"], header["format"]) != (kind, newest):
        raise _unreadable(path, f"it is {described}")
    return WeightFile(header=header, arrays=arrays, sha256=hashlib.sha256(content).hexdigest())


def _header(content: bytes) -> Mapping[str, Any]:
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    described = json.loads(content[_LENGTH_BYTES : _LENGTH_BYTES + length])
    found: Mapping[str, Any] = json.loads(described["__metadata__"][_HEADER_KEY])
    return found


def _unreadable(path: Path, why: str) -> InvalidInputError:
    return InvalidInputError(
        f"{path.name} holds no k-point model that can be read here: {why}.",
        hint="It belongs to another version of nanoos.",
        code="invalid_weights",
    )
