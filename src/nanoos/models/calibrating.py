"""Calibrating a checkpoint on held-out rows, and measuring it on others.

Three sets of rows that share no formula with the training rows or with one another: the selection
rows shape sigma and the limits of the domain, the calibration rows shape intervals and
confidence, the test rows are only measured on. What the networks leave of training rows tells
which structures are hard (``difficulty.py``); it is a column for sigma and calibrates nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.features.packed import PackedGraphs
from nanoos.models.checkpoint_predictor import (
    HULL,
    STABILITY,
    below,
    stability_scores,
    stability_sigmas,
)
from nanoos.models.checkpoints import Checkpoint, Target
from nanoos.models.difficulty import DIFFICULTY, ELEMENTS, element_properties, fit_difficulty
from nanoos.models.domain import DomainModel
from nanoos.models.graph_outputs import GraphOutputs, GraphRunner
from nanoos.models.reliability import evaluate_uncertainty
from nanoos.models.sigma import ConfidenceModel
from nanoos.models.target_uncertainty import (
    GOOD_BANDS,
    ZERO_CHANCE,
    HeldOut,
    TargetUncertainty,
)

FloatArray = npt.NDArray[np.float64]
MIN_ROWS: Final = 40
"""Held-out rows, both halves together, that a target needs to be calibrated."""

FEW_ROWS: Final = 200
"""A target with fewer calibration rows than this is calibrated on both halves in turns."""

_ZERO_SHARE: Final = 0.1  # with more exact zeros than this, zeros are calibrated by themselves
_RELATIVE_BAND: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledGraphs:
    """Rows of a data set as graphs.

    Attributes:
        graphs: n structures.
        targets: Target to (n,), in its unit; NaN where there is no label.
        formulas: (n,), reduced formulas.
        groups: Kind of group (``crystal_system``) to the name of each row's (n,).
    """

    graphs: PackedGraphs
    targets: Mapping[str, FloatArray]
    formulas: Sequence[str]
    groups: Mapping[str, Sequence[str]]


def with_domain(checkpoint: Checkpoint, domain: DomainModel) -> Checkpoint:
    """The checkpoint with a domain check."""
    kept = {k: v for k, v in checkpoint.arrays.items() if not k.startswith("domain.")}
    arrays = {f"domain.{name}": array for name, array in domain.to_arrays().items()}
    changed = checkpoint.with_header(domain=domain.to_dict())
    return Checkpoint(header=changed.header, members=checkpoint.members, arrays={**kept, **arrays})


def calibrate(
    checkpoint: Checkpoint,
    selection: LabelledGraphs,
    calibration: LabelledGraphs,
    *,
    training: LabelledGraphs | None = None,
) -> Checkpoint:
    """The checkpoint with sigma, intervals and confidence for each target with enough labels.

    A classification keeps its probability and gets none of them.

    Args:
        checkpoint: With its domain check, if it is to have one: sigma looks at it.
        selection: Rows that shape sigma.
        calibration: Rows that shape intervals; no formula in common.
        training: Rows that the networks were trained on (a few thousand are enough), to learn
            what is hard for them; None to do without, with a sigma that ranks errors less well.

    Raises:
        InvalidInputError: a formula is on more than one side; code ``shared_formulas``.
    """
    _check_apart("selection", selection, "calibration", calibration)
    if training is not None:
        for name, rows in (("selection", selection), ("calibration", calibration)):
            _check_apart("training", training, name, rows)
    runner = GraphRunner(checkpoint)
    checkpoint = _with_difficulty(checkpoint, runner, training)
    first, second = runner.run(selection.graphs), runner.run(calibration.graphs)
    described: dict[str, Any] = {}
    arrays = {k: v for k, v in checkpoint.arrays.items() if not k.startswith("sigma.")}
    for target in checkpoint.header.targets:
        if target.kind == "classification" or target.name not in calibration.targets:
            continue
        known = _uncertainty(
            target,
            held_out(checkpoint, target, first, selection),
            held_out(checkpoint, target, second, calibration),
        )
        if known is None:
            continue
        described[target.name] = known.to_dict()
        if target.name == HULL:
            fitting = held_out(checkpoint, target, second, calibration)
            described[HULL][STABILITY] = _stability_confidence(known, fitting).to_dict()
        arrays |= {f"sigma.{target.name}.{k}": v for k, v in known.to_arrays().items()}
    changed = checkpoint.with_header(calibration=described)
    return Checkpoint(header=changed.header, members=checkpoint.members, arrays=arrays)


def _uncertainty(target: Target, shaping: HeldOut, fitting: HeldOut) -> TargetUncertainty | None:
    """What is learnt from the two halves; None where they are too few."""
    if len(shaping.values) + len(fitting.values) < MIN_ROWS:
        return None
    if min(len(shaping.values), len(fitting.values)) < FEW_ROWS:
        return TargetUncertainty.fit_crossed(
            target.name, shaping.joined(fitting), lower=target.lower
        )
    zeros = float(np.mean(fitting.truths == 0.0)) > _ZERO_SHARE
    return TargetUncertainty.fit(
        target.name,
        shaping,
        fitting,
        zero_inflated=zeros and ZERO_CHANCE in fitting.columns and target.name == "bandgap",
        lower=target.lower,
    )


def _stability_confidence(known: TargetUncertainty, rows: HeldOut) -> ConfidenceModel:
    """Of the score that is made of the distance to the hull."""
    scores = stability_scores(rows.values)
    sigmas = stability_sigmas(scores, known.sigma.predict(rows.columns))
    truths = stability_scores(rows.truths)
    return ConfidenceModel.fit(scores, sigmas, truths, band=GOOD_BANDS[STABILITY])


def _with_difficulty(
    checkpoint: Checkpoint, runner: GraphRunner, training: LabelledGraphs | None
) -> Checkpoint:
    """The checkpoint with what is hard for it; without, where there are no training rows."""
    arrays = {k: v for k, v in checkpoint.arrays.items() if not k.startswith(f"{DIFFICULTY}.")}
    if training is not None:
        outputs = runner.run(training.graphs, dropout_samples=1)
        elements = element_properties()
        found: dict[str, npt.NDArray[Any]] = {}
        for target in checkpoint.header.targets:
            if target.kind == "classification" or target.name not in training.targets:
                continue
            trees = fit_difficulty(
                elements,
                training.graphs,
                outputs.columns(target, training.graphs, arrays),
                np.asarray(training.targets[target.name]) - outputs.value(target),
            )
            found |= {f"{DIFFICULTY}.{target.name}.{k}": v for k, v in trees.items()}
        if found:
            arrays |= found | {ELEMENTS: elements}
    return Checkpoint(header=checkpoint.header, members=checkpoint.members, arrays=arrays)


def _check_apart(first: str, one: LabelledGraphs, second: str, other: LabelledGraphs) -> None:
    shared = set(one.formulas) & set(other.formulas)
    if shared:
        raise InvalidInputError(
            f"{len(shared)} formulas are both in the {first} and in the {second} rows.",
            hint="Divide the rows by reduced formula.",
            code="shared_formulas",
        )


def held_out(
    checkpoint: Checkpoint, target: Target, outputs: GraphOutputs, rows: LabelledGraphs
) -> HeldOut:
    """The rows that have a label of ``target``, with what the networks say of them."""
    every = HeldOut(
        columns=outputs.columns(target, rows.graphs, checkpoint.arrays),
        values=outputs.value(target),
        truths=np.asarray(rows.targets[target.name], dtype=np.float64),
        formulas=rows.formulas,
    )
    return every.select(np.isfinite(every.truths))


def measure(
    checkpoint: Checkpoint,
    rows: LabelledGraphs,
    *,
    source: str,
    n_calibration: Mapping[str, int] | None = None,
) -> dict[str, dict[str, Any]]:
    """Target to what is measured on ``rows``: errors, coverage, ranking, widths.

    Args:
        checkpoint: Calibrated or not.
        rows: Test rows, which shaped nothing.
        source: What the rows are, for the card.
        n_calibration: Target to the number of rows it was calibrated on, for checkpoints that
            do not say so themselves.
    """
    outputs = GraphRunner(checkpoint).run(rows.graphs)
    found: dict[str, dict[str, Any]] = {}
    for target in checkpoint.header.targets:
        if target.name not in rows.targets:
            continue
        tested = held_out(checkpoint, target, outputs, rows)
        if not len(tested.values):
            continue
        if target.kind == "classification":
            found[target.name] = {**_classification(tested), "source": source}
            continue
        found[target.name] = {**_regression(tested), "source": source}
        if target.name not in checkpoint.header.calibration:
            continue
        labelled = np.isfinite(rows.targets[target.name])
        known = TargetUncertainty.from_arrays(
            below(checkpoint.arrays, f"sigma.{target.name}."),
            checkpoint.header.calibration[target.name],
        )
        sigmas = known.sigma.predict(tested.columns)
        band = GOOD_BANDS.get(target.name)
        half = band if band is not None else _RELATIVE_BAND * np.abs(tested.values)
        groups = {kind: np.asarray(names)[labelled].tolist() for kind, names in rows.groups.items()}
        if target.name == "bandgap":
            groups["kind"] = ["metal" if truth == 0 else "insulator" for truth in tested.truths]
        report = evaluate_uncertainty(
            tested.values,
            sigmas,
            tested.truths,
            known.quantiles(tested.values, sigmas, tested.columns),
            n_calibration=known.n_rows or (n_calibration or {})[target.name],
            formulas=tested.formulas,
            groups=groups,
            confidences=known.confidence.predict(tested.values, sigmas),
            good=np.abs(tested.truths - tested.values) < half,
        )
        found[target.name] |= {
            "mae_interval": list(report.mae_interval),
            "coverage": {f"{c.level:g}": c.observed for c in report.coverage},
            "uncertainty": {**report.to_dict(), "method": known.method},
        }
    return found


def _regression(tested: HeldOut) -> dict[str, Any]:
    errors = tested.values - tested.truths
    spread = float(np.var(tested.truths))
    return {
        "n": len(errors),
        "mae": float(np.mean(np.abs(errors))),
        "mse": float(np.mean(errors**2)),
        "r2": 1.0 - float(np.mean(errors**2)) / spread if spread > 0 else None,
    }


def _classification(tested: HeldOut) -> dict[str, Any]:
    from sklearn.metrics import roc_auc_score

    truth = tested.truths > 0.5  # noqa: PLR2004 - labels are 0 and 1
    return {
        "n": len(truth),
        "mae": float(np.mean(np.abs(tested.values - tested.truths))),
        "accuracy": float(np.mean((tested.values > 0.5) == truth)),  # noqa: PLR2004
        "brier": float(np.mean((tested.values - tested.truths) ** 2)),
        "roc_auc": float(roc_auc_score(truth, tested.values)) if 0 < truth.mean() < 1 else None,
    }
