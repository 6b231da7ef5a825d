"""Memory of `nanoos predict` over many structures: it must not grow with their number.

    python benchmarks/memory.py [--count 10000] [--model CGCNN] [--data ../shared/data]

Writes an extxyz file of crystals of the split ``test`` (repeated where there are fewer), lets
`nanoos predict` stream it to JSON lines, and reads the resident memory of that process five times
a second. Prints it at every tenth of the answers, and how much more the second half needed than
the first.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from inference import crystals
from nanoos.structures import write_structures

INTERVAL_S = 0.2


def resident_mib(pid: int) -> float | None:
    """Resident memory of a running process; None where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return None
    found = [line for line in lines if line.startswith("VmRSS:")]
    return int(found[0].split()[1]) / 1024 if found else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--model", default="CGCNN")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    given = parser.parse_args()
    if not Path("/proc/self/status").exists():
        print("Resident memory is read from /proc, which this system has not.", file=sys.stderr)
        return 2
    structures = list(islice(cycle(crystals(given.data, min(given.count, 2000))), given.count))
    with tempfile.TemporaryDirectory() as folder:
        source, answers = Path(folder) / "crystals.extxyz", Path(folder) / "answers.jsonl"
        write_structures(structures, source)
        command = [sys.executable, "-m", "nanoos", "predict", str(source), "--json"]
        samples: list[tuple[int, float]] = []
        began = time.perf_counter()
        with answers.open("wb") as out:
            process = subprocess.Popen([*command, "--model", given.model], stdout=out)
            while process.poll() is None:
                memory = resident_mib(process.pid)
                if memory is not None:
                    samples.append((answers.stat().st_size, memory))
                time.sleep(INTERVAL_S)
        seconds = time.perf_counter() - began
        lines = answers.read_bytes().count(b"\n")
        total = answers.stat().st_size
    if process.returncode or lines < len(structures):
        print(f"{lines} of {len(structures)} answers, exit {process.returncode}", file=sys.stderr)
        return 1
    print(f"{lines} structures in {seconds:.0f} s")
    for tenth in range(1, 11):
        seen = [memory for size, memory in samples if size <= total * tenth / 10]
        print(f"  {10 * tenth:3d} % of the answers: {seen[-1]:6.0f} MiB", flush=True)
    running = [(size, memory) for size, memory in samples if size]
    first = max(memory for size, memory in running if size <= total / 2)
    second = max(memory for size, memory in running if size > total / 2)
    print(f"most in the first half {first:.0f} MiB, in the second {second:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
