"""Files that commands write: complete or not at all, and a clear word where they cannot."""

import contextlib
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from nanoos.core.errors import InvalidInputError

if TYPE_CHECKING:
    from nanoos.services.container import Services

STANDARD_OUTPUT: Final = Path("-")
_FORMATS: Final = {
    ".cif": "cif",
    ".vasp": "poscar",
    ".poscar": "poscar",
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
    ".json": "json",
    ".zip": "zip",
}


def format_for(path: Path, given: str | None) -> str:
    """The format that is asked for, or that the name of the file promises.

    Raises:
        InvalidInputError: neither says one.
    """
    if given is not None:
        return given.lower()
    named = _FORMATS.get(path.suffix.lower())
    if named is None and path.name.upper().startswith(("POSCAR", "CONTCAR")):
        named = "poscar"
    if named is None:
        raise InvalidInputError(
            f"The name {path.name!r} does not say which format to write.",
            hint="Give --format cif, poscar, extxyz, json or zip.",
        )
    return named


def refuse_both_on_stdout(path: Path | None, *, as_json: bool) -> None:
    """Raise InvalidInputError where a file and JSON would both go to standard output."""
    if as_json and path == STANDARD_OUTPUT:
        raise InvalidInputError(
            "--json and '-o -' both write to standard output.", hint="Leave one of them out."
        )


def write_output(lab: "Services", ids: Sequence[uuid.UUID], path: Path, format_: str | None) -> int:
    """Export structures to ``path`` (``-``: standard output); returns how many."""
    from nanoos.cli.opening import local_user

    data, _, _ = lab.structures.export(ids, local_user(), format_for(path, format_))
    write_bytes(path, data)
    return len(ids)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file in one step, or bytes to standard output for ``-``.

    Raises:
        InvalidInputError: it cannot be written there.
    """
    from nanoos.structures.io.writing import write_atomically

    if path == STANDARD_OUTPUT:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    with writable(path):
        write_atomically(path, data)


@contextlib.contextmanager
def writable(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write ``path`` into words.

    Raises:
        InvalidInputError: it cannot be written there.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InvalidInputError(
            f"{path} cannot be written: {error.strerror or error}.",
            hint="Give a file in a folder that exists and that you may write.",
            code="unwritable_file",
        ) from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are not there.

    Raises:
        InvalidInputError: it cannot be made.
    """
    with writable(path):
        path.mkdir(parents=True, exist_ok=True)


def open_for_writing(path: Path) -> IO[str]:
    """Open a text file that is written as work goes on.

    Raises:
        InvalidInputError: it cannot be written there.
    """
    with writable(path):
        return path.open("w", encoding="utf-8", newline="")
