"""The pages over a real database, with and without somebody logged in."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from fastapi.testclient import TestClient
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from nanoos.api.app import create_app
from nanoos.config import Settings
from nanoos.pseudopotentials import set_pseudo_folder
from nanoos.services.access import LOCAL_PRINCIPAL
from nanoos.services.container import Services
from nanoos.services.passwords import Passwords

PASSWORD = "correct horse battery"

sys.path[:0] = [str(Path(__file__).parents[1] / "services"), str(Path(__file__).parent)]


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords are hashed for real, at a price that tests can pay."""
    cheap = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(Passwords, "_hasher", PasswordHash((cheap,)))


@pytest.fixture
def client(settings: Settings, services: Services) -> Iterator[TestClient]:
    """A stranger; :func:`logged_in` is somebody."""
    services.users.create("ann", PASSWORD, LOCAL_PRINCIPAL)
    with structlog.testing.capture_logs(), TestClient(create_app(settings, services)) as client:
        yield client


@pytest.fixture
def logged_in(client: TestClient) -> TestClient:
    """Ann."""
    client.post("/login", data={"username": "ann", "password": PASSWORD})
    return client


@pytest.fixture
def with_pseudos(services: Services, pseudo_folder: Path) -> Iterator[None]:
    """Inputs can be written."""
    set_pseudo_folder(pseudo_folder)  # after the services, which set their own
    yield
    set_pseudo_folder(None)
