"""Opening the database and its two kinds of transaction."""

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

from nanoos.core.errors import InvalidInputError, TransientError, UnavailableError

BUSY_TIMEOUT_MS = 30_000
_SNAPSHOT = "SELECT pg_current_snapshot()::text"


class Database:
    """A database with short transactions: ``read()`` and ``write()``.

    Writing transactions on SQLite start with BEGIN IMMEDIATE: a read that turns into a write
    would fail at once whatever the busy timeout. No model, engine or file work belongs inside
    a transaction.

    Args:
        url: An SQLAlchemy URL: ``sqlite:///path`` or ``postgresql+psycopg://...``.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _create_engine(url)
        writer = self.engine.execution_options(nanoos_writes=True)
        self._read = sessionmaker(self.engine, expire_on_commit=False, autoflush=False)
        self._write = sessionmaker(writer, expire_on_commit=False)
        self._stamp_lock = threading.Lock()
        self._stamp_connection: Connection | None = None

    @property
    def is_sqlite(self) -> bool:
        """True for the embedded database."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that only reads; it is always rolled back.

        Raises:
            TransientError: the database cannot be reached.
        """
        with translated(), self._read() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that writes: committed when the block ends, rolled back if it raises.

        Raises:
            TransientError: the database cannot be reached or written (locked, full disk).
        """
        with translated(), self._write() as session, session.begin():
            yield session

    def change_stamp(self) -> str:
        """A text that is the same only while nothing is written to the database by anybody.

        SQLite: ``PRAGMA data_version`` on a connection of its own; PostgreSQL: the snapshot of
        transactions.

        Raises:
            TransientError: the database cannot be reached.
        """
        with translated():
            if not self.is_sqlite:
                with self.engine.connect() as connection:
                    return str(connection.exec_driver_sql(_SNAPSHOT).scalar_one())
            with self._stamp_lock:
                if self._stamp_connection is None:
                    self._stamp_connection = self.engine.connect()
                try:
                    found = self._stamp_connection.exec_driver_sql("PRAGMA data_version")
                    return str(found.scalar_one())
                finally:
                    self._stamp_connection.rollback()

    def dispose(self) -> None:
        """Close all connections."""
        with self._stamp_lock:
            if self._stamp_connection is not None:
                self._stamp_connection.close()
                self._stamp_connection = None
        self.engine.dispose()


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's complaint about an unreachable or full database into ours."""
    try:
        yield
    except DataError as error:
        raise InvalidInputError(
            "The database cannot hold one of the values.",
            hint="Take NUL characters out of texts and keep numbers within 64 bits.",
        ) from error
    except ProgrammingError as error:
        if not _schema_differs(str(error.orig)):
            raise
        raise _another_schema(error.orig) from error
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        cause = error if isinstance(error, PoolTimeoutError) else error.orig
        if _schema_differs(str(cause)):
            raise _another_schema(cause) from error
        raise TransientError(
            f"The database did not answer: {str(cause).strip().rstrip('.')}.",
            hint="Check that it runs, that NANO_OS_DATABASE_URL is right and the disk not full; "
            "'nanoos doctor' says more.",
            code="database_unavailable",
        ) from error


def _schema_differs(complaint: str) -> bool:
    """Whether the driver misses a table or a column: SQLite's words, then PostgreSQL's."""
    return bool(
        re.search(
            r"no such (table|column)|has no column|(relation|column) .*does not exist", complaint
        )
    )


def _another_schema(cause: BaseException | None) -> UnavailableError:
    what = str(cause).strip().splitlines()[0].rstrip(".")
    return UnavailableError(
        f"The database has the schema of another version of nanoos ({what}).",
        hint="Run 'nanoos db upgrade'; 'nanoos db current' shows which schema it has.",
        code="schema_outdated",
    )


def _create_engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(
            parsed,
            connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
            pool_size=10,
            max_overflow=30,
            json_serializer=_to_json,
        )
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if parsed.get_backend_name() != "postgresql":
        raise UnavailableError(
            f"The database {parsed.get_backend_name()!r} is not supported.",
            hint="Use sqlite:///PATH or postgresql+psycopg://USER@HOST/NAME.",
        )
    try:
        return create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            pool_size=10,
            json_serializer=_to_json,
        )
    except ModuleNotFoundError as error:
        raise UnavailableError(
            "The PostgreSQL driver is not installed.", hint="pip install 'nanoos[lab]'"
        ) from error


def insert_if_absent(session: Session, table: type[Any], values: Mapping[str, Any]) -> bool:
    """Insert a row unless one with the same key is there; returns whether it was inserted.

    Two transactions that insert the same key at once both succeed: the second waits for the
    first and then inserts nothing.

    Args:
        session: A writing transaction.
        table: The ORM class.
        values: Column values; defaults fill in the rest.
    """
    maker = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement = maker(table).values(**values).on_conflict_do_nothing()
    key = next(iter(table.__table__.primary_key))
    return session.execute(statement.returning(key)).first() is not None


_ESCAPED_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def _to_json(document: Any) -> str:
    """JSON that both databases take: NaN is an error, NUL and lone surrogates are replaced."""
    text = json.dumps(document, allow_nan=False, ensure_ascii=False)
    if "\\u0000" in text:
        text = _ESCAPED_NUL.sub("\\1\N{REPLACEMENT CHARACTER}", text)
    return text.encode(errors="replace").decode()


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by itself
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    writes = connection.get_execution_options().get("nanoos_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
