"""Running the API: one server process and, on the embedded default, a worker beside it."""

import asyncio
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

import structlog
import uvicorn
from fastapi import FastAPI

from nanoos.api.app import create_app
from nanoos.config import Settings
from nanoos.core.errors import ConfigError
from nanoos.core.logs import configure_logging
from nanoos.core.processes import start_bound
from nanoos.db.jobs import QUEUES
from nanoos.services.container import Services

log = structlog.get_logger(__name__)

_BACKLOG: Final = 2048
_GRACE_S: Final = 10
_WORKER_GRACE_S: Final = 20.0


def serve(
    settings: Settings,
    services: Services,
    *,
    host: str,
    port: int,
    with_worker: bool,
    announce: Callable[[str], None] = print,
) -> None:
    """Serve until a signal ends it (Ctrl-C, TERM); open requests are finished first.

    On a first start an administrator ``admin`` is made and its random password announced, once.

    Args:
        settings: Handed to the worker too.
        services: Stay the caller's to close.
        host: Address to listen on.
        port: 0 takes a free one.
        with_worker: Start a worker process that ends with this one.
        announce: Shows a line to the person who starts it.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    configure_logging(settings.log_level)
    listener = _listen(host, port)
    worker: subprocess.Popen[bytes] | None = None
    try:
        app = create_app(settings, services)
        _announce_admin(services, announce)
        if with_worker:
            worker = _start_worker(settings)
        url = _url(host, listener.getsockname()[1])
        announce(f"NANO-OS listens on {url} (API documentation: {url}/docs). Ctrl-C ends it.")
        config = uvicorn.Config(
            app,
            access_log=False,
            log_config=None,
            server_header=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=_GRACE_S,
        )
        app.state.context.inference.prepare(services.predictions.active.warm_up)
        _Server(config, app).run(sockets=[listener])
    finally:
        listener.close()
        if worker is not None:
            _stop_worker(worker)


class _Server(uvicorn.Server):
    """Ends event streams when it is told to stop: they would keep it open."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Remember the loop: signals come outside of it."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop: once gracefully, a second Ctrl-C at once."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._app.state.context.events.close)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        taken = error.errno == errno.EADDRINUSE
        what = "is in use already" if taken else f"cannot be listened on: {error.strerror or error}"
        hint = "Stop the other server or give another port: nanoos serve --port 8001."
        raise ConfigError(
            f"{host}:{port} {what}.",
            hint=hint if taken else "Check NANO_OS_HOST and NANO_OS_PORT.",
            code="address_unavailable",
        ) from error
    return listener


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)  # noqa: S104 - compared
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _announce_admin(services: Services, announce: Callable[[str], None]) -> None:
    made = services.users.ensure_admin()
    if made is not None:
        user, password = made
        announce(
            f"First start: made the administrator {user.username!r} with the password {password}\n"
            "It is shown this once. Change it after logging in; if it is lost, run "
            f"'nanoos users passwd {user.username}' on this machine."
        )


def _start_worker(settings: Settings) -> subprocess.Popen[bytes]:
    """A worker in its own process, so that its work never slows an answer; it dies with us."""
    queues = [argument for queue in QUEUES for argument in ("--queue", queue)]
    command = [sys.executable, "-m", "nanoos", "worker", *queues]
    return start_bound(command, env={**os.environ, **_environment(settings)})


def _environment(settings: Settings) -> dict[str, str]:
    """The settings as the worker process reads them, also those that came from options."""
    values = settings.model_dump()
    secret = settings.secret_key.get_secret_value()
    shown = {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}
    return {f"NANO_OS_{name.upper()}": str(v) for name, v in shown.items()} | {
        "NANO_OS_SECRET_KEY": secret
    }


def _stop_worker(worker: subprocess.Popen[bytes]) -> None:
    worker.terminate()
    try:
        worker.wait(timeout=_WORKER_GRACE_S)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
