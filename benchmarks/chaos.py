"""Chaos trials: ``python benchmarks/chaos.py --trials 50 --database sqlite``.

Prints a markdown table; the exit code is 1 if a job was lost or finished twice, or a process
was left behind. What a trial is stands in ``nanoos.testing.chaos``.
"""

import argparse
import random
import statistics
import sys
import tempfile
from pathlib import Path

from nanoos.testing.chaos import EMBEDDED_KINDS, LAB_KINDS, TrialReport, open_arena, run_trial

HEADER = (
    "| database | broken | trials | jobs | attempts | lost | finished twice | orphans | median s |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|---:|"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=50, help="of each kind")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--kind", action="append", choices=LAB_KINDS, help="default: all")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    databases = ["sqlite", "postgresql"] if arguments.database == "both" else [arguments.database]
    rows, failed = [], False
    for database in databases:
        known = EMBEDDED_KINDS if database == "sqlite" else LAB_KINDS
        kinds = [kind for kind in known if kind in (arguments.kind or known)]
        for kind, reports in _run(database, kinds, arguments.trials, arguments.seed).items():
            failed |= not all(report.passed for report in reports)
            rows.append(_row(database, kind, reports))
    print("\n".join([HEADER, *rows]))
    return int(failed)


def _run(database: str, kinds: list[str], trials: int, seed: int) -> dict[str, list[TrialReport]]:
    rng = random.Random(seed)
    reports: dict[str, list[TrialReport]] = {kind: [] for kind in kinds}
    with (
        tempfile.TemporaryDirectory(prefix="nanoos-chaos-") as folder,
        open_arena(Path(folder), database=database) as arena,
    ):
        for number in range(trials):
            for kind in kinds:
                report = run_trial(arena, kind, rng)
                reports[kind].append(report)
                verdict = "ok" if report.passed else "FAILED"
                print(
                    f"{database} {number + 1} {kind}: {verdict} {report.seconds:.1f} s", flush=True
                )
                for note in report.notes:
                    print(f"    {note}", flush=True)
                if not report.passed:
                    print(arena.log.read_text(errors="replace")[-4000:], flush=True)
    return reports


def _row(database: str, kind: str, reports: list[TrialReport]) -> str:
    name = "SQLite" if database == "sqlite" else "PostgreSQL + Redis"
    totals = [
        len(reports),
        *(
            sum(getattr(report, field) for report in reports)
            for field in ("jobs", "attempts", "lost", "twice", "orphans")
        ),
    ]
    median_s = statistics.median(report.seconds for report in reports)
    return f"| {name} | {kind} | " + " | ".join(map(str, totals)) + f" | {median_s:.1f} |"


if __name__ == "__main__":
    sys.exit(main())
