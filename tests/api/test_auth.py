"""Sessions, API keys, users: what they open, and that revoking closes it."""

import time
import uuid

import pytest
from fastapi.testclient import TestClient
from people import MakePerson, Person

from nanoos.api.app import create_app
from nanoos.bootstrap import build_services
from nanoos.config import Settings
from nanoos.services.access import LOCAL_PRINCIPAL
from nanoos.services.container import Services

PASSWORD = "correct horse battery"


@pytest.fixture
def carl(services: Services) -> None:
    services.users.create("carl", PASSWORD, LOCAL_PRINCIPAL)


def login(client: TestClient, password: str = PASSWORD) -> dict:
    answer = client.post("/api/v1/auth/login", data={"username": "carl", "password": password})
    assert answer.status_code == 200, answer.text
    return answer.json()


def bearer(tokens: dict) -> dict:
    return {"Authorization": f"Bearer {tokens['access_token']}", "X-API-Key": ""}


@pytest.mark.usefixtures("carl")
def test_a_session_from_login_to_logout(ann: Person) -> None:
    client = ann.client
    tokens = login(client)
    assert client.get("/api/v1/auth/me", headers=bearer(tokens)).json()["username"] == "carl"
    renewed = client.post(
        "/api/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]}
    ).json()
    assert client.get("/api/v1/auth/me", headers=bearer(renewed)).status_code == 200
    assert client.post("/api/v1/auth/logout", headers=bearer(renewed)).status_code == 204
    assert client.get("/api/v1/auth/me", headers=bearer(renewed)).status_code == 401
    spent = client.post("/api/v1/auth/refresh", json={"refresh_token": renewed["refresh_token"]})
    assert spent.status_code == 401


def test_login_is_limited_and_says_when_to_come_back(
    settings: Settings, services: Services
) -> None:
    strict = settings.model_copy(update={"login_attempts_per_minute": 2})
    client = TestClient(create_app(strict, services))
    wrong = [
        client.post("/api/v1/auth/login", data={"username": "x", "password": "no"}).status_code
        for _ in range(2)
    ]
    assert wrong == [401, 401]
    answer = client.post("/api/v1/auth/login", data={"username": "carl", "password": PASSWORD})
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 60


def test_a_refresh_token_opens_nothing(ann: Person, carl: None) -> None:
    tokens = login(ann.client)
    swapped = {"access_token": tokens["refresh_token"]}
    assert ann.client.get("/api/v1/auth/me", headers=bearer(swapped)).status_code == 401
    answer = ann.client.post("/api/v1/auth/refresh", json={"refresh_token": tokens["access_token"]})
    assert answer.status_code == 401


def test_api_keys_are_shown_once_and_end_when_revoked(ann: Person) -> None:
    made = ann.client.post("/api/v1/auth/api-keys", json={"name": "laptop", "scopes": ["read"]})
    assert made.status_code == 201
    key = made.json()["key"]
    listed = ann.client.get("/api/v1/auth/api-keys")
    assert key not in listed.text
    assert made.json()["prefix"] in listed.text
    as_bearer = {"Authorization": f"Bearer {key}", "X-API-Key": ""}
    assert ann.client.get("/api/v1/jobs", headers=as_bearer).status_code == 200
    refused = ann.client.post("/api/v1/materials", json={"formula": "MgO"}, headers=as_bearer)
    assert refused.status_code == 403
    ended = ann.client.delete(f"/api/v1/auth/api-keys/{made.json()['id']}")
    assert ended.status_code == 204
    assert ann.client.get("/api/v1/jobs", headers=as_bearer).status_code == 401


def test_a_key_gives_no_more_than_its_maker_has(make_person: MakePerson) -> None:
    reader = make_person("eve", scopes=frozenset({"read", "write"}))
    answer = reader.client.post("/api/v1/auth/api-keys", json={"name": "x", "scopes": ["admin"]})
    assert answer.status_code == 403


def test_somebody_elses_key_is_not_there(ann: Person, bob: Person) -> None:
    made = ann.client.post("/api/v1/auth/api-keys", json={"name": "laptop"}).json()
    assert bob.client.delete(f"/api/v1/auth/api-keys/{made['id']}").status_code == 404


def test_revoking_in_one_process_reaches_another_within_two_seconds(
    ann: Person, settings: Settings
) -> None:
    other_services = build_services(settings)
    other = TestClient(create_app(settings, other_services), headers={"X-API-Key": ann.key})
    with other:
        assert other.get("/api/v1/jobs").status_code == 200
        keys = ann.client.get("/api/v1/auth/api-keys").json()["items"]
        ann.client.delete(f"/api/v1/auth/api-keys/{keys[0]['id']}")
        until = time.monotonic() + 2.0
        while other.get("/api/v1/jobs").status_code == 200:
            assert time.monotonic() < until
            time.sleep(0.05)
    other_services.close()


def test_users_are_for_administrators(admin: Person, ann: Person) -> None:
    body = {"username": "dora", "password": PASSWORD}
    assert ann.client.post("/api/v1/users", json=body).status_code == 403
    made = admin.client.post("/api/v1/users", json=body)
    assert made.status_code == 201
    assert "password" not in made.text
    assert admin.client.post("/api/v1/users", json=body).status_code == 409
    user = f"/api/v1/users/{made.json()['id']}"
    changed = admin.client.patch(user, json={"role": "admin", "email": "d@x.org"})
    assert changed.json()["role"] == "admin"
    assert admin.client.delete(user).status_code == 204
    assert admin.client.delete(user).status_code == 404


def test_the_last_administrator_stays(admin: Person) -> None:
    own = f"/api/v1/users/{admin.who.user_id}"
    for answer in (
        admin.client.delete(own),
        admin.client.patch(own, json={"role": "user"}),
        admin.client.patch(own, json={"is_active": False}),
    ):
        assert answer.status_code == 409
        assert answer.json()["error"]["code"] == "last_admin"


def test_a_deactivated_user_is_out(admin: Person, ann: Person) -> None:
    assert ann.client.get("/api/v1/jobs").status_code == 200
    admin.client.patch(f"/api/v1/users/{ann.who.user_id}", json={"is_active": False})
    assert ann.client.get("/api/v1/jobs").status_code == 401


def test_no_such_user(admin: Person) -> None:
    assert admin.client.patch(f"/api/v1/users/{uuid.uuid4()}", json={}).status_code == 404
