"""What runs used: this process and those it started, in the time that was watched."""

import subprocess
import sys

from nanoos.engines.resources import Meter, threads_in

HOLD_300_MB = "held = bytearray(300_000_000); import time; time.sleep(1.5)"
WORK = "import time\nwhile time.process_time() < 0.5: pass"


def test_memory_of_a_program_counts_while_it_runs_and_not_for_the_next():
    with Meter() as idle:
        pass
    with Meter() as meter:
        subprocess.run([sys.executable, "-c", HOLD_300_MB], check=True)
    with Meter() as after:
        pass
    assert meter.used()["max_rss_mb"] > idle.used()["max_rss_mb"] + 280
    assert after.used()["max_rss_mb"] < idle.used()["max_rss_mb"] + 200


def test_processor_time_of_a_program_counts():
    with Meter() as meter:
        subprocess.run([sys.executable, "-c", WORK], check=True)
    used = meter.used()
    assert used["cpu_s"] > 0.45
    assert used["wall_s"] > 0.45


def test_threads_are_read_from_the_environment():
    assert threads_in({}) == 1
    assert threads_in({"OMP_NUM_THREADS": "4,2"}) == 4
    assert threads_in({"OMP_NUM_THREADS": "many"}) == 1
