"""An application over a real database, with clients of several users."""

import uuid
from collections.abc import Iterator

import pytest
import structlog
from fastapi import FastAPI
from fastapi.testclient import TestClient
from people import MakePerson, Person

from nanoos.api.app import create_app
from nanoos.config import Settings
from nanoos.db import UserTable
from nanoos.services.access import Principal
from nanoos.services.container import Services
from nanoos.services.sessions import scopes_of


@pytest.fixture(autouse=True)
def _quiet_log() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def app(settings: Settings, services: Services) -> FastAPI:
    return create_app(settings, services)


@pytest.fixture
def make_person(app: FastAPI, services: Services) -> Iterator[MakePerson]:
    """Users without the half second that hashing a password takes."""
    with TestClient(app, raise_server_exceptions=False) as base:

        def make(name: str, *, role: str = "user", scopes: frozenset[str] | None = None) -> Person:
            row = UserTable(id=uuid.uuid4(), username=name, role=role, is_active=True)
            with services.database.write() as session:
                session.add(row)
            who = Principal(
                user_id=row.id, username=name, role=role, scopes=scopes or scopes_of(role)
            )
            _, key = services.users.api_keys.create("test", who, scopes=who.scopes)
            client = TestClient(
                app,
                raise_server_exceptions=False,
                headers={"X-API-Key": key},
                follow_redirects=False,
            )
            client.portal = base.portal  # one event loop for all
            return Person(who=who, client=client, key=key)

        yield make


@pytest.fixture
def ann(make_person: MakePerson) -> Person:
    return make_person("ann")


@pytest.fixture
def bob(make_person: MakePerson) -> Person:
    return make_person("bob")


@pytest.fixture
def admin(make_person: MakePerson) -> Person:
    return make_person("root", role="admin")
