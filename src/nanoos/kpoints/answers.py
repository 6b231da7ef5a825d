"""From raw quantiles of a length to predictions: calibration, domain, meshes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isclose
from typing import Any, Self

import numpy as np

from nanoos.core.errors import InvalidInputError
from nanoos.features.packed import PackedGraphs
from nanoos.kpoints.base import (
    CONSERVATIVE,
    KpointModelInfo,
    KpointPrediction,
    MeasuredCoverage,
)
from nanoos.kpoints.calibration import RawQuantiles, SteppedCalibrator
from nanoos.kpoints.mesh import kdist_from_length, mesh_from_kdist, vacuum_directions
from nanoos.models.conformal import FloatArray
from nanoos.models.domain import DomainJudgement, DomainModel
from nanoos.structures import Structure
from nanoos.structures.elements import ATOMIC_NUMBERS

MAX_ATOMIC_NUMBER = 103
LARGEST_CELL = 108
"""Atoms of the largest cell that the models learnt from; none of those cells holds vacuum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What stands on the card of a k-point model.

    Attributes:
        name: Of the weights, ``kpoints_rf``.
        version: Of the weights.
        description: For people.
        criterion: What its labels call converged.
        label_code: Program and calculation behind the labels.
        dataset: Name, hash, rows, attribution.
        split: How rows were held out.
        training: How it was made.
        metrics: Errors on held-out compositions; ``coverage``: a list, one for each level.
        notes: Sentences to read beside the numbers.
        license: Of the weights.
        code_version: Of nanoos when it was made.
        created: ISO date.
    """

    name: str
    version: str
    description: str
    criterion: str
    label_code: str
    dataset: Mapping[str, Any]
    split: Mapping[str, Any]
    training: Mapping[str, Any]
    metrics: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    license: str = "MIT"
    code_version: str = ""
    created: str = ""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From JSON types."""
        return cls(**{**data, "notes": tuple(data["notes"])})

    @property
    def coverage(self) -> tuple[MeasuredCoverage, ...]:
        """Measured of each level; empty where nothing was."""
        return tuple(MeasuredCoverage.from_dict(one) for one in self.metrics.get("coverage", ()))

    def info(self, family: str, sha256: str) -> KpointModelInfo:
        """As a family of models tells it."""
        return KpointModelInfo(
            name=family,
            version=self.version,
            available=True,
            description=self.description,
            criterion=self.criterion,
            label_code=self.label_code,
            weights=self.name,
            dataset=self.dataset,
            split=self.split,
            training=self.training,
            license=self.license,
            weights_sha256=sha256,
            test_error={k: v for k, v in self.metrics.items() if k != "coverage"},
            coverage=self.coverage,
            notes=self.notes,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answerer:
    """Turns raw quantiles into predictions.

    Attributes:
        family: ``RF``.
        card: Of the weights.
        sha256: Of their file.
        calibrator: Of the intervals.
        domain: Says which structures are unlike those learnt from.
    """

    family: str
    card: Card
    sha256: str
    calibrator: SteppedCalibrator
    domain: DomainModel

    def answer(
        self,
        structures: Sequence[Structure],
        graphs: PackedGraphs,
        raw: RawQuantiles,
        confidence: float,
    ) -> list[KpointPrediction]:
        """One prediction for each structure.

        Args:
            structures: As given.
            graphs: Theirs.
            raw: Of their lengths, Å.
            confidence: A calibrated level.
        """
        judged = [
            _with_cell(judgement, structure)
            for judgement, structure in zip(self.domain.judge(graphs), structures, strict=True)
        ]
        outside = np.array([one.out_of_domain for one in judged])
        widening = np.array([one.inflation for one in judged])
        lower, upper = self.calibrator.interval(raw, confidence)
        wide = self.calibrator.interval(raw, CONSERVATIVE, widening)
        lower, upper = (
            np.where(outside, far, own) for far, own in zip(wide, (lower, upper), strict=True)
        )
        median = np.clip(raw.median, lower, upper)
        return [
            self._one(structure, lengths, judgement, confidence)
            for structure, lengths, judgement in zip(
                structures, np.stack([lower, median, upper], axis=1), judged, strict=True
            )
        ]

    def _one(
        self,
        structure: Structure,
        lengths: FloatArray,
        judgement: DomainJudgement,
        confidence: float,
    ) -> KpointPrediction:
        shortest, median, longest = (kdist_from_length(float(length)) for length in lengths)
        vacuum = vacuum_directions(structure)
        level = CONSERVATIVE if judgement.out_of_domain else confidence
        return KpointPrediction(
            model=self.family,
            version=self.card.version,
            weights_sha256=self.sha256,
            level=confidence,
            interval_level=level,
            kdist=median,
            kdist_lower=longest,
            kdist_upper=shortest,
            mesh=mesh_from_kdist(structure.lattice, longest, vacuum=vacuum),
            mesh_median=mesh_from_kdist(structure.lattice, median, vacuum=vacuum),
            coverage=None
            if judgement.out_of_domain
            else next((c for c in self.card.coverage if isclose(c.level, level)), None),
            out_of_domain=judgement.out_of_domain,
            reasons=judgement.reasons,
            criterion=self.card.criterion,
        )


def _with_cell(judgement: DomainJudgement, structure: Structure) -> DomainJudgement:
    """The judgement of bonds and elements, and what the cell adds to its reasons.

    A cell of another kind gets the careful interval; nothing says that it should be wider.
    """
    words = []
    along = [n for n, empty in zip("abc", vacuum_directions(structure), strict=True) if empty]
    if along:
        words.append(f"vacuum along {', '.join(along)}: the training set has none")
    if structure.n_sites > LARGEST_CELL:
        words.append(
            f"{structure.n_sites} atoms: the largest cell of the training set has {LARGEST_CELL}"
        )
    return replace(judgement, reasons=(*judgement.reasons, *words)) if words else judgement


def check_elements(structures: Sequence[Structure]) -> None:
    """Refuse elements beyond Lr. Raises InvalidInputError; code ``unknown_element``."""
    for structure in structures:
        beyond = sorted(s for s in set(structure.species) if ATOMIC_NUMBERS[s] > MAX_ATOMIC_NUMBER)
        if beyond:
            raise InvalidInputError(
                f"{structure.formula}: no k-point model knows {', '.join(beyond)}.",
                hint="The models cover H to Lr.",
                code="unknown_element",
            )
