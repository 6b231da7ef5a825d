"""Migrations run up, down and up again on both databases, with data in every table."""

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Boolean, Column, DateTime, Float, Integer, Uuid, func, inspect, select
from sqlalchemy import Table as SqlTable

from nanoos.db import LOCAL_USER_ID, Database, Table, UserTable
from nanoos.db.base import UtcDateTime
from nanoos.db.migrate import (
    current_revision,
    downgrade,
    head_revision,
    schema_differences,
    upgrade,
)

TEXTS = {
    "role": "user",
    ("jobs", "state"): "running",
    ("design_campaigns", "state"): "created",
    ("design_candidates", "state"): "selected",
}


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'empty.db'}")
        yield database
        database.dispose()
        return
    server = request.getfixturevalue("postgres")
    name = server.create_database()
    database = Database(server.url(name))
    yield database
    database.dispose()
    server.drop_database(name)


def value_for(table: SqlTable, column: Column[Any], keys: dict[str, Any]) -> Any:
    for foreign in column.foreign_keys:
        parent = foreign.column.table.name
        return None if parent == table.name else keys[parent]
    kind = column.type
    if isinstance(kind, Uuid):
        return uuid.uuid4()
    if isinstance(kind, Boolean):
        return True
    if isinstance(kind, Integer | Float):
        return 1
    if isinstance(kind, UtcDateTime | DateTime):
        return datetime.now(UTC)
    if "JSON" in type(kind).__name__:
        return {"a": [1, None, "Å"]}
    name = TEXTS.get((table.name, column.name)) or TEXTS.get(column.name)
    return name or uuid.uuid4().hex[:12]


def fill(database: Database) -> None:
    keys: dict[str, Any] = {}
    with database.write() as session:
        for table in Table.metadata.sorted_tables:
            row = {
                column.name: value_for(table, column, keys)
                for column in table.columns
                if not (column.primary_key and isinstance(column.type, Integer))
            }
            session.execute(table.insert().values(row))
            keys[table.name] = row.get("id")


def counts(database: Database) -> dict[str, int]:
    with database.read() as session:
        return {
            table.name: session.scalar(select(func.count()).select_from(table))
            for table in Table.metadata.sorted_tables
        }


def test_up_down_and_up_again_with_data(empty_database: Database) -> None:
    assert current_revision(empty_database) is None
    for _ in range(2):
        upgrade(empty_database)
        assert current_revision(empty_database) == head_revision()
        assert schema_differences(empty_database) == []
        with empty_database.read() as session:
            local = session.get(UserTable, LOCAL_USER_ID)
            assert (local.username, local.role, local.password_hash) == ("local", "admin", None)
        fill(empty_database)
        assert all(counts(empty_database).values())
        downgrade(empty_database, "base")
        left = set(inspect(empty_database.engine).get_table_names())
        assert left <= {"alembic_version"}
        assert current_revision(empty_database) is None


def test_upgrading_twice_changes_nothing(empty_database: Database) -> None:
    upgrade(empty_database)
    fill(empty_database)
    before = counts(empty_database)
    upgrade(empty_database)
    assert counts(empty_database) == before


def test_two_that_upgrade_at_once_do_not_meet(empty_database: Database) -> None:
    errors: list[Exception] = []

    def migrate() -> None:
        database = Database(str(empty_database.url))
        try:
            upgrade(database)
        except Exception as error:  # noqa: BLE001 - shown by the assertion
            errors.append(error)
        finally:
            database.dispose()

    threads = [threading.Thread(target=migrate) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert schema_differences(empty_database) == []
