"""How fast jobs start and how many a second: ``python benchmarks/jobs.py``.

Real worker processes with two slots in all: embedded (SQLite, one worker that polls) and in a
lab (PostgreSQL and Redis, two workers). Prints a markdown table.
"""

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

from sqlalchemy import func, select

from nanoos.db import JobTable
from nanoos.services.access import LOCAL_PRINCIPAL
from nanoos.testing.chaos import Arena, open_arena


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spaced", type=int, default=200, help="jobs for the claim latency")
    parser.add_argument("--trivial", type=int, default=1000, help="jobs for the throughput")
    parser.add_argument("--database", action="append", choices=["sqlite", "postgresql"])
    arguments = parser.parse_args()
    rows = []
    for database in arguments.database or ["sqlite", "postgresql"]:
        with (
            tempfile.TemporaryDirectory(prefix="nanoos-bench-") as folder,
            open_arena(Path(folder), database=database, lease_s=30.0) as arena,
        ):
            _run(arena, 20)  # both slots have their children
            time.sleep(5)
            latencies_ms = _latencies_ms(arena, arguments.spaced)
            rate = arguments.trivial / _run(arena, arguments.trivial)
        name = "SQLite, polling" if database == "sqlite" else "PostgreSQL + Redis"
        median, worst = statistics.median(latencies_ms), max(latencies_ms)
        rows.append(f"| {name} | {median:.0f} | {worst:.0f} | {rate:.0f} |")
    print("| installation | claim latency, median ms | max ms | trivial jobs/s |")
    print("|---|---:|---:|---:|")
    print("\n".join(rows))


def _enqueue(arena: Arena, count: int) -> list:
    with arena.services.database.write() as session:
        return [
            arena.services.jobs.enqueue(session, "probe", {}, owner_id=LOCAL_PRINCIPAL.user_id)
            for _ in range(count)
        ]


def _run(arena: Arena, count: int) -> float:
    """Seconds from the commit of ``count`` trivial jobs until all have completed."""
    _enqueue(arena, count)
    began = time.perf_counter()
    while _unfinished(arena):
        time.sleep(0.05)
    return time.perf_counter() - began


def _unfinished(arena: Arena) -> int:
    with arena.services.database.read() as session:
        query = select(func.count()).select_from(JobTable).where(JobTable.state != "completed")
        return session.scalar(query) or 0


def _latencies_ms(arena: Arena, count: int) -> list[float]:
    """From the insertion of a job to its claim, by the database's clock, worker idle."""
    ids = []
    for _ in range(count):
        ids += _enqueue(arena, 1)
        time.sleep(random.uniform(0.2, 0.4))
    while _unfinished(arena):
        time.sleep(0.05)
    with arena.services.database.read() as session:
        rows = session.execute(
            select(JobTable.created_at, JobTable.started_at).where(JobTable.id.in_(ids))
        )
        return [(row.started_at - row.created_at).total_seconds() * 1000 for row in rows]


if __name__ == "__main__":
    main()
