"""Predictions of a stored structure beside what was simulated for it."""

import re
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from nanoos.core.errors import InvalidInputError, NotFoundError
from nanoos.core.records import LevelOfTheory, PropertyValue
from nanoos.services.access import Principal
from nanoos.services.prediction_records import PredictionRecord, check_level
from nanoos.services.predictions import PredictionService
from nanoos.services.simulated_properties import simulated_properties
from nanoos.services.simulations import Simulation, SimulationService

if TYPE_CHECKING:
    from nanoos.models.comparison import (
        PropertyComparison,
        PropertyQuality,
        PropertySummary,
    )

_MOST_SIMULATIONS: Final = 200
_SYMBOL: Final = re.compile(r"[A-Z][a-z]?")


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureComparison:
    """A prediction beside a simulation of the same structure.

    Attributes:
        structure_id: Of both.
        prediction_id: What was predicted.
        simulation_id: What was simulated.
        model_name: Which model.
        model_version: Its version.
        engine: Which engine.
        workflow: Of the engine.
        comparisons: Property to both numbers and the error.
        summary: Property to the errors and the observed coverage by level.
        overall_quality: The worst of the properties.
        property_quality: Property to verdict.
        recommendations: What to do about it.
        not_compared: Property to why its two numbers are not compared.
    """

    structure_id: uuid.UUID
    prediction_id: uuid.UUID
    simulation_id: uuid.UUID
    model_name: str
    model_version: str
    engine: str
    workflow: str
    comparisons: Mapping[str, "PropertyComparison"]
    summary: Mapping[str, "PropertySummary"]
    overall_quality: str
    property_quality: Mapping[str, "PropertyQuality"]
    recommendations: tuple[str, ...]
    not_compared: Mapping[str, str]


class ComparisonService:
    """Compares stored predictions with stored results. Thread-safe: keeps no state.

    Args:
        predictions: Where predictions are.
        simulations: Where results are.
    """

    def __init__(self, predictions: PredictionService, simulations: SimulationService) -> None:
        self._predictions = predictions
        self._simulations = simulations

    def compare(
        self,
        structure_id: uuid.UUID,
        who: Principal,
        *,
        prediction_id: uuid.UUID | None = None,
        simulation_id: uuid.UUID | None = None,
        level: float = 0.9,
    ) -> StructureComparison:
        """Compare a prediction with a completed simulation of the same structure.

        Args:
            structure_id: Must be visible to ``who``.
            who: Who asks.
            prediction_id: None for the latest.
            simulation_id: None for the newest completed one that has a property in common
                with the prediction.
            level: Of the intervals.

        Raises:
            NotFoundError: no such structure, prediction or completed simulation.
            InvalidInputError: they have nothing in common (``nothing_to_compare``), or what
                they have is of different units or levels of theory (``unlike_quantities``).
        """
        from nanoos.models.comparison import (
            compare_ml_vs_simulation,
            evaluate_prediction_quality,
        )

        check_level(level)
        prediction = self._prediction(structure_id, who, prediction_id)
        simulation, simulated = self._simulation(structure_id, who, simulation_id, prediction)
        elements = elements_of(prediction)
        like, unlike = _divided(prediction.values, simulated, elements)
        if not like and unlike:
            raise InvalidInputError(
                f"Nothing can be compared: {'; '.join(unlike.values())}.",
                hint="Simulate with the functional, corrections and reference of the model.",
                details={"not_compared": unlike},
                code="unlike_quantities",
            )
        compared = compare_ml_vs_simulation(
            {name: _resolved(prediction.values[name], elements) for name in like},
            {name: _resolved(simulated[name], elements) for name in like},
            level=level,
        )
        quality = evaluate_prediction_quality(compared)
        return StructureComparison(
            structure_id=structure_id,
            prediction_id=prediction.id,
            simulation_id=simulation.id,
            model_name=prediction.model_name,
            model_version=prediction.model_version,
            engine=simulation.engine,
            workflow=simulation.workflow,
            comparisons=compared.comparisons[0],
            summary=compared.summary,
            overall_quality=quality.overall_quality,
            property_quality=quality.property_quality,
            recommendations=quality.recommendations,
            not_compared=unlike,
        )

    def _prediction(
        self, structure_id: uuid.UUID, who: Principal, prediction_id: uuid.UUID | None
    ) -> PredictionRecord:
        if prediction_id is None:
            return self._predictions.latest(structure_id, who)
        for record in self._predictions.history(structure_id, who):
            if record.id == prediction_id:
                return record
        raise NotFoundError(
            f"There is no prediction {prediction_id} of structure {structure_id}.",
            hint="GET /api/v1/ml/properties/{structure_id}/history has them.",
        )

    def _simulation(
        self,
        structure_id: uuid.UUID,
        who: Principal,
        simulation_id: uuid.UUID | None,
        prediction: PredictionRecord,
    ) -> tuple[Simulation, dict[str, PropertyValue]]:
        page = self._simulations.page_of_structure(structure_id, who, limit=_MOST_SIMULATIONS)
        completed = [
            (one, simulated_properties(one.values, (one.record or {}).get("provenance", {})))
            for one in page.items
            if one.values is not None and simulation_id in (None, one.id)
        ]
        if not completed:
            raise NotFoundError(
                f"There is no completed simulation of structure {structure_id}"
                + (f" with the id {simulation_id}." if simulation_id else "."),
                hint="Submit one: POST /api/v1/simulations, or 'nanoos simulate'.",
            )
        elements = elements_of(prediction)
        in_common = [one for one in completed if one[1].keys() & prediction.values.keys()]
        comparable = [one for one in in_common if _divided(prediction.values, one[1], elements)[0]]
        return (comparable or in_common or completed)[0]


