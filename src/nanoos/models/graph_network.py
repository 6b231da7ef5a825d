"""CGCNN and ALIGNN as property models: networks, calibrated uncertainty, check of the domain."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.core.records import LevelOfTheory, Prediction, PropertyValue, Provenance
from nanoos.features.packed import PackedGraphs
from nanoos.models.base import ModelInfo, TestError
from nanoos.models.checkpoints import (
    Checkpoint,
    Header,
    Target,
    load_checkpoint,
    read_header,
    shipped_checkpoints,
)
from nanoos.structures import Structure
from nanoos.structures.elements import ATOMIC_NUMBERS

MAX_ATOMIC_NUMBER: Final = 103
CHUNK_ATOMS: Final = 20_000
"""Graphs are built and predicted for about this many atoms at a time, so memory stays flat."""

STABILITY_SCALE_EV: Final = 0.1
"""Of the stability score exp(-max(0, e_above_hull) / 0.1 eV/atom)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """Predictions of one property for n structures."""

    target: Target
    values: npt.NDArray[np.float64]
    sigmas: npt.NDArray[np.float64] | None = None
    quantiles: Mapping[float, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]] | None = None
    confidences: npt.NDArray[np.float64] | None = None
    outside: npt.NDArray[np.bool_] | None = None

    def at(self, row: int) -> PropertyValue:
        quantiles = self.quantiles or {}
        return PropertyValue(
            value=float(self.values[row]),
            unit=self.target.unit,
            sigma=None if self.sigmas is None else float(self.sigmas[row]),
            quantiles={
                level: (float(lower[row]), float(upper[row]))
                for level, (lower, upper) in quantiles.items()
            },
            confidence=None if self.confidences is None else float(self.confidences[row]),
            out_of_domain=None if self.outside is None else bool(self.outside[row]),
            level_of_theory=self.target.level_of_theory,
        )


class CheckpointPredictor:
    """One checkpoint, loaded: predicts all its targets with what uncertainty it carries.

    Keeps no state between calls.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Load networks, sigma models and the domain check of ``checkpoint``."""
        from nanoos.models.domain import DomainModel
        from nanoos.models.graph_outputs import GraphRunner
        from nanoos.models.target_uncertainty import TargetUncertainty

        self.header: Header = checkpoint.header
        self.arrays = checkpoint.arrays
        self.runner = GraphRunner(checkpoint)
        self.uncertainty = {
            name: TargetUncertainty.from_arrays(below(checkpoint.arrays, f"sigma.{name}."), data)
            for name, data in checkpoint.header.calibration.items()
        }
        self.domain = (
            DomainModel.from_arrays(below(checkpoint.arrays, "domain."), checkpoint.header.domain)
            if checkpoint.header.domain
            else None
        )

    def predict(self, graphs: PackedGraphs) -> tuple[list[_Column], list[tuple[str, ...]]]:
        """A column for each target, and why each structure is outside the domain (or not)."""
        outputs = self.runner.run(graphs)
        reasons: list[tuple[str, ...]] = [()] * len(graphs)
        widening = np.ones(len(graphs))
        outside = None
        if self.domain is not None:
            judged = self.domain.judge(graphs, outputs.pooled)
            reasons = [one.reasons for one in judged]
            widening = np.array([one.inflation for one in judged])
            outside = np.array([one.out_of_domain for one in judged])
        columns = []
        for target in self.header.targets:
            values = outputs.value(target)
            known = self.uncertainty.get(target.name)
            if known is None:
                columns.append(_Column(target=target, values=values, outside=outside))
                continue
            seen = outputs.columns(target, graphs, self.arrays)
            sigmas = known.sigma.predict(seen) * widening
            columns.append(
                _Column(
                    target=target,
                    values=values,
                    sigmas=sigmas,
                    quantiles=known.quantiles(values, sigmas, seen),
                    confidences=known.confidence.predict(values, sigmas),
                    outside=outside,
                )
            )
        columns += [_stability(column) for column in columns if column.target.name == _HULL]
        return columns, reasons


_HULL: Final = "e_above_hull_subset"


