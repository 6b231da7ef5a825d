"""The thread of a server that runs models."""

import asyncio
import threading

from structlog.testing import capture_logs

from nanoos.api.inference import Inference


def test_preparing_comes_first_and_nobody_waits_for_it() -> None:
    inference, go, done = Inference(), threading.Event(), []

    def prepare() -> None:
        go.wait(20)
        done.append("prepared")

    inference.prepare(prepare)
    assert done == []  # it returned while the work goes on
    go.set()
    assert asyncio.run(inference.run(lambda: [*done, "answered"])) == ["prepared", "answered"]
    inference.close()


def test_a_preparation_that_fails_is_logged_and_requests_are_answered() -> None:
    inference = Inference()

    def broken() -> None:
        raise RuntimeError("no weights")

    with capture_logs() as logs:
        inference.prepare(broken)
        assert asyncio.run(inference.run(lambda: 7)) == 7
    assert [(one["event"], one["error"]) for one in logs] == [
        ("cannot prepare models", "RuntimeError: no weights")
    ]
    inference.close()


def test_a_server_that_stops_first_says_nothing() -> None:
    inference, go = Inference(), threading.Event()
    with capture_logs() as logs:
        inference.prepare(lambda: bool(go.wait(20)))
        inference.prepare(lambda: None)
        inference.close()
        go.set()
    assert logs == []
