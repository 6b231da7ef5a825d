"""Tools installed on this machine: which, where, and whether they can be used.

A tool has a folder with its environment in a subfolder of a name never used before, and
``tool.json``, which says which subfolder that is. Only the replacement of ``tool.json`` (one
rename) makes a tool installed or another version of it: whatever a killed installation left is
no tool, and the next one clears it away. The environment is never moved: paths stand in it.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from nanoos.core.errors import ConflictError, NotFoundError, UnavailableError
from nanoos.core.folders import data_dir
from nanoos.tools import building, sharing
from nanoos.tools.building import Checked, Progress
from nanoos.tools.registry import TOOLS
from nanoos.tools.sharing import SharedPackage
from nanoos.tools.spec import ToolSpec

_FORMAT: Final = 1
_MANIFEST: Final = "tool.json"
_WAIT_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolState:
    """What is known of a tool here without running it.

    Attributes:
        name: Name in the registry.
        purpose: What it is for.
        license: Of the program.
        requirements: What is or would be installed.
        size_mb: What it takes, MB: measured where installed, else what is expected.
        available: Whether it can be used.
        origin: ``nanoos``: installed by it; ``variable``: the user's own Python.
        version: Of what is installed, None where that is not known.
        python: The Python that runs it.
        shared: Packages it takes from the main environment.
        installed_at: When.
        problem: Why it cannot be used.
        command: What changes that.
        variable: Environment variable that names a Python of the user's that has it.
    """

    name: str
    purpose: str
    license: str
    requirements: tuple[str, ...]
    size_mb: float
    available: bool
    origin: Literal["nanoos", "variable"] | None
    version: str | None
    python: Path | None
    shared: tuple[str, ...]
    installed_at: str | None
    problem: str | None
    command: str | None
    variable: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manifest:
    """What ``tool.json`` holds."""

    format: int
    name: str
    version: str
    requirements: tuple[str, ...]
    folder: str
    shared: tuple[SharedPackage, ...]
    packages: dict[str, str]
    size_bytes: int
    installed_at: str


class ToolEnvironments:
    """The tools under one folder.

    Safe to use from several threads and processes: whoever changes a tool holds its lock.

    Args:
        root: Their folder, ``DATA_DIR/tools``; made when needed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def states(self) -> list[ToolState]:
        """Every tool, sorted by name."""
        return [self.state(name) for name in TOOLS.names()]

    def state(self, name: str) -> ToolState:
        """What is known of ``name`` (any case) without running it.

        Raises:
            NotFoundError: no such tool.
        """
        spec = TOOLS.get(name)
        given = os.environ.get(spec.variable)
        if given:
            return self._given_state(spec, Path(given).expanduser())
        manifest = self._manifest(spec)
        if manifest is None:
            return _state(spec, problem="not installed", command=spec.install_command)
        python = self._python(spec, manifest)
        problem = _problem(spec, manifest, python)
        return _state(
            spec,
            origin="nanoos",
            version=manifest.version,
            python=python,
            size_mb=manifest.size_bytes / 1e6,
            shared=tuple(package.name for package in manifest.shared),
            installed_at=manifest.installed_at,
            problem=problem,
            command=f"{spec.install_command} --force" if problem else None,
        )

    def python(self, name: str) -> Path:
        """The Python that has the tool ``name``.

        Raises:
            NotFoundError: no such tool.
            UnavailableError: it is not installed or cannot be used; the hint is the command
                that changes it.
        """
        state = self.state(name)
        if state.python is None or not state.available:
            raise UnavailableError(
                f"The tool {state.name} cannot be used: {state.problem}.",
                hint=state.command,
                details={"tool": state.name},
                code="tool_missing",
            )
        return state.python

    def log_file(self, name: str, what: Literal["install", "process"]) -> Path:
        """Where installations or helper processes of a tool write; its folder is made."""
        folder = self.root / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{TOOLS.canonical_name(name)}-{what}.log"

    def install(
        self, name: str, *, force: bool = False, progress: Progress | None = None
    ) -> ToolState:
        """Install a tool, unless it is there; a failure leaves what was there before.

        Args:
            name: In any case.
            force: Replace an installation that works.
            progress: Told (fraction, what is done).

        Raises:
            NotFoundError: no such tool.
            ConflictError: the environment variable names another Python for it.
            UnavailableError: it cannot be installed here or now.
        """
        spec = TOOLS.get(name)
        tell = progress or _untold
        if os.environ.get(spec.variable):
            raise ConflictError(
                f"{spec.variable} is set: {spec.name} runs with that Python.",
                hint=f"Unset {spec.variable} to have it installed here.",
            )
        with self._locked(spec.name, tell):
            state = self.state(spec.name)
            if state.available and not force:
                return state
            home = self.root / spec.name
            shared = building.check_possible(spec, home)
            home.mkdir(parents=True, exist_ok=True)
            self._clear(spec)
            folder = home / f"environment-{secrets.token_hex(4)}"
            try:
                with self.log_file(spec.name, "install").open("w", encoding="utf-8") as log:
                    checked = building.build(spec, folder, shared, log=log, progress=tell)
                self._record(spec, folder, shared, checked)
            except BaseException:  # Ctrl-C too leaves nothing behind
                shutil.rmtree(folder, ignore_errors=True)
                raise
            self._clear(spec)
        return self.state(spec.name)

    def remove(self, name: str) -> float:
        """Delete a tool's environment; returns the MB that were freed.

        Raises:
            NotFoundError: no such tool, or it is not installed.
        """
        spec = TOOLS.get(name)
        with self._locked(spec.name, _untold):
            home = self.root / spec.name
            if not home.exists():
                raise NotFoundError(
                    f"{spec.name} is not installed.", hint="nanoos tools list", code="not_installed"
                )
            size = _size(home)
            (home / _MANIFEST).unlink(missing_ok=True)  # from here on it is not installed
            shutil.rmtree(home)
        return size / 1e6

    def check(self, name: str) -> Checked:
        """Run the tool's own check, which imports all it needs.

        Raises:
            NotFoundError: no such tool.
            UnavailableError: it is not installed, or does not work.
        """
        return building.check(TOOLS.get(name), self.python(name))

    # -- inside -----------------------------------------------------------------------------

    def _manifest(self, spec: ToolSpec) -> _Manifest | None:
        """The record of an installation; one that cannot be read is none."""
        try:
            document: dict[str, Any] = json.loads(
                (self.root / spec.name / _MANIFEST).read_text(encoding="utf-8")
            )
            if document["format"] != _FORMAT:
                return None
            shared = tuple(SharedPackage(**package) for package in document.pop("shared"))
            requirements = tuple(document.pop("requirements"))
            return _Manifest(**document, shared=shared, requirements=requirements)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _python(self, spec: ToolSpec, manifest: _Manifest) -> Path:
        return building.python_of(self.root / spec.name / manifest.folder)

    def _given_state(self, spec: ToolSpec, python: Path) -> ToolState:
        usable = python.is_file() and os.access(python, os.X_OK)
        return _state(
            spec,
            origin="variable",
            python=python,
            problem=None if usable else f"{spec.variable} names {python}, which is no program",
            command=None if usable else f"Correct or unset {spec.variable}.",
        )

    def _record(
        self, spec: ToolSpec, folder: Path, shared: list[SharedPackage], checked: Checked
    ) -> None:
        manifest = _Manifest(
            format=_FORMAT,
            name=spec.name,
            version=checked.version,
            requirements=spec.requirements,
            folder=folder.name,
            shared=tuple(shared),
            packages=checked.packages,
            size_bytes=_size(folder),
            installed_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        home = self.root / spec.name
        temporary = home / f"{_MANIFEST}.{secrets.token_hex(4)}"
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(asdict(manifest), stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(home / _MANIFEST)

    def _clear(self, spec: ToolSpec) -> None:
        """Delete what is in the tool's folder and belongs to no installation."""
        manifest = self._manifest(spec)
        kept = {_MANIFEST, manifest.folder} if manifest else set()
        for path in (self.root / spec.name).iterdir():
            if path.name not in kept:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self, name: str, tell: Progress) -> Iterator[None]:
        """Hold the tool's lock; the system frees it when a process ends, however it ends."""
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("a") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    tell(0.0, "another process is changing this tool: waiting")
                    time.sleep(_WAIT_S)
            yield


def tool_environments() -> ToolEnvironments:
    """The tools of the data folder in force."""
    return ToolEnvironments(data_dir() / "tools")


def _problem(spec: ToolSpec, manifest: _Manifest, python: Path) -> str | None:
    if not python.exists():
        return "its Python is gone"
    if manifest.requirements != spec.requirements:
        wanted = ", ".join(spec.requirements)
        return f"another version is installed than this nanoos was tested with ({wanted})"
    moved = sharing.changed(manifest.shared)
    if moved:
        return f"it shares {', '.join(moved)} with the main environment, which changed since"
    return None


def _state(
    spec: ToolSpec,
    *,
    problem: str | None,
    command: str | None,
    origin: Literal["nanoos", "variable"] | None = None,
    version: str | None = None,
    python: Path | None = None,
    size_mb: float | None = None,
    shared: tuple[str, ...] = (),
    installed_at: str | None = None,
) -> ToolState:
    return ToolState(
        name=spec.name,
        purpose=spec.purpose,
        license=spec.license,
        requirements=spec.requirements,
        size_mb=float(spec.size_mb) if size_mb is None else size_mb,
        available=problem is None,
        origin=origin,
        version=version,
        python=python,
        shared=shared,
        installed_at=installed_at,
        problem=problem,
        command=command,
        variable=spec.variable,
    )


def _size(folder: Path) -> int:
    """Bytes of the files under ``folder``; links count as nothing."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_size  # noqa: PTH118
    return total


def _untold(_fraction: float, _message: str) -> None:
    """Progress that nobody wants."""
