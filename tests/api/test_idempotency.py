"""A repeated POST gives the first answer, also from two servers at once."""

from concurrent.futures import ThreadPoolExecutor

from people import Person, poscar

from nanoos.api.app import create_app
from nanoos.bootstrap import build_services
from nanoos.config import Settings
from nanoos.db import IdempotencyTable, db_now
from nanoos.services.container import Services

KEY = {"Idempotency-Key": "once"}


def test_the_same_request_gives_the_stored_answer(ann: Person) -> None:
    first = ann.client.post("/api/v1/materials", json={"formula": "MgO"}, headers=KEY)
    again = ann.client.post("/api/v1/materials", json={"formula": "MgO"}, headers=KEY)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers


def test_another_request_with_the_key_is_a_conflict(ann: Person) -> None:
    ann.client.post("/api/v1/materials", json={"formula": "MgO"}, headers=KEY)
    for path, body in (("materials", {"formula": "CaO"}), ("simulations", {"formula": "MgO"})):
        answer = ann.client.post(f"/api/v1/{path}", json=body, headers=KEY)
        assert answer.status_code == 409
        assert answer.json()["error"]["code"] == "idempotency_key_reused"


def test_keys_belong_to_their_user(ann: Person, bob: Person) -> None:
    first = ann.client.post("/api/v1/materials", json={"formula": "MgO"}, headers=KEY).json()
    other = bob.client.post("/api/v1/materials", json={"formula": "MgO"}, headers=KEY).json()
    assert other["id"] != first["id"]


def test_a_refused_request_leaves_the_key_free(ann: Person) -> None:
    assert ann.client.post("/api/v1/materials", json={}, headers=KEY).status_code == 422
    answer = ann.client.post("/api/v1/materials", json={"formula": "MgO"}, headers=KEY)
    assert answer.status_code == 201


def test_a_form_is_the_same_with_another_boundary(ann: Person) -> None:
    def upload():
        return ann.client.post(
            "/api/v1/structures", files={"file": ("POSCAR", poscar())}, headers=KEY
        )

    assert [upload().status_code for _ in range(3)] == [201, 201, 201]
    assert ann.client.get("/api/v1/structures").json()["total"] == 1


def test_keys_and_tokens_are_never_stored(ann: Person) -> None:
    first, second = (
        ann.client.post("/api/v1/auth/api-keys", json={"name": "x"}, headers=KEY) for _ in range(2)
    )
    assert first.json()["key"] != second.json()["key"]


def test_at_once_on_two_servers_the_work_is_done_once(ann: Person, settings: Settings) -> None:
    from fastapi.testclient import TestClient

    other_services = build_services(settings)
    other = TestClient(create_app(settings, other_services), headers={"X-API-Key": ann.key})
    with other, ThreadPoolExecutor(8) as pool:
        clients = [ann.client, other] * 4

        def post(client: TestClient):
            return client.post("/api/v1/materials", json={"formula": "MgO"}, headers=KEY)

        answers = list(pool.map(post, clients))
    other_services.close()
    made = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    assert len(made) == 1
    for answer in answers:
        assert answer.status_code in {201, 409}
        if answer.status_code == 409:
            assert answer.json()["error"]["code"] == "request_in_progress"
            assert answer.headers["retry-after"] == "1"


def test_the_claim_of_a_dead_server_is_taken_over(ann: Person, services: Services) -> None:
    with services.database.write() as session:
        session.add(
            IdempotencyTable(
                user_id=ann.who.user_id,
                key="once",
                request_sha256="0" * 64,
                created_at=db_now(-60),
            )
        )
    answer = ann.client.post("/api/v1/materials", json={"formula": "MgO"}, headers=KEY)
    assert answer.status_code == 201


def test_answers_are_forgotten_after_a_day(ann: Person, services: Services) -> None:
    ann.client.post("/api/v1/materials", json={"formula": "MgO"}, headers=KEY)
    with services.database.write() as session:
        for row in session.query(IdempotencyTable):
            row.created_at = db_now(-24 * 3600 - 1)
    answer = ann.client.post("/api/v1/materials", json={"formula": "CaO"}, headers=KEY)
    assert answer.status_code == 201
