"""Accounts on both databases: passwords, sessions, the last administrator, the first one."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from nanoos.core.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    UnauthorizedError,
)
from nanoos.db import LOCAL_USER_ID
from nanoos.services.access import LOCAL_PRINCIPAL
from nanoos.services.container import Services

PASSWORD = "correct horse battery"


def test_a_spent_refresh_token_ends_the_session(services_on_both: Services) -> None:
    users = services_on_both.users
    users.create("ann", PASSWORD, LOCAL_PRINCIPAL)
    first = users.sessions.login("ann", PASSWORD)
    second = users.sessions.refresh(first.refresh_token)
    assert users.sessions.principal(second.access_token).username == "ann"
    with pytest.raises(UnauthorizedError):
        users.sessions.refresh(first.refresh_token)
    for token in (first.access_token, second.access_token):
        with pytest.raises(UnauthorizedError):
            users.sessions.principal(token)
    with pytest.raises(UnauthorizedError):
        users.sessions.refresh(second.refresh_token)


def test_of_refreshes_at_once_at_most_one_holds(services_on_both: Services) -> None:
    sessions = services_on_both.users.sessions
    services_on_both.users.create("ann", PASSWORD, LOCAL_PRINCIPAL)
    pair = sessions.login("ann", PASSWORD)

    def refresh(_: int) -> bool:
        try:
            sessions.refresh(pair.refresh_token)
        except UnauthorizedError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(refresh, range(4))) <= 1


def test_the_first_administrator_is_made_once(services_on_both: Services) -> None:
    users = services_on_both.users
    made = users.ensure_admin()
    assert made is not None
    record, password = made
    assert record.role == "admin"
    assert users.ensure_admin() is None
    assert users.sessions.principal(users.sessions.login("admin", password).access_token).is_admin


def test_a_new_password_ends_all_sessions(services: Services) -> None:
    users = services.users
    record = users.create("ann", PASSWORD, LOCAL_PRINCIPAL)
    token = users.sessions.login("ann", PASSWORD).access_token
    users.sessions.principal(token)
    users.update(record.id, LOCAL_PRINCIPAL, password="another long one")
    with pytest.raises(UnauthorizedError):
        users.sessions.principal(token)
    with pytest.raises(UnauthorizedError):
        users.sessions.login("ann", PASSWORD)
    users.sessions.login("ann", "another long one")


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaa", "a-user-name", "x" * 513])
def test_weak_passwords_are_refused(services: Services, password: str) -> None:
    with pytest.raises(InvalidInputError):
        services.users.create("a-user-name", password, LOCAL_PRINCIPAL)


def test_the_local_user_cannot_log_in_or_be_changed(services: Services) -> None:
    users = services.users
    with pytest.raises(UnauthorizedError):
        users.sessions.login("local", "")
    for change in (
        lambda: users.delete(LOCAL_USER_ID, LOCAL_PRINCIPAL),
        lambda: users.update(LOCAL_USER_ID, LOCAL_PRINCIPAL, password=PASSWORD),
    ):
        with pytest.raises(ForbiddenError):
            change()


def test_the_last_administrator_stays(services_on_both: Services) -> None:
    users = services_on_both.users
    one = users.create("one", PASSWORD, LOCAL_PRINCIPAL, role="admin")
    two = users.create("two", PASSWORD, LOCAL_PRINCIPAL, role="admin")

    def demote(user_id):
        try:
            users.update(user_id, LOCAL_PRINCIPAL, role="user")
        except ConflictError as error:
            return error.error_code
        return None

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(demote, (one.id, two.id)))
    assert sorted(map(str, outcomes)) == ["None", "last_admin"]
    assert users.has_admin()
