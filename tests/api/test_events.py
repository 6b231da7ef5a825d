"""Server-sent events: live, resumed, ended; over a real server."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator

import httpx
import pytest
import uvicorn
from people import Person

from nanoos.api.app import create_app
from nanoos.config import Settings
from nanoos.services.container import Services
from nanoos.services.job_attempts import Executor
from nanoos.services.lab_events import MODEL_ALERT, publish

EXECUTOR = Executor(host="here", pid=1, start_time=0.0)


@pytest.fixture
def url(settings: Settings, services: Services) -> Iterator[str]:
    app = create_app(settings, services)  # its own: an application lives in one event loop
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def new_job(services: Services, person: Person) -> uuid.UUID:
    with services.database.write() as session:
        return services.jobs.enqueue(session, "probe", {}, owner_id=person.who.user_id)


def run(services: Services, *, steps: int) -> None:
    from nanoos.services.job_kinds import JobOutcome

    claim = services.jobs.claim(["default"], EXECUTOR)
    for step in range(steps):
        services.jobs.report_progress(claim, step / steps, f"step {step}")
    services.jobs.complete(claim, JobOutcome())


def read(
    url: str,
    job: uuid.UUID,
    key: str,
    *,
    after: int | None = None,
    seen: list[dict] | None = None,
) -> list[dict]:
    headers = {"X-API-Key": key} | ({"Last-Event-ID": str(after)} if after is not None else {})
    events: list[dict] = [] if seen is None else seen
    with httpx.stream(
        "GET", f"{url}/api/v1/jobs/{job}/events", headers=headers, timeout=30
    ) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        events.extend(
            json.loads(line.removeprefix("data: "))
            for line in answer.iter_lines()
            if line.startswith("data: ")
        )
    return events


def test_a_live_stream_ends_with_the_job(url: str, ann: Person, services: Services) -> None:
    job = new_job(services, ann)
    got: list[list[dict]] = []
    readers = [
        threading.Thread(target=lambda: got.append(read(url, job, ann.key))) for _ in range(3)
    ]
    for reader in readers:
        reader.start()
    time.sleep(0.5)
    run(services, steps=3)
    for reader in readers:
        reader.join(timeout=20)
    assert len(got) == 3
    for events in got:
        assert [event["number"] for event in events] == list(range(1, 7))
        assert [event["kind"] for event in events][-1] == "completed"


def test_a_stream_resumes_where_it_was(url: str, ann: Person, services: Services) -> None:
    job = new_job(services, ann)
    run(services, steps=3)
    assert [event["number"] for event in read(url, job, ann.key, after=4)] == [5, 6]
    assert read(url, job, ann.key, after=6) == []


def test_a_revoked_key_ends_the_stream(url: str, ann: Person, services: Services) -> None:
    job = new_job(services, ann)
    seen: list[dict] = []
    reader = threading.Thread(target=lambda: read(url, job, ann.key, seen=seen))
    reader.start()
    until = time.monotonic() + 20
    while not seen and time.monotonic() < until:
        time.sleep(0.05)
    for key in services.users.api_keys.list(ann.who):
        services.users.api_keys.revoke(key.id, ann.who)
    reader.join(timeout=20)
    assert not reader.is_alive()
    assert [event["kind"] for event in seen] == ["queued"]


def test_anothers_job_has_no_stream(url: str, ann: Person, bob: Person, services: Services) -> None:
    job = new_job(services, ann)
    answer = httpx.get(f"{url}/api/v1/jobs/{job}/events", headers={"X-API-Key": bob.key})
    assert answer.status_code == 404


def tell(services: Services, *models: str) -> None:
    with services.database.write() as session:
        for model in models:
            publish(session, MODEL_ALERT, {"model": model, "kind": "coverage"})


def read_laboratory(url: str, key: str, seen: list[dict], after: int | None = None) -> None:
    """Reads until the key is revoked, as a stream of the laboratory never ends by itself."""
    headers = {"X-API-Key": key} | ({"Last-Event-ID": str(after)} if after is not None else {})
    with httpx.stream("GET", f"{url}/api/v1/events", headers=headers, timeout=30) as answer:
        assert answer.status_code == 200, answer.read()
        seen.extend(
            json.loads(line.removeprefix("data: "))
            for line in answer.iter_lines()
            if line.startswith("data: ")
        )


def test_everybody_hears_of_alerts(url: str, ann: Person, bob: Person, services: Services) -> None:
    tell(services, "first", "second")
    heard: dict[str, list[dict]] = {"all": [], "bob": [], "rest": []}
    readers = [
        threading.Thread(target=read_laboratory, args=(url, ann.key, heard["all"])),
        threading.Thread(target=read_laboratory, args=(url, bob.key, heard["bob"])),
        threading.Thread(target=read_laboratory, args=(url, ann.key, heard["rest"], 1)),
    ]
    for reader in readers:
        reader.start()
    wait_for(lambda: len(heard["rest"]) == 1 and len(heard["bob"]) == 2)
    job = new_job(services, ann)  # the events of jobs stay in their own streams
    tell(services, "third")
    wait_for(lambda: [len(events) for events in heard.values()] == [3, 3, 2])
    for person in (ann, bob):
        for key in services.users.api_keys.list(person.who):
            services.users.api_keys.revoke(key.id, person.who)
    for reader in readers:
        reader.join(timeout=20)
        assert not reader.is_alive()
    assert [event["data"]["model"] for event in heard["all"]] == ["first", "second", "third"]
    assert [event["number"] for event in heard["bob"]] == [1, 2, 3]
    assert [event["number"] for event in heard["rest"]] == [2, 3]
    assert {event["kind"] for event in heard["all"]} == {"model.alert"}
    assert [event.kind for event in services.jobs.events(job, ann.who)] == ["queued"]


def wait_for(met: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not met():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_strangers_hear_nothing(url: str) -> None:
    assert httpx.get(f"{url}/api/v1/events", timeout=30).status_code == 401


def test_cancel_retry_log_and_files(ann: Person, services: Services) -> None:
    job = new_job(services, ann)
    path = f"/api/v1/jobs/{job}"
    assert ann.client.post(f"{path}/retry").status_code == 409
    assert ann.client.post(f"{path}/cancel").json()["state"] == "cancelled"
    assert ann.client.post(f"{path}/cancel").status_code == 409
    assert ann.client.post(f"{path}/retry").json()["state"] == "queued"
    folder = services.job_files.run_dir(job)
    (folder / "log.txt").write_text("one\ntwo\n")
    assert ann.client.get(f"{path}/log?offset=4").text == "two\n"
    listed = ann.client.get(f"{path}/files").json()["items"]
    assert listed == [{"name": "log.txt", "size_bytes": 8, "sha256": None}]
    got = ann.client.get(f"{path}/files/log.txt")
    assert (got.content, got.headers["content-type"]) == (b"one\ntwo\n", "application/octet-stream")
    for name in ("..%2F..%2Fnanoos.db", "%2Fetc%2Fpasswd", "absent"):
        assert ann.client.get(f"{path}/files/{name}").status_code == 404
