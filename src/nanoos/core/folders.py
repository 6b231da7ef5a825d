"""Where the data folder is, for the parts that no settings object reaches.

Bootstrap says it when it wires the services, the command line when it starts; a script that
does neither gets what the environment says.
"""

import os
from collections.abc import Callable
from pathlib import Path


def _by_environment() -> Path:
    named = os.environ.get("NANO_OS_DATA_DIR")
    if named:
        return Path(named).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("nanoos")


_locate: Callable[[], Path] = _by_environment


def set_data_dir(place: Path | Callable[[], Path] | None) -> None:
    """Say where the data folder is.

    Args:
        place: The folder; or a function that is asked each time, so that settings are read by
            commands that need the folder only; None: what the environment says.
    """
    global _locate  # noqa: PLW0603  (a property of the process)
    if place is None:
        _locate = _by_environment
    elif isinstance(place, Path):
        _locate = lambda: place  # noqa: E731
    else:
        _locate = place


def data_dir() -> Path:
    """The folder of database, artifacts, models and tools; it need not exist."""
    return _locate()


def existing_path(text: str, *, beside: Path | None = None) -> Path | None:
    """The file or folder that a text names, None where there is none.

    Args:
        text: What may be a path, ``~`` understood, or something else altogether.
        beside: Where a relative path begins; the current folder by default.
    """
    try:
        path = (beside or Path()) / Path(text).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):  # too long, nobody's home, a NUL
        return None
