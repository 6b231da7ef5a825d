"""The schema of the database: where it is, and taking it up and down."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from alembic.util import CommandError

from nanoos.core.errors import NotFoundError
from nanoos.db import Database
from nanoos.db.migrate import current_revision, downgrade, head_revision, upgrade
from nanoos.services.shipped_models import sync_shipped_models
from nanoos.services.simulation_templates import sync_shipped_templates


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaState:
    """Where a database is.

    Attributes:
        current: Its revision, None for an empty database.
        head: The revision that this version of nanoos needs.
    """

    current: str | None
    head: str

    @property
    def up_to_date(self) -> bool:
        """Whether this version can use it."""
        return self.current == self.head


def schema_state(database_url: str) -> SchemaState:
    """The state of the database's schema.

    Raises:
        TransientError: the database cannot be reached.
    """
    with _opened(database_url) as database:
        return _state(database)


def migrate_up(database_url: str, revision: str = "head") -> SchemaState:
    """Migrate up to ``revision``; at the head, register what is shipped.

    Raises:
        NotFoundError: there is no such revision.
        TransientError: the database cannot be reached.
    """
    with _opened(database_url) as database:
        upgrade(database, revision)
        state = _state(database)
        if state.up_to_date:
            sync_shipped_models(database)
            sync_shipped_templates(database)
        return state


def migrate_down(database_url: str, revision: str) -> SchemaState:
    """Migrate down to ``revision`` (``base``: an empty database).

    Raises:
        NotFoundError: there is no such revision.
        TransientError: the database cannot be reached.
    """
    with _opened(database_url) as database:
        downgrade(database, revision)
        return _state(database)


def _state(database: Database) -> SchemaState:
    return SchemaState(current=current_revision(database), head=head_revision())


@contextlib.contextmanager
def _opened(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    try:
        yield database
    except CommandError as error:
        raise NotFoundError(
            f"{str(error).rstrip('.')}.", hint="'nanoos db current' shows the revisions in use."
        ) from error
    finally:
        database.dispose()
