"""Runs say how long they still take, once that can be told."""

from types import SimpleNamespace

import pytest

from nanoos.engines import get_engine, time_left
from nanoos.engines.time_left import with_time_left
from nanoos.testing.crystals import rocksalt


class Clock:
    """Time that a test moves."""

    now = 1000.0


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time_left, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def said(clock, reports: list[tuple[float, float]]) -> list[str]:
    """What is said at each (seconds, share)."""
    messages: list[str] = []
    tell = with_time_left(lambda _, message: messages.append(message))
    for seconds, share in reports:
        clock.now = 1000.0 + seconds
        tell(share, "work")
    return messages


def test_nothing_is_said_before_enough_is_known(clock):
    messages = said(clock, [(0, 0.0), (30, 0.1), (40, 0.101), (45, 0.104), (130, 0.2)])
    assert messages == ["work"] * 4 + ["work, about 13 min left"]


def test_the_time_runs_down_between_two_steps_and_is_not_said_when_it_is_over(clock):
    messages = said(clock, [(0, 0.1), (100, 0.6), (130, 0.6), (179, 0.6), (181, 0.6)])
    assert messages[1:] == [
        "work, about 80 s left", "work, about 50 s left", "work, about 1 s left", "work",
    ]  # fmt: skip


def test_what_an_earlier_execution_did_makes_nothing_faster(clock):
    messages = said(clock, [(0, 0.0), (1, 0.2), (2, 0.5), (102, 0.6)])
    assert messages[-1] == "work, about 7 min left"


@pytest.mark.parametrize("workflow", ["relax", "elastic", "phonons", "md"])
def test_every_engine_says_it(workflow, clock, tmp_path):
    messages: list[str] = []

    def tell(_fraction, message):
        messages.append(message)
        clock.now += 30

    given = {"phonons": {"min_length": 4.0, "mesh_length": 10}, "md": {"num_steps": 20}}
    parameters = {"workflow": workflow, **given.get(workflow, {})}
    get_engine("LJ")().run(rocksalt(4.3), parameters, tmp_path, progress=tell)
    assert any(message.endswith(" left") for message in messages), messages


def test_the_share_of_a_relaxation_is_no_share_of_its_most_steps(tmp_path):
    shares: list[float] = []
    given = {"workflow": "relax", "max_steps": 2000}
    engine = get_engine("LJ")()
    engine.run(rocksalt(4.3), given, tmp_path, progress=lambda share, _: shares.append(share))
    assert shares == sorted(shares)
    assert len(shares) < 200
    assert any(0.1 < share < 0.98 for share in shares)
