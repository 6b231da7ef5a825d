"""What is remembered is believed for a moment, or as long as the database stays untouched."""

import time

import pytest
from sqlalchemy import select, update

from nanoos.db import UserTable
from nanoos.services.fresh_cache import ChangeWatch, FreshCache


def touch(database):
    with database.write() as session:
        session.execute(update(UserTable).values(email="someone@example.org"))


def test_stamp_changes_with_every_write_and_only_then(database):
    first = database.change_stamp()
    with database.read() as session:
        session.scalars(select(UserTable)).all()
    assert database.change_stamp() == first
    touch(database)
    second = database.change_stamp()
    assert second != first
    assert database.change_stamp() == second


def test_a_value_grows_old_without_a_watch():
    cache = FreshCache(fresh_s=0.05)
    cache.put("a", 1, read_at=cache.now())
    assert cache.get("a") == 1
    time.sleep(0.06)
    assert cache.get("a") is None


def test_quiet_keeps_a_value_young_and_a_write_ends_that(database):
    watch = ChangeWatch(database, every_s=0.0)
    cache = FreshCache(fresh_s=0.2, watch=watch)
    watch.look()
    cache.put("a", 1, read_at=cache.now())
    for _ in range(4):
        time.sleep(0.1)
        watch.look()
        assert cache.get("a") == 1, "nothing was written meanwhile"
    touch(database)
    watch.look()
    time.sleep(0.21)
    watch.look()
    assert cache.get("a") is None, "read before the write: no longer believed"
    cache.put("a", 2, read_at=cache.now())
    time.sleep(0.21)
    watch.look()
    assert cache.get("a") == 2


def test_a_value_read_before_the_first_look_is_not_made_young(database):
    watch = ChangeWatch(database, every_s=0.0)
    cache = FreshCache(fresh_s=0.1, watch=watch)
    cache.put("a", 1, read_at=cache.now())
    time.sleep(0.01)
    watch.look()
    time.sleep(0.1)
    watch.look()
    assert cache.get("a") is None


def test_the_database_is_asked_now_and_then_only(database, monkeypatch):
    asked = []
    monkeypatch.setattr(database, "change_stamp", lambda: asked.append(1) or "same")
    watch = ChangeWatch(database, every_s=60)
    for _ in range(5):
        watch.look()
    assert len(asked) == 1


@pytest.mark.parametrize("size", [1, 3])
def test_the_oldest_goes_first(size):
    cache = FreshCache(size=size)
    for key in range(5):
        cache.put(key, key, read_at=cache.now())
    assert [key for key in range(5) if cache.get(key) is not None] == list(range(5 - size, 5))