def _divided(
    predicted: Mapping[str, PropertyValue],
    simulated: Mapping[str, PropertyValue],
    elements: Collection[str],
) -> tuple[list[str], dict[str, str]]:
    """Properties that mean the same in both for such a crystal, and why the others do not."""
    like, unlike = [], {}
    for name in sorted(predicted.keys() & simulated.keys()):
        one, other = predicted[name], simulated[name]
        if one.unit != other.unit:
            unlike[name] = f"{name} is predicted in {one.unit} and simulated in {other.unit}"
        elif name == "fermi_energy" and not _same_zero(one, other):
            unlike[name] = f"{name} has no zero that two codes share"
        elif not _same_level(one.level_of_theory, other.level_of_theory, elements):
            unlike[name] = f"{name} is predicted as {_words(one)} and simulated as {_words(other)}"
        else:
            like.append(name)
    return like, unlike


def _same_level(
    one: LevelOfTheory | None, other: LevelOfTheory | None, elements: Collection[str]
) -> bool:
    """Whether two numbers mean the same; PBE/PBE+U is PBE where no element gets a U."""
    if one is None or other is None:
        return False
    return one == other or one.for_elements(elements) == other.for_elements(elements)


def _same_zero(one: PropertyValue, other: PropertyValue) -> bool:
    """Whether both name one code and set of pseudopotentials, which a Fermi energy hangs on."""
    levels = (one.level_of_theory, other.level_of_theory)
    references = {None if level is None else level.reference for level in levels}
    return len(references) == 1 and not references & {None, "none"}


def _resolved(value: PropertyValue, elements: Collection[str]) -> PropertyValue:
    """The value with the level of theory that it has for such a crystal."""
    theory = value.level_of_theory
    known = None if theory is None else theory.for_elements(elements)
    return replace(value, level_of_theory=known)


def comparable(
    one: PropertyValue, other: PropertyValue, elements: Collection[str], *, name: str = ""
) -> bool:
    """Whether two numbers mean the same: unit, functional, corrections and reference.

    Args:
        one: Of a crystal.
        other: Of the same crystal.
        elements: Its elements, which say whether ``PBE/PBE+U`` has a U.
        name: Property; a Fermi energy is never compared between codes.
    """
    return bool(_divided({name: one}, {name: other}, elements)[0])


def elements_of(record: PredictionRecord) -> frozenset[str]:
    """The elements of what a prediction is of."""
    return frozenset(_SYMBOL.findall(str(record.metadata.get("formula", ""))))


def _words(value: PropertyValue) -> str:
    level = value.level_of_theory
    if level is None:
        return "something unknown"
    return f"{level.functional}, corrections {level.corrections}, reference {level.reference}"
