"""The pages: behind a login, readable without scripts, nothing from elsewhere."""

import re

import pytest
from fastapi.testclient import TestClient

from nanoos.core.errors import EngineError
from nanoos.services.access import LOCAL_PRINCIPAL
from nanoos.services.container import Services
from nanoos.services.job_attempts import Executor

PASSWORD = "correct horse battery"


def log_in(client: TestClient):
    return client.post("/login", data={"username": "ann", "password": PASSWORD})


def test_a_stranger_is_shown_the_login(client: TestClient) -> None:
    assert client.get("/").url.path == "/login"
    assert client.get("/overview").status_code == 401
    wrong = client.post("/login", data={"username": "ann", "password": "no"})
    assert wrong.status_code == 401
    assert 'role="alert"' in wrong.text


def test_the_start_page_says_what_failed_and_why(client: TestClient, services: Services) -> None:
    ann = services.users.find("ann", LOCAL_PRINCIPAL)
    with services.database.write() as session:
        services.jobs.enqueue(session, "probe", {}, owner_id=ann.id)
    claim = services.jobs.claim(["default"], Executor(host="node7/x", pid=1, start_time=0.0))
    assert "node7: 1 job running" in log_in(client).text
    problem = EngineError("It <did> not converge.", hint="Try smaller steps.")
    services.jobs.fail(claim, problem, retryable=False)
    page = client.get("/")
    assert "It &lt;did&gt; not converge." in page.text
    assert "Try smaller steps." in page.text
    cookie = page.request.headers["cookie"]
    assert client.post("/logout").url.path == "/login"
    assert client.get("/overview", headers={"cookie": cookie}).status_code == 401


def test_the_cookie_opens_no_route_of_the_api(client: TestClient) -> None:
    log_in(client)
    assert client.get("/api/v1/jobs").status_code == 401
    token = client.cookies["nanoos_session"]
    answer = client.get("/api/v1/jobs", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401


def test_a_form_of_another_site_is_refused(client: TestClient) -> None:
    answer = client.post(
        "/login",
        data={"username": "ann", "password": PASSWORD},
        headers={"Origin": "https://evil.example"},
    )
    assert answer.status_code == 403


@pytest.mark.parametrize("path", ["/login", "/docs"])
def test_pages_load_nothing_from_elsewhere(client: TestClient, path: str) -> None:
    page = client.get(path)
    assert page.status_code == 200
    assert 'lang="en"' in page.text
    assert "script-src" not in page.headers["content-security-policy"]
    for source in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert source.startswith(("/", "#")), source
        if source.startswith("/static/"):
            assert client.get(source).status_code == 200


def test_the_reference_has_every_route(client: TestClient) -> None:
    page = client.get("/docs").text
    for path in client.get("/openapi.json").json()["paths"]:
        assert path in page