def _stability(hull: _Column) -> _Column:
    """The stability score from the distance to the hull; it falls as the distance grows."""

    def score(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(np.exp(-np.maximum(values, 0.0) / STABILITY_SCALE_EV))

    values = score(hull.values)
    return _Column(
        target=Target(
            name="stability_score",
            unit="1",
            lower=0.0,
            level_of_theory=hull.target.level_of_theory,
        ),
        values=values,
        sigmas=None if hull.sigmas is None else values * hull.sigmas / STABILITY_SCALE_EV,
        quantiles=None
        if hull.quantiles is None
        else {level: (score(up), score(low)) for level, (low, up) in hull.quantiles.items()},
        outside=hull.outside,
    )


class GraphNetworkModel:
    """A family of networks, each of its properties from one checkpoint.

    Args:
        files: Checkpoints; where two predict a property, the first does. None for those
            shipped in the package.
    """

    family: ClassVar[str]
    description: ClassVar[str]

    def __init__(self, files: Sequence[Path] | None = None) -> None:
        if files is None:
            files = [p for p in shipped_checkpoints() if read_header(p).family == self.family]
        self.files = tuple(files)

    @cached_property
    def headers(self) -> tuple[Header, ...]:
        """Of the checkpoints, in order."""
        return tuple(read_header(path) for path in self.files)

    @cached_property
    def weights_sha256(self) -> str:
        """Hash over the hashes of the checkpoints, in order."""
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in self.files]
        return hashlib.sha256(" ".join(digests).encode()).hexdigest()

    @cached_property
    def predictors(self) -> tuple[CheckpointPredictor, ...]:
        """The checkpoints, loaded."""
        return tuple(CheckpointPredictor(load_checkpoint(path)) for path in self.files)

    def info(self) -> ModelInfo:
        """What the model is; reads headers only."""
        available = bool(self.files)
        errors: dict[str, tuple[TestError, ...]] = {}
        calibration: dict[str, Mapping[float, float]] = {}
        levels: dict[str, LevelOfTheory] = {}
        for header in self.headers:
            for target in header.targets:
                if target.level_of_theory is not None:
                    levels.setdefault(target.name, target.level_of_theory)
                measured = header.metrics.get(target.name)
                if measured is None or target.name in errors:
                    continue
                errors[target.name] = (_test_error(measured, target),)
                calibration[target.name] = {
                    float(level): share for level, share in measured.get("coverage", {}).items()
                }
        return ModelInfo(
            name=self.family,
            version=self.version,
            available=available,
            description=self.description,
            supported_properties=self._properties(),
            weights_sha256=self.weights_sha256 if available else None,
            test_error=errors,
            calibration=calibration,
            level_of_theory=levels,
            notes=tuple(dict.fromkeys(note for h in self.headers for note in h.notes)),
            license=self.headers[0].license if available else None,
            unavailable_reason=None if available else "no checkpoint is on this machine",
            install_command=None if available else "nanoos train CONFIG.yaml",
        )

    @property
    def version(self) -> str:
        """Of the first checkpoint."""
        return self.headers[0].version if self.headers else ""

    def _properties(self) -> tuple[str, ...]:
        names = dict.fromkeys(t.name for header in self.headers for t in header.targets)
        if _HULL in names:
            names["stability_score"] = None
        return tuple(names)

    def predict(
        self, structures: Sequence[Structure], *, ids: Sequence[str] | None = None
    ) -> list[Prediction]:
        """All properties of each structure as given, with intervals where calibrated.

        Raises:
            InvalidInputError: an element beyond Lr; code ``unknown_element``.
        """
        del ids
        for structure in structures:
            check_elements(structure)
        predictions: list[Prediction] = []
        for chunk in _chunks(structures):
            predictions += self._predict_chunk(chunk)
        return predictions

    def _predict_chunk(self, structures: Sequence[Structure]) -> list[Prediction]:
        properties: list[dict[str, PropertyValue]] = [{} for _ in structures]
        outside: list[dict[str, None]] = [{} for _ in structures]
        graphs: dict[tuple[int, float], PackedGraphs] = {}
        for predictor in self.predictors:
            key = (predictor.runner.k, predictor.runner.cutoff)
            if key not in graphs:
                graphs[key] = PackedGraphs.from_structures(structures, k=key[0], cutoff=key[1])
            columns, reasons = predictor.predict(graphs[key])
            for row, found in enumerate(properties):
                outside[row] |= dict.fromkeys(reasons[row])
                for column in columns:
                    found.setdefault(column.target.name, column.at(row))
        info = self.info()
        provenance = Provenance(
            producer=self.family, version=self.version, weights_sha256=self.weights_sha256
        )
        return [
            Prediction(
                properties=found,
                provenance=provenance,
                notes=info.notes + tuple(f"Outside the domain: {reason}." for reason in reasons),
            )
            for found, reasons in zip(properties, outside, strict=True)
        ]


class CGCNNModel(GraphNetworkModel):
    """Our CGCNN checkpoints."""

    family = "CGCNN"
    description = (
        "Crystal graph convolutional networks (Xie & Grossman 2018) trained here, with calibrated "
        "intervals."
    )


class ALIGNNModel(GraphNetworkModel):
    """Our ALIGNN checkpoints."""

    family = "ALIGNN"
    description = (
        "Line graph networks (after Choudhary & DeCost 2021) trained here, with calibrated "
        "intervals."
    )


def check_elements(structure: Structure) -> None:
    """Refuse elements that the networks have no vector for.

    Raises:
        InvalidInputError: code ``unknown_element``.
    """
    beyond = sorted(s for s in set(structure.species) if ATOMIC_NUMBERS[s] > MAX_ATOMIC_NUMBER)
    if beyond:
        raise InvalidInputError(
            f"{structure.formula}: no model knows {', '.join(beyond)}.",
            hint="The networks cover H to Lr.",
            code="unknown_element",
        )


def below(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays whose names start with ``prefix``, without it."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def _chunks(structures: Sequence[Structure]) -> list[list[Structure]]:
    chunks: list[list[Structure]] = [[]]
    atoms = 0
    for structure in structures:
        if atoms + structure.n_sites > CHUNK_ATOMS and chunks[-1]:
            chunks.append([])
            atoms = 0
        chunks[-1].append(structure)
        atoms += structure.n_sites
    return chunks if chunks[0] else []


def _test_error(measured: Mapping[str, Any], target: Target) -> TestError:
    return TestError(
        mae=measured["mae"],
        unit=target.unit,
        n=measured.get("n"),
        source=measured.get("source", "held-out compositions"),
        seen_in_training=False,
    )
