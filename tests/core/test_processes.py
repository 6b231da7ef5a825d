"""Processes die with their parent and are never mistaken for others."""

import os
import signal
import subprocess
import sys
import threading
import time

from nanoos.core.processes import (
    host_identity,
    is_alive,
    kill_group,
    start_bound,
    start_time,
)

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]


def gone(pid: int, started: float, within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while is_alive(pid, started):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_bound_program_dies_with_a_killed_parent() -> None:
    program = (
        "import sys, time\n"
        "from nanoos.core.processes import start_bound\n"
        "child = start_bound([sys.executable, '-c', 'import time; print(1, flush=True); "
        "time.sleep(60)'], stdout=sys.stdout)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as parent:
        lines = [parent.stdout.readline().strip() for _ in range(2)]
        (pid,) = [int(line) for line in lines if line != "1"]
        started = start_time(pid)
        assert started is not None
        parent.kill()
    assert gone(pid, started)


def test_a_bound_program_dies_with_the_thread_that_made_it() -> None:
    made: list[subprocess.Popen[bytes]] = []

    def make() -> None:
        made.append(
            start_bound(
                [sys.executable, "-c", "print(1, flush=True); import time; time.sleep(60)"],
                stdout=subprocess.PIPE,
            )
        )
        made[0].stdout.readline()

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    assert made[0].wait(timeout=10) == -signal.SIGKILL
    made[0].stdout.close()


def test_a_program_that_is_missing_says_so() -> None:
    process = start_bound(["nanoos-no-such-program"], stderr=subprocess.PIPE)
    _, said = process.communicate(timeout=20)
    assert process.returncode != 0
    assert b"nanoos-no-such-program: No such file" in said


def test_a_process_is_told_from_another_of_the_same_id() -> None:
    process = subprocess.Popen(SLEEP)
    started = start_time(process.pid)
    assert started is not None
    assert is_alive(process.pid, started)
    assert not is_alive(process.pid, started - 5.0)
    process.kill()
    deadline = time.monotonic() + 10
    while is_alive(process.pid, started):  # a zombie from now until it is waited for
        assert time.monotonic() < deadline
    process.wait()
    assert start_time(process.pid) is None


def test_a_group_whose_id_was_reused_is_left_alone() -> None:
    process = subprocess.Popen(SLEEP, start_new_session=True)
    started = start_time(process.pid)
    kill_group(process.pid, started - 5.0)
    time.sleep(0.05)
    assert process.poll() is None
    kill_group(process.pid, started)
    assert process.wait(timeout=10) == -signal.SIGKILL
    kill_group(process.pid, started)  # gone: no error


def test_host_identity_names_this_place() -> None:
    assert host_identity().startswith(os.uname().nodename)
    assert host_identity() == host_identity()
