"""Fixtures for all tests: private servers, migrated databases, services in a temporary folder.

``settings`` and ``services`` are the embedded default (SQLite). ``database`` and
``services_on_both`` run a test twice, on SQLite and on PostgreSQL.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nanoos.bootstrap import build_services, prepare
from nanoos.config import Settings, load_settings
from nanoos.core.errors import UnavailableError
from nanoos.core.folders import set_data_dir
from nanoos.core.processes import host_identity
from nanoos.db import Database
from nanoos.db.migrate import upgrade
from nanoos.pseudopotentials import install_family, set_pseudo_folder
from nanoos.services.container import Services
from nanoos.services.job_attempts import Executor
from nanoos.testing.servers import (
    PostgresServer,
    RedisServer,
    postgresql_server,
    redis_server,
)
from nanoos.worker.child import run_job

TEMPLATE = "nanoos_template"
PSEUDOS = "pseudos/pseudodojo_pbe_sr_v0.4.1_standard.tar.xz"


@pytest.fixture(autouse=True)
def _isolated_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting, file or data of the user reaches a test, in this process or a child."""
    for name in list(os.environ):
        if name.startswith("NANO_OS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NANO_OS_CONFIG_FILE", str(tmp_path / "absent.toml"))
    monkeypatch.setenv("NANO_OS_DATA_DIR", str(tmp_path / "data"))
    set_data_dir(None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server that holds a migrated template database."""
    try:
        with postgresql_server() as server:
            database = Database(server.url(server.create_database(TEMPLATE)))
            upgrade(database)
            database.dispose()
            yield server
    except UnavailableError as error:
        pytest.skip(error.message)


@pytest.fixture(scope="session")
def pseudo_folder(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the standard pseudopotentials."""
    archive = shared / PSEUDOS
    if not archive.exists():
        pytest.skip(f"{archive} is not there")
    folder = tmp_path_factory.mktemp("pseudos")
    set_pseudo_folder(folder)
    install_family(archive)
    set_pseudo_folder(None)
    return folder


@pytest.fixture(scope="session")
def redis_session() -> Iterator[RedisServer]:
    """A Redis server; take ``redis``, which is empty."""
    try:
        with redis_server() as server:
            yield server
    except UnavailableError as error:
        pytest.skip(error.message)


@pytest.fixture
def redis(redis_session: RedisServer) -> RedisServer:
    """A running, empty Redis server; may be killed and restarted."""
    redis_session.restart()
    return redis_session


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "nanoos.db"
    database = Database(f"sqlite:///{path}")
    upgrade(database)
    database.dispose()
    return path


@pytest.fixture
def settings(tmp_path: Path, sqlite_template: Path) -> Settings:
    """Settings of an embedded installation in a temporary folder, ready for use."""
    data_dir = tmp_path / "data"
    data_dir.mkdir(exist_ok=True)
    shutil.copy(sqlite_template, data_dir / "nanoos.db")
    return prepare(load_settings(data_dir=data_dir))


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    """All services over :func:`settings`."""
    services = build_services(settings)
    yield services
    services.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def settings_on_both(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Settings]:
    """Settings over a migrated database of each kind."""
    if request.param == "sqlite":
        yield settings
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.create_database(template=TEMPLATE)
    yield settings.model_copy(update={"database_url": server.url(name)})
    server.drop_database(name)


@pytest.fixture
def database(settings_on_both: Settings) -> Iterator[Database]:
    """A migrated database of each kind."""
    database = Database(settings_on_both.resolved_database_url)
    yield database
    database.dispose()


@pytest.fixture
def services_on_both(settings_on_both: Settings) -> Iterator[Services]:
    """All services over a migrated database of each kind."""
    services = build_services(settings_on_both)
    yield services
    services.close()


SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Data and weights that are no part of the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there")
    return SHARED


@pytest.fixture(scope="session")
def published_folder(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights that holds every published set.

    The check by loading is left out: every load verifies a known answer anyway.
    """
    from nanoos.models import store
    from nanoos.potentials.installed_weights import set_weights_folder

    if not (shared / "weights").is_dir():
        pytest.skip(f"{shared / 'weights'} is not there")
    folder = tmp_path_factory.mktemp("published")
    set_weights_folder(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "check_published", lambda *_: None)
        store.add_from(shared / "weights")
    set_weights_folder(None)
    return folder


@pytest.fixture(scope="class")
def added_weights(published_folder: Path) -> Iterator[Path]:
    """Every published set is on this machine while a test runs."""
    from nanoos.potentials.installed_weights import set_weights_folder

    set_weights_folder(published_folder)
    yield published_folder
    set_weights_folder(None)


QUEUES = ("default", "ml", "md", "dft")


@pytest.fixture
def drain() -> Callable[..., int]:
    """Run queued jobs one after another; returns how many ran."""

    def run_all(services: Services, *, at_most: int = 10_000) -> int:
        executor = Executor(host=host_identity(), pid=os.getpid(), start_time=0.0)
        for number in range(at_most):
            claim = services.jobs.claim(QUEUES, executor)
            if claim is None:
                return number
            run_job(services, claim)
        return at_most

    return run_all


@pytest.fixture
def no_shipped_models(monkeypatch):
    """A laboratory without the checkpoints of the package: what it finds, a test put there."""
    from nanoos.models import checkpoint_model, checkpoints, registry

    for module in (checkpoints, checkpoint_model):
        monkeypatch.setattr(module, "shipped_checkpoints", list)
    registry._instance.cache_clear()
    yield
    registry._instance.cache_clear()
