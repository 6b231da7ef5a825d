"""What more training data gives: ``python benchmarks/learning_curve.py --output FOLDER``.

Trains one CGCNN for formation energy and band gap on 1/16, 1/8, 1/4, 1/2 and all of the bench40
training rows of ``mp_crystals`` (whole formulas, drawn by the hash of the formula), each for the
same number of passes, and measures each once on the 2,948 bench40 test rows. A run that was ended
goes on where it was. Writes ``learning_curve.csv`` and ``learning_curve.svg`` and prints a
markdown table with the exponent of the power law through the points.
"""

import argparse
import hashlib
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

from nanoos.datasets.readers.options import ReadOptions
from nanoos.datasets.reading import load_dataset
from nanoos.training.config import parse_training_config
from nanoos.training.run import train_model

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "mp_crystals"
TARGETS = {"formation_energy": "eV/atom", "bandgap": "eV"}
COLORS = {"formation_energy": "#0072B2", "bandgap": "#D55E00"}


def share_of(formula: str) -> float:
    """A number in [0, 1) that belongs to the formula."""
    return int(hashlib.sha256(f"curve {formula}".encode()).hexdigest()[:12], 16) / 16.0**12


def plotted(table: pd.DataFrame, path: Path) -> dict[str, float]:
    """Draw the curve; the exponent of each target's power law."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5.2, 3.6), layout="constrained")
    exponents = {}
    for name, unit in TARGETS.items():
        rows, errors = table["rows"].to_numpy(), table[name].to_numpy()
        slope, height = np.polyfit(np.log(rows), np.log(errors), 1)
        exponents[name] = float(slope)
        axes.loglog(rows, errors, "o", color=COLORS[name], label=f"{name}, {unit}")
        line = np.geomspace(rows.min(), 4 * rows.max(), 50)
        axes.loglog(line, np.exp(height) * line**slope, "-", lw=1, color=COLORS[name])
    axes.set_xlabel("training crystals")
    axes.set_ylabel("mean absolute error on test")
    axes.set_yticks([0.05, 0.1, 0.2, 0.5])
    axes.set_xticks([1000, 3000, 10_000, 30_000, 100_000])
    axes.minorticks_off()
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path)
    plt.close(figure)
    return exponents


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--halvings", type=int, default=4)
    given = parser.parse_args()
    path = DATA / "mp_crystals.parquet"
    if not path.exists():
        print(f"{path} is not there", file=sys.stderr)
        return 1
    dataset = load_dataset(path, ReadOptions(where={"in_bench40": "true"}))
    parts = {name: dataset.given_indices(name) for name in ("train", "val", "test")}
    formulas = dataset.reduced_formulas
    shares = np.array([share_of(formulas[i]) for i in parts["train"]])
    given.output.mkdir(parents=True, exist_ok=True)
    found = []
    for halvings in range(given.halvings, -1, -1):
        rows = parts["train"][shares < 0.5**halvings]
        config = parse_training_config(
            {
                "name": f"curve_{len(rows)}",
                "dataset": "mp_crystals",
                "targets": list(TARGETS),
                "split": "given",
                "epochs": given.epochs,
                "patience": None,
                "batch_size": 64,
                "learning_rate": 2e-3,
                "hidden_dim": 64,
                "device": "cpu",
            }
        )
        chosen = dataset.select(np.concatenate([rows, parts["val"], parts["test"]]))
        result = train_model(config, chosen, run_dir=given.output / f"run_{len(rows)}")
        errors = {name: result.metrics[name]["mae"] for name in TARGETS}
        found.append({"rows": len(rows), **errors})
        print(f"{len(rows)} rows: {errors}", file=sys.stderr, flush=True)
    table = pd.DataFrame(found)
    table.to_csv(given.output / "learning_curve.csv", index=False)
    exponents = plotted(table, given.output / "learning_curve.svg")
    print("| training crystals | formation energy, eV/atom | band gap, eV |")
    print("|---:|---:|---:|")
    for row in found:
        print(f"| {row['rows']:,} | {row['formation_energy']:.4f} | {row['bandgap']:.3f} |")
    print(", ".join(f"{name}: error ~ rows^{slope:.2f}" for name, slope in exponents.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
