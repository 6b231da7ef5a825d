"""What a campaign searches for: its configuration, and how a simulated candidate is judged."""

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nanoos.core.errors import NotFoundError


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetProperty:
    """A property that a simulation gives and a campaign may search for.

    Attributes:
        name: As it stands in a campaign file.
        value_name: Its name among the values of an engine result.
        unit: Its unit.
        label: For plots and tables.
    """

    name: str
    value_name: str
    unit: str
    label: str


TARGET_PROPERTIES: Final[Mapping[str, TargetProperty]] = {
    entry.name: entry
    for entry in (
        TargetProperty(
            name="bulk_modulus", value_name="bulk_modulus_gpa", unit="GPa", label="Bulk modulus"
        ),
        TargetProperty(
            name="formation_energy",
            value_name="formation_energy_ev_per_atom",
            unit="eV/atom",
            label="Formation energy",
        ),
        TargetProperty(
            name="energy",
            value_name="energy_ev_per_atom",
            unit="eV/atom",
            label="Potential energy",
        ),
        TargetProperty(
            name="volume_per_atom",
            value_name="equilibrium_volume_a3_per_atom",
            unit="Å^3/atom",
            label="Volume per atom",
        ),
    )
}


def target_property(name: str) -> TargetProperty:
    """The property called ``name``.

    Raises:
        NotFoundError: no such property; the hint gives the nearest name.
    """
    found = TARGET_PROPERTIES.get(name)
    if found is None:
        near = difflib.get_close_matches(name, TARGET_PROPERTIES, n=1)
        known = "Known: " + ", ".join(TARGET_PROPERTIES) + "."
        raise NotFoundError(
            f"No simulation gives a property named {name!r}.",
            hint=f"Did you mean {near[0]!r}? {known}" if near else known,
        )
    return found


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Constraint(_Closed):
    """Bounds that a candidate must keep; also written as ``formation_energy <= 0 eV/atom``."""

    property: str
    """Name of a property."""
    min: float | None = None
    """Smallest allowed value, in the property's unit."""
    max: float | None = None
    """Largest allowed value, in the property's unit."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        found = re.fullmatch(
            r"\s*(\w+)\s*(<=|>=|<|>)\s*([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)\s*(\S+)?\s*", value
        )
        if found is None:
            message = f"{value!r} is no constraint; write for example 'formation_energy <= 0'"
            raise ValueError(message)
        name, operator, number, unit = found.groups()
        known = TARGET_PROPERTIES.get(name)
        if unit is not None and known is not None and unit != known.unit:
            message = f"{name} is given in {known.unit}, not {unit}"
            raise ValueError(message)
        return {"property": name, "max" if "<" in operator else "min": float(number)}

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.min is None and self.max is None:
            message = "a constraint needs min or max"
            raise ValueError(message)
        return self

    @field_validator("property")
    @classmethod
    def _known(cls, value: str) -> str:
        return _known_property(value)

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies inside the bounds."""
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)

    def __str__(self) -> str:
        unit = TARGET_PROPERTIES[self.property].unit
        if self.min is not None and self.max is not None:
            return f"{self.min:g} <= {self.property} <= {self.max:g} {unit}"
        if self.max is not None:
            return f"{self.property} <= {self.max:g} {unit}"
        return f"{self.property} >= {self.min:g} {unit}"


class SimulationConfig(_Closed):
    """How a candidate is simulated."""

    engine: str = "MLIP"
    """Engine; DFT goes here when it is installed."""
    workflow: str = "equation_of_state"
    """One of the engine's workflows."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """The workflow's parameters."""


class CrossCheckConfig(_Closed):
    """The winners simulated again with another potential."""

    potential: str = "SevenNet"
    """The other potential."""
    top: int = Field(default=5, ge=1, le=50)
    """How many of the best candidates."""


class BOSection(_Closed):
    """Bayesian optimisation."""

    acquisition_function: str = "log_ei"
    """ei, log_ei, ucb, poi or random."""
    n_initial_random: int = Field(default=10, ge=1, le=1000)
    """Candidates of the first batch, spread over the space."""
    batch_size: int = Field(default=4, ge=1, le=100)
    """Candidates of every further batch."""


