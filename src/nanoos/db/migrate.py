"""Bringing a database to the current schema and back."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select

from nanoos.core.errors import UnavailableError
from nanoos.db.base import Table
from nanoos.db.session import Database, translated

_IN_THIS_PROCESS = threading.Lock()
"""Alembic keeps the running migration in a global."""

_MIGRATION_LOCK = 0x6E616E6F
_SCRIPTS = Path(__file__).parent / "migrations"


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    if connection is not None:
        config.attributes["connection"] = connection
    return config


def head_revision() -> str:
    """The newest revision that this version of nanoos knows."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise UnavailableError("The migrations are missing from this installation.")
    return head


def current_revision(database: Database) -> str | None:
    """The database's revision; None for an empty database."""
    with translated(), database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


@contextmanager
def _alone(database: Database) -> Iterator[Connection]:
    """A writing transaction that no other migration runs beside."""
    engine = database.engine.execution_options(nanoos_writes=True)
    with _IN_THIS_PROCESS, engine.begin() as connection:
        if not database.is_sqlite:
            connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        yield connection


def upgrade(database: Database, revision: str = "head") -> None:
    """Migrate up; on SQLite and PostgreSQL a migration that fails leaves nothing behind."""
    with translated(), _alone(database) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(database: Database, revision: str) -> None:
    """Migrate down to ``revision`` (``base``: an empty database)."""
    with translated(), _alone(database) as connection:
        command.downgrade(_config(connection), revision)


def schema_differences(database: Database) -> list[object]:
    """What autogenerate would change: empty when tables and migrations agree."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": False})
        return list(compare_metadata(context, Table.metadata))


def write_revision(database: Database, message: str, revision_id: str) -> None:
    """Write a new migration from the difference between tables and database (for developers)."""
    with database.engine.begin() as connection:
        command.revision(_config(connection), message, autogenerate=True, rev_id=revision_id)
