"""Seconds of one pass of CGCNN training: ``python benchmarks/training.py [--rows N]``.

The training rows of ``mp_crystals`` that are in bench40 (21,503), one thread, graphs built once;
the published code is given the same. Two passes: the first fills caches and is left out of the
figure where there is another. ``--rows 1000`` is a quick check, scaled to all rows. Test rows are
not used. Prints a markdown table, and what it does meanwhile to the error stream.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from nanoos.datasets.readers.options import ReadOptions
from nanoos.datasets.reading import load_dataset
from nanoos.training.config import parse_training_config
from nanoos.training.run import train_model

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "mp_crystals"
PUBLISHED_S = 200
"""A pass of the published code on one thread, its graphs cached in memory."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, help="only so many of the rows, scaled to all")
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    path = DATA / "mp_crystals.parquet"
    if not path.exists():
        print(f"{path} is not there", file=sys.stderr)
        return 1
    began = time.perf_counter()

    def told(text: str) -> None:
        print(f"{time.perf_counter() - began:6.0f} s  {text}", file=sys.stderr, flush=True)

    told("reading the table")
    dataset = load_dataset(path, ReadOptions(where={"in_bench40": "true"}))
    train, val = dataset.given_indices("train"), dataset.given_indices("val")
    n_train = len(train)
    if arguments.rows:
        train, val = train[: arguments.rows], val[: arguments.rows // 10]
    config = parse_training_config(
        {
            "name": "benchmark",
            "dataset": "mp_crystals",
            "targets": "formation_energy",
            "split": "given",
            "epochs": arguments.epochs,
            "batch_size": 64,
            "hidden_dim": 64,
            "device": "cpu",
        }
    )
    told(f"{len(dataset)} rows read; graphs of {len(train) + len(val)}, then training")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="nanoos-bench-") as folder:
        rows = dataset.select(np.concatenate([train, val]))
        result = train_model(config, rows, run_dir=Path(folder), report=lambda _, text: told(text))
    passes = [record["seconds"] for record in result.history[0]]
    rest = time.perf_counter() - started - sum(passes)
    told("passes: " + ", ".join(f"{each:.1f} s" for each in passes))
    seconds = statistics.median(passes[1:] or passes) * n_train / len(train)
    print("| network | training rows | s per pass | of the published code's | graphs, s |")
    print("|---|---:|---:|---:|---:|")
    print(f"| CGCNN | {n_train} | {seconds:.0f} | {seconds / PUBLISHED_S:.2f} | {rest:.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