class ActiveLearningSection(_Closed):
    """Choosing which of the suggested candidates are worth a simulation."""

    enabled: bool = False
    """Whether candidates are chosen by an active-learning strategy instead of the batch rule."""
    strategy: str = "greedy_uncertainty"
    """uncertainty, greedy_uncertainty, expected_improvement or diverse_uncertainty."""
    simulation_budget_per_iteration: int = Field(default=4, ge=1, le=1000)
    """Simulations of one iteration."""
    min_uncertainty: float = Field(default=0.01, ge=0)
    """Candidates predicted better than this, in the target's unit, are not simulated."""
    exploration_weight: float = Field(default=1.0, ge=0)
    """Weight of the uncertainty in the score."""


class BaselineConfig(_Closed):
    """The seeded random search on the same space that the campaign is measured against."""

    enabled: bool = True
    """Whether it runs."""
    seed: int = 1
    """Its seed."""


class CampaignConfig(_Closed):
    """A campaign file."""

    name: str = Field(min_length=1, max_length=200)
    """For people, and for the folder of the report."""
    description: str = ""
    """Why, in a sentence or two; shown in the report."""
    strategy: Literal["bayesian_optimization", "random"] = "bayesian_optimization"
    """How candidates are chosen."""
    target_property: str
    """What is searched for."""
    goal: Literal["min", "max"] | None = None
    """Smallest or largest; either this or target_range."""
    target_range: tuple[float, float] | None = None
    """Lower and upper end of the wanted range, in the property's unit."""
    constraints: list[Constraint] = Field(default_factory=list)
    """What a winner must keep."""
    parameter_space: dict[str, Any]
    """The candidates."""
    simulation: SimulationConfig = SimulationConfig()
    """How a candidate is simulated."""
    cross_check: CrossCheckConfig | None = None
    """The winners with another potential; none if absent."""
    bo_config: BOSection = BOSection()
    """Bayesian optimisation."""
    active_learning: ActiveLearningSection = ActiveLearningSection()
    """Active learning."""
    baseline: BaselineConfig = BaselineConfig()
    """The random search beside it."""
    max_iterations: int = Field(default=1000, ge=1)
    """Batches at most."""
    simulation_budget: int = Field(ge=1, le=1_000_000)
    """Simulations at most, the baseline and the cross-check not counted."""
    seed: int = 0
    """Makes every choice repeatable."""

    @field_validator("target_property")
    @classmethod
    def _known(cls, value: str) -> str:
        return _known_property(value)

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.goal is None) == (self.target_range is None):
            message = "give either goal (min or max) or target_range"
            raise ValueError(message)
        if self.target_range is not None and self.target_range[0] >= self.target_range[1]:
            message = "target_range: the lower end must be below the upper end"
            raise ValueError(message)
        return self

    @property
    def target(self) -> TargetProperty:
        """The property that is searched for."""
        return TARGET_PROPERTIES[self.target_property]


def _known_property(value: str) -> str:
    try:
        return target_property(value).name
    except NotFoundError as error:
        raise ValueError(f"{error.message} {error.hint}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a simulated candidate is worth.

    Attributes:
        value: The target, in its unit.
        feasible: Whether every constraint holds.
        hit: Feasible and, with a target range, inside it.
        score: Larger is better: the value, its negative, or the negative distance to the range;
            minus infinity for a candidate that is not feasible.
    """

    value: float
    feasible: bool
    hit: bool
    score: float


def judge(config: CampaignConfig, values: Mapping[str, float]) -> Judgement | None:
    """Judge the values of a result; None where the target is missing among them."""
    value = values.get(config.target.value_name)
    if value is None or not math.isfinite(value):
        return None
    feasible = all(
        (number := values.get(TARGET_PROPERTIES[c.property].value_name)) is not None
        and c.holds(number)
        for c in config.constraints
    )
    if config.target_range is not None:
        low, high = config.target_range
        distance = max(low - value, value - high, 0.0)
        score, hit = -distance, feasible and distance == 0.0
    else:
        score, hit = (value if config.goal == "max" else -value), feasible
    return Judgement(
        value=value, feasible=feasible, hit=hit, score=score if feasible else -math.inf
    )
