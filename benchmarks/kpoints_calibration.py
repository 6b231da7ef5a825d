"""Calibration, figures and card of a k-point model."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

import nanoos
from kpoints_data import Data
from nanoos.features.packed import PackedGraphs
from nanoos.kpoints.answers import Answerer, Card
from nanoos.kpoints.calibration import LEVELS, RawQuantiles, SteppedCalibrator
from nanoos.kpoints.mesh import kdist_from_length, mesh_of
from nanoos.models.domain import DomainModel, fragments, shaken
from nanoos.models.reliability import beta_binomial_interval, bootstrap_mean_interval

STEP_A = 5.0
CRITERION = (
    "total energy within 0.001 eV per cell between successive lengths in steps of 5 Å "
    "(JARVIS-DFT's automatic convergence)"
)
LABEL_CODE = "JARVIS-DFT: VASP, OptB88vdW, automatic length-based meshes"
ATTRIBUTION = "JARVIS-DFT (NIST), DOI 10.1016/j.commatsci.2019.02.006 and 10.1038/s41524-020-00440-1; structures: Materials Project (CC BY 4.0)"
NOTES = (
    (
        "Labels are of compositions: one length for each formula, so polymorphs share it and some "
        "structures carry the label of another polymorph."
    ),
    (
        "A promise of the interval is marginal: it holds over crystals like those calibrated on, not "
        "for each kind of crystal."
    ),
    (
        "Labels are VASP meshes of a length. Other codes, smearings and criteria converge elsewhere: "
        "nanoos converge checks."
    ),
)


def domain_of(data: Data, ordinary: np.ndarray) -> DomainModel:
    train = data.rows("train")
    order = np.random.default_rng(0).permutation(train)
    small = [data.structures[i] for i in order if data.graphs.sizes[i] <= 40][:2500]
    distorted = [*shaken(small, seed=0), *fragments(small[:300], seed=0)]
    return DomainModel.fit(
        data.graphs.select(train),
        PackedGraphs.from_structures(distorted, k=12, cutoff=8.0),
        data.graphs.select(ordinary),
        n_distorted=2500,
    )


def answerer_of(  # noqa: PLR0917
    family: str,
    name: str,
    raw: RawQuantiles,
    data: Data,
    chosen: np.ndarray,
    calibrating: np.ndarray,
    *,
    training: dict[str, str],
    studies: dict[str, int] | None = None,
) -> Answerer:
    train = data.rows("train")
    seen = data.lengths[train]
    calibrator = SteppedCalibrator.fit(
        raw,
        data.lengths[calibrating],
        step=STEP_A,
        lowest=float(seen.min()),
        highest=float(seen.max()),
    )
    descriptions = {
        "RF": "Quantile forest on elements, cell, symmetry and answers of frozen networks.",
        "ALIGNN": "Line graph network with quantile outputs (after Choudhary & DeCost 2021).",
    }
    card = Card(
        name=name,
        version=f"1+{sum(studies.values())}" if studies else "1",
        description=descriptions[family],
        criterion=CRITERION,
        label_code="; ".join(
            [LABEL_CODE, *(f"{n} studies: {code}" for code, n in (studies or {}).items())]
        ),
        dataset={
            "name": data.path.stem,
            "sha256": hashlib.sha256(data.path.read_bytes()).hexdigest(),
            "rows": len(train),
            "attribution": ATTRIBUTION,
        },
        split={
            "method": "composition, as the source gives it",
            "val": f"halved by the SHA-256 of the formula: {len(chosen)} rows choose, "
            f"{len(calibrating)} calibrate",
            "test": "measured once",
        },
        training=training,
        metrics={},
        notes=NOTES,
        code_version=nanoos.__version__,
        created=datetime.now(UTC).date().isoformat(),
    )
    return Answerer(
        family=family, card=card, sha256="", calibrator=calibrator, domain=domain_of(data, chosen)
    )


def measured(answerer: Answerer, raw: RawQuantiles, data: Data, rows: np.ndarray) -> dict:
    """Error, and for each level what the interval is worth."""
    truth = data.lengths[rows]
    error = np.abs(raw.median - truth)
    exact = (data.table["match"].iloc[rows] == "exact").to_numpy()
    formulas = data.table["reduced_formula"].iloc[rows].tolist()
    calibrator = answerer.calibrator
    coverage = []
    for level in LEVELS:
        lower, upper = calibrator.interval(raw, level)
        points = [
            (mesh_of(s, kdist_from_length(u)).n_points, mesh_of(s, kdist_from_length(t)).n_points)
            for s, u, t in zip((data.structures[i] for i in rows), upper, truth, strict=True)
        ]
        coverage.append(
            {
                "level": level,
                "observed": float(np.mean((lower <= truth) & (truth <= upper))),
                "expected": beta_binomial_interval(level, calibrator.n_rows, len(rows)),
                "too_coarse": float(np.mean(truth > upper)),
                "extra_points": float(np.exp(np.mean(np.log([a / b for a, b in points])))),
                "n": len(rows),
            }
        )
    return {
        "n": len(rows),
        "mae_length_a": float(error.mean()),
        "mae_interval": bootstrap_mean_interval(error, formulas),
        "median_baseline_mae_a": float(
            np.abs(truth - np.median(data.lengths[data.rows("train")])).mean()
        ),
        "exact": {
            "n": int(exact.sum()),
            "mae_length_a": float(error[exact].mean()),
            "coverage": {
                f"{level:g}": float(
                    np.mean(
                        [
                            (lo <= t <= up)
                            for lo, up, t in zip(
                                *calibrator.interval(raw, level), truth, strict=True
                            )
                        ],
                        where=exact,
                    )
                )
                for level in LEVELS
            },
        },
        "out_of_domain_share": float(
            np.mean([j.out_of_domain for j in answerer.domain.judge(data.graphs.select(rows))])
        ),
        "coverage": coverage,
    }


def report(title: str, answerer: Answerer, raw: RawQuantiles, data: Data, rows: np.ndarray) -> None:
    print(title, json.dumps(measured(answerer, raw, data, rows), indent=1))


def with_metrics(answerer: Answerer, raw: RawQuantiles, data: Data, rows: np.ndarray) -> Answerer:
    metrics = measured(answerer, raw, data, rows)
    print("test", json.dumps(metrics, indent=1))
    return replace(answerer, card=replace(answerer.card, metrics=metrics))
