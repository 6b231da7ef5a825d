"""Sessions: what they guarantee on both databases."""

import threading

import pytest
from sqlalchemy import func, select, text

from nanoos.core.errors import TransientError, UnavailableError
from nanoos.db import LOCAL_USER_ID, Database, MaterialTable, db_now


def test_a_reading_transaction_never_writes(database: Database) -> None:
    with database.read() as session:
        session.add(MaterialTable(owner_id=LOCAL_USER_ID, formula="MgO"))
        session.flush()
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(MaterialTable)) == 0


@pytest.mark.parametrize("query", ["SELECT flavour FROM materials", "SELECT 1 FROM flavours"])
def test_another_schema_is_told_with_its_remedy(database: Database, query: str) -> None:
    with (
        pytest.raises(UnavailableError, match="schema of another version") as told,
        database.read() as session,
    ):
        session.execute(text(query))
    assert told.value.error_code == "schema_outdated"
    assert "nanoos db upgrade" in (told.value.hint or "")


def test_a_writing_transaction_is_undone_by_an_error(database: Database) -> None:
    def fail() -> None:
        with database.write() as session:
            session.add(MaterialTable(owner_id=LOCAL_USER_ID, formula="MgO"))
            session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(MaterialTable)) == 0


def test_many_threads_write_at_once(database: Database) -> None:
    errors: list[Exception] = []

    def write(number: int) -> None:
        try:
            for count in range(10):
                with database.write() as session:
                    session.scalar(select(func.count()).select_from(MaterialTable))
                    session.add(MaterialTable(owner_id=LOCAL_USER_ID, formula=f"H{number}O{count}"))
        except Exception as error:  # noqa: BLE001 - shown by the assertion
            errors.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(MaterialTable)) == 80


def test_the_clock_is_aware_and_moves(database: Database) -> None:
    with database.read() as session:
        now, later = session.execute(select(db_now(), db_now(90.0))).one()
    assert now.utcoffset().total_seconds() == 0
    assert 89.9 < (later - now).total_seconds() < 90.1


def test_an_unreachable_database_is_a_clear_error(tmp_path) -> None:
    for url in (
        f"postgresql+psycopg://nobody@/none?host={tmp_path}",
        f"sqlite:///{tmp_path}/missing/nanoos.db",
    ):
        database = Database(url)
        with pytest.raises(TransientError) as caught, database.write() as session:
            session.scalar(select(func.count()).select_from(MaterialTable))
        assert caught.value.error_code == "database_unavailable"
        assert caught.value.hint
        database.dispose()
