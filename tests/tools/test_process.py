"""A helper process: what goes over the pipe, and every way in which it can end."""

import io
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from nanoos.core.errors import CancelledError, UnavailableError
from nanoos.core.processes import is_alive, start_time
from nanoos.tools import ToolError, ToolProcess
from nanoos.tools.programs.serve import MAGIC, ProtocolError, pack, unpack

PROGRAM = Path(__file__).parent / "probe_program.py"
PYTHON = Path(sys.executable)


@pytest.fixture
def process(tmp_path):
    with ToolProcess("probe", PYTHON, PROGRAM, tmp_path / "logs" / "probe.log") as made:
        yield made


def gone(pid: int, started: float | None) -> bool:
    deadline = time.monotonic() + 20
    while started is not None and is_alive(pid, started):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("kind", ["<f8", "<f4", "<i8", "<i4", "|u1", "|b1"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4)], ids=str)
def test_arrays_arrive_as_they_left(kind, shape):
    sent = np.random.default_rng(0).integers(0, 2, shape).astype(kind)
    stream = io.BytesIO(b"".join(pack({"x": 1}, {"a": sent, "b": np.arange(3)})))
    header, arrays = unpack(stream.read)
    assert header == {"x": 1}
    assert list(arrays) == ["a", "b"]
    assert arrays["a"].dtype == sent.dtype
    assert arrays["a"].shape == shape
    np.testing.assert_array_equal(arrays["a"], sent)
    arrays["a"][...] = 0  # it may be written to


def test_big_endian_and_strided_arrays_arrive_by_value():
    sent = np.arange(12, dtype=">f8").reshape(3, 4)[:, ::2]
    _, arrays = unpack(io.BytesIO(b"".join(pack({}, {"a": sent}))).read)
    np.testing.assert_array_equal(arrays["a"], sent)


@pytest.mark.parametrize(
    "array", [np.array([{}], dtype=object), np.array(["x"]), np.zeros(1, dtype=complex)], ids=str
)
def test_only_plain_numbers_are_sent(array):
    with pytest.raises(ValueError, match="not sent"):
        list(pack({}, {"a": array}))


def message(header: object) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack(">4sI", MAGIC, len(text)) + text


@pytest.mark.parametrize(
    "data",
    [
        b"hello, I am a library",
        struct.pack(">4sI", MAGIC, 0xFFFFFFFF),
        struct.pack(">4sI", MAGIC, 4) + b"nope",
        message([]),
        message({}),
        message({"arrays": [["a", "|O", [1]]]}),
        message({"arrays": [["a", "<f8", [-1]]]}),
        message({"arrays": [["a", "<f8", [-1, -1]]]}),
        message({"arrays": [["a", "<f8", [1 << 40]]]}),
        message({"arrays": [["a", "<f8"]]}),
    ],
    ids=["text", "length", "json", "list", "none", "objects", "minus", "minuses", "huge", "short"],
)
def test_what_is_no_message_is_refused(data):
    with pytest.raises(ProtocolError):
        unpack(io.BytesIO(data).read)


def test_answers(process):
    assert process.pid is None, "it starts with the first request"
    large = np.random.default_rng(1).normal(size=(1000, 1000))
    answer = process.request("echo", {"text": "Å", "n": 1.5}, {"large": large})
    assert answer.fields == {"text": "Å", "n": 1.5}
    np.testing.assert_array_equal(answer.arrays["large"], large)
    np.testing.assert_array_equal(
        process.request("double", arrays={"a": np.arange(3)}).arrays["a"], [0, 2, 4]
    )


