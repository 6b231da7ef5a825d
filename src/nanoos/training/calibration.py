"""Calibrating a trained checkpoint on the rows that its training held out."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from nanoos.core.errors import InvalidInputError
from nanoos.datasets.dataset import Dataset
from nanoos.features.packed import PackedGraphs
from nanoos.models.calibrating import MIN_ROWS, LabelledGraphs, calibrate, measure, with_domain
from nanoos.models.checkpoints import Checkpoint, load_checkpoint
from nanoos.models.domain import DomainModel, fragments, shaken
from nanoos.models.graph_outputs import GraphRunner
from nanoos.structures import analyze_symmetry
from nanoos.training.data import IntArray
from nanoos.training.preparing import Held, parts_as_before

FAMILIES: Final = ("ALIGNN", "CGCNN")
"""What can be calibrated: networks of ours."""

_EMBEDDED: Final = 8000
_HARD_ROWS: Final = 8000
_DISTORTED: Final = 3000
_FRAGMENTS: Final = 300
_SMALL_SITES: Final = 40

Report = Callable[[float, str], None]


def calibrated_checkpoint(
    path: Path, dataset: Dataset, held_out: Held, *, report: Report
) -> Checkpoint:
    """The checkpoint with domain check, sigma, intervals and confidence, and new figures.

    The validation rows are halved by formula: one half shapes sigma and the limits of the
    domain, the other the intervals. The test rows are only measured on.

    Args:
        path: A checkpoint of :data:`FAMILIES`.
        dataset: With the rows it was trained on and those it held out.
        held_out: Which those are.
        report: Told the fraction (0 to 1) and a sentence.

    Returns:
        Its header has ``calibration``, ``domain`` and, where test rows have labels, ``metrics``.

    Raises:
        InvalidInputError: another kind of model (``not_a_graph_network``), or too few held-out
            rows for any target (``too_few_rows``).
    """
    checkpoint = load_checkpoint(path)
    if checkpoint.header.family not in FAMILIES:
        raise InvalidInputError(
            f"{checkpoint.header.name} is a {checkpoint.header.family}.",
            hint=f"Only {' and '.join(FAMILIES)} are calibrated.",
            code="not_a_graph_network",
        )
    parts = np.array(parts_as_before(dataset, held_out))
    halves = np.array([_half(formula) for formula in dataset.reduced_formulas])
    val = parts == "val"
    runner = GraphRunner(checkpoint)
    report(0.0, "graphs of the held-out rows")
    shaping = _labelled(dataset, np.flatnonzero(val & (halves == 0)), runner)
    fitting = _labelled(dataset, np.flatnonzero(val & (halves == 1)), runner)
    counts = _counts(checkpoint, fitting)
    if not len(shaping.formulas) or max(counts.values(), default=0) < MIN_ROWS:
        raise InvalidInputError(
            f"{int(val.sum())} validation rows of {dataset.name!r} are too few to calibrate on.",
            hint=f"About {4 * MIN_ROWS} with a label are needed: half of them shape sigma, half "
            "the intervals.",
            code="too_few_rows",
        )
    report(0.2, "the domain")
    domain = _domain(checkpoint, dataset, np.flatnonzero(parts == "train"), shaping)
    report(0.6, "sigma and intervals")
    trained = np.flatnonzero(parts == "train")
    hard = np.sort(np.random.default_rng(1).permutation(trained)[:_HARD_ROWS])
    found = calibrate(
        with_domain(checkpoint, domain),
        shaping,
        fitting,
        training=_labelled(dataset, hard, runner),
    )
    if not found.header.calibration:
        raise InvalidInputError(
            "No target has enough labels on both halves of the validation rows.",
            hint=f"Each half needs {MIN_ROWS}.",
            code="too_few_rows",
        )
    report(0.8, "measuring on the test rows")
    return found.with_header(metrics=_measured(found, dataset, parts, counts))


def _half(formula: str) -> int:
    """0 for the half that shapes sigma, 1 for the half that shapes intervals."""
    return int(hashlib.sha256(formula.encode()).hexdigest(), 16) % 2


def _labelled(dataset: Dataset, rows: IntArray, runner: GraphRunner) -> LabelledGraphs:
    part = dataset.select(rows)
    return LabelledGraphs(
        graphs=PackedGraphs.from_structures(part.structures, k=runner.k, cutoff=runner.cutoff),
        targets=part.targets,
        formulas=part.reduced_formulas,
        groups={},
    )


def _counts(checkpoint: Checkpoint, rows: LabelledGraphs) -> dict[str, int]:
    return {
        target.name: int(np.isfinite(rows.targets[target.name]).sum())
        for target in checkpoint.header.targets
        if target.kind == "regression" and target.name in rows.targets
    }


def _domain(
    checkpoint: Checkpoint, dataset: Dataset, rows: IntArray, ordinary: LabelledGraphs
) -> DomainModel:
    runner = GraphRunner(checkpoint)
    crystals = list(dataset.select(rows).structures)
    graphs = PackedGraphs.from_structures(crystals, k=runner.k, cutoff=runner.cutoff)
    chosen = np.random.default_rng(0).permutation(len(crystals))
    small = [crystals[i] for i in chosen if crystals[i].n_sites <= _SMALL_SITES][:_DISTORTED]
    distorted = [*shaken(small, seed=0), *fragments(small[:_FRAGMENTS], seed=0)]
    seen = graphs.select(np.sort(chosen[:_EMBEDDED]))
    return DomainModel.fit(
        graphs,
        PackedGraphs.from_structures(distorted, k=runner.k, cutoff=runner.cutoff),
        ordinary.graphs,
        embeddings=runner.run(seen, dropout_samples=1).pooled,
        ordinary_embeddings=runner.run(ordinary.graphs, dropout_samples=1).pooled,
        n_distorted=_DISTORTED,
    )


def _measured(
    checkpoint: Checkpoint, dataset: Dataset, parts: Any, counts: Mapping[str, int]
) -> dict[str, dict[str, Any]]:
    """What the card says: as it was, with what was measured now."""
    metrics = {name: dict(figures) for name, figures in checkpoint.header.metrics.items()}
    rows = np.flatnonzero(parts == "test")
    if not len(rows):
        return metrics
    test = _labelled(dataset, rows, GraphRunner(checkpoint))
    systems = [
        analyze_symmetry(structure).crystal_system for structure in dataset.select(rows).structures
    ]
    found = measure(
        checkpoint,
        LabelledGraphs(
            graphs=test.graphs,
            targets=test.targets,
            formulas=test.formulas,
            groups={"crystal_system": systems},
        ),
        n_calibration=counts,
        source=f"{dataset.name}, test rows of its training",
    )
    for name, figures in found.items():
        metrics[name] = {**metrics.get(name, {}), **figures}
    return metrics
