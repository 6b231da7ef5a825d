"""One shape for every error, the redirect, limits and headers."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from people import Person

SHAPE = {"code", "message", "hint", "details"}


def test_unversioned_paths_redirect_with_method_and_query(ann: Person) -> None:
    answer = ann.client.post("/api/ml/properties?a=1&b=%20", json={})
    assert answer.status_code == 308
    assert answer.headers["location"] == "/api/v1/ml/properties?a=1&b=%20"


def test_redirect_never_leaves_the_server(ann: Person) -> None:
    answer = ann.client.get("http://testserver/api//evil.example/x")
    assert answer.status_code == 308
    assert answer.headers["location"].startswith("/api/v1/")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "unknown_route"),
        ("GET", "/nothing", 404, "unknown_route"),
        ("PUT", "/api/v1/jobs", 405, "method_not_allowed"),
        ("GET", "/api/v1/jobs/not-a-uuid", 422, "malformed_request"),
        ("GET", "/api/v1/jobs?limit=0", 422, "malformed_request"),
        ("GET", "/api/v1/jobs?stat=queued", 422, "malformed_request"),
        ("GET", "/api/v1/jobs?cursor=x", 422, "invalid_input"),
        ("GET", "/api/v1/users", 403, "forbidden"),
    ],
)
def test_every_refusal_has_the_shape(
    ann: Person, method: str, path: str, status: int, code: str
) -> None:
    answer = ann.client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}
    assert set(answer.json()["error"]) == SHAPE
    assert answer.json()["error"]["code"] == code


def test_wrong_method_says_what_is_allowed(ann: Person) -> None:
    assert "GET" in ann.client.put("/api/v1/jobs").headers["allow"]


def test_no_credentials_is_401_with_a_challenge(ann: Person) -> None:
    answer = ann.client.get("/api/v1/jobs", headers={"X-API-Key": ""})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[]", b'{"structure_id": 3}'])
def test_broken_bodies_are_422(ann: Person, body: bytes) -> None:
    answer = ann.client.post(
        "/api/v1/ml/properties", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422
    assert set(answer.json()["error"]) == SHAPE


def test_bodies_are_closed(ann: Person) -> None:
    answer = ann.client.post("/api/v1/materials", json={"formula": "MgO", "nmae": "x"})
    assert answer.status_code == 422
    assert answer.json()["error"]["details"]["problems"][0]["where"] == ["body", "nmae"]


def test_a_defect_shows_an_id_and_no_trace(app: FastAPI, ann: Person, monkeypatch) -> None:
    def broken(*args, **kwargs):
        raise ZeroDivisionError("the secret value")

    monkeypatch.setattr(type(app.state.context.services.jobs), "page", broken)
    answer = ann.client.get("/api/v1/jobs")
    assert answer.status_code == 500
    assert answer.json()["error"]["details"]["error_id"]
    assert "secret" not in answer.text
    assert "ZeroDivision" not in answer.text


def test_a_body_over_the_limit_is_413_by_its_declared_length(ann: Person) -> None:
    answer = ann.client.post(
        "/api/v1/ml/properties",
        content=b"{}",
        headers={"Content-Type": "application/json", "Content-Length": str(10**12)},
    )
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "too_large"


@pytest.mark.parametrize("path", ["/api/v1/ml/properties", "/api/v1/structures"])
def test_a_body_that_grows_over_the_limit_is_413(ann: Person, monkeypatch, path: str) -> None:
    monkeypatch.setattr("nanoos.api.edge.JSON_LIMIT", 100_000)

    def chunks():
        for _ in range(50):
            yield b" " * 10_000

    answer = ann.client.post(path, content=chunks(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_security_headers_and_request_id(ann: Person) -> None:
    answer = ann.client.get("/api/v1/jobs", headers={"X-Request-ID": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in answer.headers
    forged = ann.client.get("/health", headers={"X-Request-ID": "a b"})
    assert forged.headers["x-request-id"] != "a b"


def test_health_ready_and_metrics(app: FastAPI, ann: Person) -> None:
    anonymous = TestClient(app)
    assert anonymous.get("/health").json()["status"] == "ok"
    assert anonymous.get("/ready").json()["status"] == "ready"
    ann.client.get("/api/v1/jobs")
    text = anonymous.get("/metrics").text
    assert 'nanoos_jobs{state="queued"} 0.0' in text
    assert 'route="/api/v1/jobs",status="200"' in text