def test_it_is_isolated_and_leads_its_own_group(process, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    found = process.request("describe").fields
    assert found["isolated"] == 1
    assert found["group"] == found["pid"] == process.pid != os.getpid()


def test_what_it_prints_goes_to_the_log_and_not_into_the_pipe(process, tmp_path):
    assert process.request("chatter").fields == {"said": True}
    assert process.request("read_input").fields == {"input": ""}
    process.close()
    log = (tmp_path / "logs" / "probe.log").read_text()
    for line in ("a library greets", "from below", "from a child"):
        assert line in log


def test_a_refusal_is_an_error_and_the_process_goes_on(process):
    process.request("echo")
    before = process.pid
    with pytest.raises(ToolError, match="probe: there is nothing to compute") as caught:
        process.request("refuse")
    assert caught.value.details["kind"] == "ValueError"
    assert "probe_program.py" in caught.value.details["trace"]
    with pytest.raises(ToolError, match="no request 'absent'"):
        process.request("absent")
    with pytest.raises(ToolError, match="JSON"):
        process.request("unanswerable")
    assert process.request("echo", {"a": 1}).fields == {"a": 1}
    assert process.pid == before


def test_a_crash_says_why_and_the_next_request_starts_anew(process, tmp_path):
    process.request("echo")
    before = process.pid
    with pytest.raises(ToolError, match="exit code 3 while it worked") as caught:
        process.request("leave")
    assert caught.value.error_code == "tool_crashed"
    assert "the last thing it said" in caught.value.message
    assert "probe.log" in caught.value.hint
    assert process.pid is None
    assert process.request("echo", {"a": 1}).fields == {"a": 1}
    assert process.pid != before
    with pytest.raises(ToolError, match="SIGSEGV"):
        process.request("die", {"signal": int(signal.SIGSEGV)})
    with pytest.raises(ToolError, match=r"SIGKILL.*memory"):
        process.request("die", {"signal": int(signal.SIGKILL)})


def test_one_that_was_killed_between_requests_is_replaced(process):
    before = process.request("describe").fields["pid"]
    started = start_time(before)
    os.kill(before, signal.SIGKILL)
    assert gone(before, started)
    assert process.request("describe").fields["pid"] != before


def test_a_deadline_ends_it(process):
    pid = process.request("describe").fields["pid"]
    started = start_time(pid)
    with pytest.raises(ToolError, match="did not answer within") as caught:
        process.request("sleep", {"seconds": 60}, timeout_s=0.3)
    assert caught.value.error_code == "timeout"
    assert gone(pid, started)
    assert process.request("echo", {"a": 1}).fields == {"a": 1}


def test_progress_is_told_and_may_end_the_work(process):
    told = []
    process.request("sleep", {"seconds": 0.01}, progress=lambda *given: told.append(given))
    assert told[0] == (0.0, "step 0")
    assert told[-1] == (0.99, "step 99")
    pid = process.pid
    started = start_time(pid)

    def cancel(_fraction, _message):
        raise CancelledError("enough")

    with pytest.raises(CancelledError):
        process.request("sleep", {"seconds": 60}, progress=cancel)
    assert gone(pid, started)


def test_threads_share_one(process):
    wrong = []

    def ask(number: int) -> None:
        for i in range(20):
            sent = np.full(100, 1000 * number + i)
            answer = process.request("double", arrays={"a": sent})
            if not np.array_equal(answer.arrays["a"], 2 * sent):
                wrong.append((number, i))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_it_outlives_the_thread_that_first_asked(process):
    """The kernel ends a bound process with the thread that made it: not with this one."""
    thread = threading.Thread(target=process.request, args=("echo",))
    thread.start()
    thread.join()
    before = process.pid
    time.sleep(0.2)
    assert process.request("describe").fields["pid"] == before


def test_it_dies_with_its_parent(tmp_path):
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from nanoos.tools import ToolProcess\n"
        f"process = ToolProcess('probe', Path(sys.executable), Path({str(PROGRAM)!r}), "
        f"Path({str(tmp_path / 'log')!r}))\n"
        "print(process.request('describe').fields['pid'], flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        started = start_time(pid)
        assert started is not None
        parent.kill()
    assert gone(pid, started)


def test_a_program_that_does_not_start_says_why(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import nanoos_is_not_here\n")
    with (
        ToolProcess("probe", PYTHON, program, tmp_path / "log") as process,
        pytest.raises(UnavailableError, match="nanoos_is_not_here") as caught,
    ):
        process.request("echo")
    assert caught.value.error_code == "tool_broken"


def test_a_python_that_is_gone_says_so(tmp_path):
    with (
        ToolProcess("probe", tmp_path / "python", PROGRAM, tmp_path / "log") as process,
        pytest.raises(UnavailableError, match="No such file"),
    ):
        process.request("echo")


def test_one_that_never_gets_ready_is_given_up(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import time\ntime.sleep(60)\n")
    with (
        ToolProcess("probe", PYTHON, program, tmp_path / "log", start_timeout_s=0.5) as process,
        pytest.raises(UnavailableError, match="did not start"),
    ):
        process.request("echo")
