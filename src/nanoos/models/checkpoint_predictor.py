"""One checkpoint of graph networks, loaded: its targets with what uncertainty it carries."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from nanoos.core.records import PropertyValue
from nanoos.features.packed import PackedGraphs
from nanoos.models.checkpoints import Checkpoint, Header, Target, load_checkpoint

if TYPE_CHECKING:
    from nanoos.models.bonding import Surroundings
    from nanoos.models.graph_outputs import GraphOutputs

FloatArray = npt.NDArray[np.float64]

STABILITY_SCALE_EV: Final = 0.1
"""Of the stability score exp(-max(0, e_above_hull) / 0.1 eV/atom)."""

HULL: Final = "e_above_hull_subset"
STABILITY: Final = "stability_score"

_KEPT: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Predictions of one property for n structures."""

    target: Target
    values: FloatArray
    sigmas: FloatArray | None = None
    quantiles: Mapping[float, tuple[FloatArray, FloatArray]] | None = None
    confidences: FloatArray | None = None
    outside: npt.NDArray[np.bool_] | None = None

    def rows(self) -> list[PropertyValue]:
        """The prediction of each structure."""
        count = len(self.values)
        quantiles = self.quantiles or {}
        levels = tuple(quantiles)
        bounds = [
            list(zip(lower.tolist(), upper.tolist(), strict=True))
            for lower, upper in quantiles.values()
        ]
        return [
            PropertyValue(
                value=value,
                unit=self.target.unit,
                sigma=sigma,
                quantiles=dict(zip(levels, row, strict=True)),
                confidence=confidence,
                out_of_domain=outside,
                level_of_theory=self.target.level_of_theory,
            )
            for value, sigma, row, confidence, outside in zip(
                self.values.tolist(),
                _listed(self.sigmas, count),
                zip(*bounds, strict=True) if bounds else [()] * count,
                _listed(self.confidences, count),
                _listed(self.outside, count),
                strict=True,
            )
        ]


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

    def predict(self, graphs: PackedGraphs) -> tuple[list[Column], list[tuple[str, ...]]]:
        """A column for each target, and why each structure is outside the domain (or not)."""
        return self.judged(graphs, self.runner.run(graphs))

    def judged(
        self,
        graphs: PackedGraphs,
        outputs: "GraphOutputs",
        surroundings: "Surroundings | None" = None,
    ) -> tuple[list[Column], list[tuple[str, ...]]]:
        """As :meth:`predict`, from what the networks say of ``graphs``.

        Args:
            graphs: The structures.
            outputs: Of the networks.
            surroundings: Of ``graphs``, where they are known already.
        """
        from nanoos.models.graph_outputs import ELEMENT_COUNTS, composition_columns

        reasons: list[tuple[str, ...]] = [()] * len(graphs)
        widening = np.ones(len(graphs))
        outside = None
        if self.domain is not None:
            judged = self.domain.judge(graphs, outputs.pooled, surroundings=surroundings)
            reasons = [one.reasons for one in judged]
            widening = np.array([one.inflation for one in judged])
            outside = np.array([one.out_of_domain for one in judged])
        counts = self.arrays.get(ELEMENT_COUNTS)
        composition = composition_columns(graphs, counts) if self.uncertainty else {}
        columns = []
        for target in self.header.targets:
            values = outputs.value(target)
            known = self.uncertainty.get(target.name)
            if known is None:
                columns.append(Column(target=target, values=values, outside=outside))
                continue
            seen = outputs.columns(target, graphs, self.arrays, composition=composition)
            sigmas = known.sigma.predict(seen) * widening
            columns.append(
                Column(
                    target=target,
                    values=values,
                    sigmas=sigmas,
                    quantiles=known.quantiles(values, sigmas, seen),
                    confidences=known.confidence.predict(values, sigmas),
                    outside=outside,
                )
            )
        columns += [
            _stability(column, self.header.calibration.get(HULL, {}).get(STABILITY))
            for column in columns
            if column.target.name == HULL
        ]
        return columns, reasons


class LoadedCheckpoints:
    """The checkpoints used last, by the hash of their file. Thread-safe.

    Args:
        kept: How many stay in memory.
    """

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._loaded: OrderedDict[str, CheckpointPredictor] = OrderedDict()

    def get(self, path: Path, sha256: str) -> CheckpointPredictor:
        """The checkpoint in ``path``, whose hash is ``sha256``; read only where it is not kept.

        Raises:
            InvalidInputError: not a checkpoint of ours.
        """
        with self._lock:
            found = self._loaded.get(sha256)
            if found is None:
                found = CheckpointPredictor(load_checkpoint(path))
                self._loaded[sha256] = found
            self._loaded.move_to_end(sha256)
            while len(self._loaded) > self._kept:
                self._loaded.popitem(last=False)
            return found


LOADED: Final = LoadedCheckpoints()
"""Those of this process."""


def stability_scores(distances: FloatArray) -> FloatArray:
    """(n,), from distances to the hull (n,), eV/atom."""
    return np.asarray(np.exp(-np.maximum(distances, 0.0) / STABILITY_SCALE_EV))


def stability_sigmas(scores: FloatArray, sigmas: FloatArray) -> FloatArray:
    """(n,), of ``scores`` (n,), from those of the distances (n,), eV/atom."""
    return scores * sigmas / STABILITY_SCALE_EV


def _stability(hull: Column, confidence: Mapping[str, Any] | None) -> Column:
    """The stability score from the distance to the hull; it falls as the distance grows."""
    from nanoos.models.sigma import ConfidenceModel

    values = stability_scores(hull.values)
    sigmas = None if hull.sigmas is None else stability_sigmas(values, hull.sigmas)
    return Column(
        target=Target(
            name=STABILITY, unit="1", lower=0.0, level_of_theory=hull.target.level_of_theory
        ),
        values=values,
        sigmas=sigmas,
        quantiles=None
        if hull.quantiles is None
        else {
            level: (stability_scores(up), stability_scores(low))
            for level, (low, up) in hull.quantiles.items()
        },
        confidences=None
        if confidence is None or sigmas is None
        else ConfidenceModel.from_dict(confidence).predict(values, sigmas),
        outside=hull.outside,
    )


def _listed(column: npt.NDArray[Any] | None, count: int) -> list[Any]:
    return [None] * count if column is None else column.tolist()


def below(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays whose names start with ``prefix``, without it."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
