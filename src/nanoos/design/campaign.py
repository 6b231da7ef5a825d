"""What a campaign searches for: its configuration, and how a simulated candidate is judged."""

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nanoos.core.errors import NotFoundError
from nanoos.design.acquisition import DEFAULT_ACQUISITION
from nanoos.design.objective import Constraint, Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetProperty:
    """A property that a simulation gives and a campaign may search for.

    Attributes:
        name: As it stands in a campaign file.
        value_names: Names that it may have among the values of an engine result, best first.
        unit: Its unit.
        label: For plots and tables.
    """

    name: str
    value_names: tuple[str, ...]
    unit: str
    label: str

    def of(self, values: Mapping[str, Any]) -> float | None:
        """The number among the values of a result; None where it is not there or not finite."""
        for name in self.value_names:
            number = values.get(name)
            if isinstance(number, int | float) and math.isfinite(number):
                return float(number)
        return None


TARGET_PROPERTIES: Final[Mapping[str, TargetProperty]] = {
    entry.name: entry
    for entry in (
        TargetProperty(
            name="bulk_modulus", value_names=("bulk_modulus_gpa",), unit="GPa", label="Bulk modulus"
        ),
        TargetProperty(
            name="formation_energy",
            value_names=("formation_energy_ev_per_atom",),
            unit="eV/atom",
            label="Formation energy",
        ),
        TargetProperty(
            name="energy",
            value_names=("energy_ev_per_atom",),
            unit="eV/atom",
            label="Potential energy",
        ),
        TargetProperty(
            name="volume_per_atom",
            value_names=("equilibrium_volume_a3_per_atom", "volume_a3_per_atom"),
            unit="Å^3/atom",
            label="Volume per atom",
        ),
        TargetProperty(name="band_gap", value_names=("band_gap_ev",), unit="eV", label="Band gap"),
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
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SimulationConfig(_Closed):
    """How a candidate is simulated."""

    engine: str = "MLIP"
    """MLIP (universal potentials), QE (density functional theory) or LAMMPS."""
    workflow: str = "equation_of_state"
    """One of the engine's workflows. ``relax`` moves atoms and cell with MLIP and with QE, the atoms
    alone with ``relax_cell: false``; ``single_point`` is QE's ``scf``."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """The workflow's parameters. Those of MLIP and QE may stand side by side: each takes its own."""


class CrossCheckConfig(_Closed):
    """The winners simulated again with another potential, in a QE campaign by MLIP."""

    potential: str = "SevenNet"
    """The other potential."""
    top: int = Field(default=5, ge=1, le=50)
    """How many of the best candidates."""


class BOSection(_Closed):
    """Bayesian optimisation."""

    acquisition_function: str = DEFAULT_ACQUISITION
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
    """What a winner must keep: ``formation_energy <= 0 eV/atom``."""
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

    @field_validator("constraints", mode="before")
    @classmethod
    def _constraints_from_text(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return [parse_constraint(entry) if isinstance(entry, str) else entry for entry in value]

    @field_validator("constraints")
    @classmethod
    def _known_quantities(cls, value: list[Constraint]) -> list[Constraint]:
        for constraint in value:
            _known_property(constraint.quantity)
        return value

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        _ = self.objective  # which refuses what is neither a goal nor a range
        return self

    @property
    def objective(self) -> Objective:
        """What the campaign is after, quantities by property name."""
        return Objective(
            target_property=self.target_property,
            goal=self.goal,
            target_range=self.target_range,
            constraints=tuple(self.constraints),
            unit=self.target.unit,
        )

    @property
    def target(self) -> TargetProperty:
        """The property that is searched for."""
        return TARGET_PROPERTIES[self.target_property]

    @property
    def constraint_texts(self) -> list[str]:
        """The constraints as sentences with units: ``formation_energy <= 0.05 eV/atom``."""
        return [f"{c} {TARGET_PROPERTIES[c.quantity].unit}" for c in self.constraints]


def _known_property(value: str) -> str:
    try:
        return target_property(value).name
    except NotFoundError as error:
        raise ValueError(f"{error.message} {error.hint}") from error


def parse_constraint(text: str) -> dict[str, Any]:
    """``formation_energy <= 0.1 eV/atom`` in parts; the unit may be left out.

    Raises:
        ValueError: not of this form, or in another unit than the property's.
    """
    found = re.fullmatch(
        r"\s*(\w+)\s*(<=|>=)\s*([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)\s*(\S+)?\s*", text
    )
    if found is None:
        message = f"{text!r} is no constraint; write for example 'formation_energy <= 0'"
        raise ValueError(message)
    name, operator, number, unit = found.groups()
    known = TARGET_PROPERTIES.get(name)
    if unit is not None and known is not None and unit != known.unit:
        message = f"{name} is given in {known.unit}, not {unit}"
        raise ValueError(message)
    return {"quantity": name, "op": operator, "bound": float(number)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a simulated candidate is worth.

    Attributes:
        value: The target, in its unit.
        feasible: Whether every constraint holds.
        hit: Feasible and, with a target range, inside it.
        score: Larger is better, see :meth:`Objective.merit`; minus infinity if not feasible.
    """

    value: float
    feasible: bool
    hit: bool
    score: float


def observed(values: Mapping[str, float]) -> dict[str, float]:
    """The properties among the values of an engine result, by property name."""
    return {
        name: number
        for name, entry in TARGET_PROPERTIES.items()
        if (number := entry.of(values)) is not None
    }


def judge(config: CampaignConfig, values: Mapping[str, float]) -> Judgement | None:
    """Judge the values of a result; None where the target is missing among them."""
    quantities = observed(values)
    value = quantities.get(config.target_property)
    if value is None:
        return None
    objective = config.objective
    feasible = objective.feasible(quantities)
    in_range = config.target_range is None or bool(objective.hits([value])[0])
    return Judgement(
        value=value,
        feasible=feasible,
        hit=feasible and in_range,
        score=float(objective.merit([value])[0]) if feasible else -math.inf,
    )
