"""Pictures and tables of the uncertainty of a checkpoint: reliability, and what is out of domain.

    python benchmarks/uncertainty.py --set crystals --split test --output docs/figures CHECKPOINT

Writes NAME_TARGET.png for each calibrated target, and NAME.md with coverage, ranking and the share
of flags on ordinary rows, molecules, strained and shaken crystals and noble-gas solids.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from nanoos.features.packed import PackedGraphs
from nanoos.models.calibrating import LabelledGraphs, held_out
from nanoos.models.checkpoint_predictor import CheckpointPredictor, below
from nanoos.models.checkpoints import Checkpoint, load_checkpoint
from nanoos.models.domain import scaled, shaken
from nanoos.models.reliability import evaluate_uncertainty
from nanoos.models.reliability_plots import plot_uncertainty
from nanoos.models.target_uncertainty import GOOD_BANDS, TargetUncertainty
from nanoos.structures import Structure
from shipped_models import SETS, labels_of, structures_of

LEVEL = 0.9
SHOWN = 500
MOLECULES = {
    "H2O": ((0, 0, 0), (0.757, 0.586, 0), (-0.757, 0.586, 0)),
    "CO2": ((0, 0, 0), (1.16, 0, 0), (-1.16, 0, 0)),
    "NH3": ((0, 0, 0), (0.94, 0, -0.38), (-0.47, 0.81, -0.38), (-0.47, -0.81, -0.38)),
    "N2": ((0, 0, 0), (1.1, 0, 0)),
}
SPECIES = {
    "H2O": ("O", "H", "H"),
    "CO2": ("C", "O", "O"),
    "NH3": ("N", "H", "H", "H"),
    "N2": ("N", "N"),
}
NOBLE = {"Ne": 4.46, "Ar": 5.31, "Kr": 5.65, "Xe": 6.13}  # edges of the cubic cells, Å


def molecules() -> list[Structure]:
    """Small molecules, each alone in boxes of 10 to 20 Å."""
    return [
        Structure(
            lattice=side * np.eye(3),
            species=SPECIES[name],
            frac_coords=np.array(places) / side + 0.5,
        )
        for name, places in MOLECULES.items()
        for side in (10.0, 12.0, 15.0, 20.0)
    ]


def noble_gases() -> list[Structure]:
    """Face-centred cubic crystals of the noble gases."""
    corners = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    return [
        Structure(lattice=edge * np.eye(3), species=(symbol,) * 4, frac_coords=corners)
        for symbol, edge in NOBLE.items()
    ]


def unusual(checkpoint: Checkpoint, crystals: list[Structure]) -> dict[str, PackedGraphs]:
    """Kind to structures of that kind."""
    k = int(checkpoint.header.parameters["max_neighbors"])
    cutoff = float(checkpoint.header.parameters["cutoff"])

    def packed(structures: list[Structure]) -> PackedGraphs:
        return PackedGraphs.from_structures(structures, k=k, cutoff=cutoff)

    ordinary = packed(crystals)

    def strained(volume: float) -> PackedGraphs:
        factors = np.full(len(ordinary), np.cbrt(volume))
        return scaled(ordinary, factors)

    return {
        "ordinary rows": ordinary,
        "molecules in a box": packed(molecules()),
        "volume -20 %": strained(0.8),
        "volume +30 %": strained(1.3),
        "atoms moved by 0.5 Å": packed(shaken(crystals, 0, reach_a=(0.5, 0.5))),
        "noble-gas solids": packed(noble_gases()),
    }


def domain_table(checkpoint: Checkpoint, crystals: list[Structure]) -> list[str]:
    """Share of flags, and mean width of the intervals, of each kind."""
    predictor = CheckpointPredictor(checkpoint)
    names = list(predictor.uncertainty)
    lines = [
        f"| structures | number | flagged | {' | '.join(f'width of {n}' for n in names)} |",
        f"| --- | --- | --- |{' --- |' * len(names)}",
    ]
    for kind, graphs in unusual(checkpoint, crystals).items():
        columns, reasons = predictor.predict(graphs)
        flagged = np.mean([bool(words) for words in reasons])
        widths = dict.fromkeys(names, "-")
        for column in columns:
            if column.target.name in widths and column.quantiles is not None:
                lower, upper = column.quantiles[LEVEL]
                widths[column.target.name] = f"{float(np.mean(upper - lower)):.3g}"
        cells = " | ".join(widths.values())
        lines.append(f"| {kind} | {len(graphs)} | {flagged:.1%} | {cells} |")
    return lines


def reliability_table(checkpoint: Checkpoint, rows: LabelledGraphs, output: Path) -> list[str]:
    """Coverage, ranking and confidence of each target; writes the pictures."""
    outputs = CheckpointPredictor(checkpoint).runner.run(rows.graphs)
    header = checkpoint.header
    columns = ["property", "rows", "calibrated on", "at 0.8", "at 0.9", "at 0.95"]
    columns += ["width at 0.9", "Spearman", "AUSE (random)", "confidence error"]
    lines = [f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
    for name, data in header.calibration.items():
        tested = held_out(checkpoint, header.target(name), outputs, rows)
        known = TargetUncertainty.from_arrays(below(checkpoint.arrays, f"sigma.{name}."), data)
        sigmas = known.sigma.predict(tested.columns)
        band = GOOD_BANDS.get(name)
        half = band if band is not None else 0.1 * np.abs(tested.values)
        shared = {
            "quantiles": known.quantiles(tested.values, sigmas, tested.columns),
            "n_calibration": known.n_rows or len(tested.values),
            "confidences": known.confidence.predict(tested.values, sigmas),
            "good": np.abs(tested.truths - tested.values) < half,  # noqa: PD011 - no table
        }
        report = evaluate_uncertainty(
            tested.values, sigmas, tested.truths, formulas=tested.formulas, **shared
        )
        plot_uncertainty(
            output / f"{header.name}_{name}.png",
            values=tested.values,
            sigmas=sigmas,
            truths=tested.truths,
            title=f"{name.replace('_', ' ')}, {header.name}",
            unit=header.target(name).unit,
            **shared,
        )
        shares = [
            f"{c.observed:.3f} ({c.expected[0]:.3f} to {c.expected[1]:.3f})"
            for c in report.coverage
        ]
        width = next((c.mean_width for c in report.coverage if c.level == LEVEL), None)
        lines.append(
            f"| {name} | {report.n} | {known.n_rows} ({known.method}) | {' | '.join(shares)} "
            f"| {'' if width is None else f'{width:.3g}'} | {report.spearman:.2f} "
            f"| {report.ause:.2f} ({report.ause_random:.2f}) | {report.confidence_error:.3f} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--set", required=True, choices=sorted(SETS), dest="dataset")
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    given = parser.parse_args()
    described = SETS[given.dataset]
    table = pd.read_parquet(given.data / described.path)
    labels = labels_of(table, described)
    rows = np.flatnonzero(table["split"] == given.split)
    checkpoint = load_checkpoint(given.checkpoint)
    part = table.iloc[rows]
    crystals = list(structures_of(part))
    held = LabelledGraphs(
        graphs=PackedGraphs.from_structures(
            crystals,
            k=int(checkpoint.header.parameters["max_neighbors"]),
            cutoff=float(checkpoint.header.parameters["cutoff"]),
        ),
        targets={name: values[rows] for name, values in labels.items()},
        formulas=part["reduced_formula"].tolist(),
        groups={},
    )
    given.output.mkdir(parents=True, exist_ok=True)
    chosen = np.random.default_rng(0).permutation(len(crystals))[:SHOWN]
    lines = [
        f"# {checkpoint.header.name} on {given.split} rows of {described.path}",
        "",
        *reliability_table(checkpoint, held, given.output),
        "",
        f"Out of domain, and mean width of the intervals at {LEVEL}:",
        "",
        *domain_table(checkpoint, [crystals[i] for i in chosen]),
        "",
    ]
    text = "\n".join(lines)
    (given.output / f"{checkpoint.header.name}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
