"""Campaigns."""

import uuid
from typing import Any, Literal

from pydantic import AwareDatetime, Field

from nanoos.api.schemas.common import Answer, Body, ErrorRecord
from nanoos.design.campaign import CampaignConfig

CampaignState = Literal["created", "running", "paused", "completed", "failed"]


class CampaignAnswer(Answer):
    """A campaign."""

    id: uuid.UUID
    owner_id: uuid.UUID
    shared: bool
    baseline_id: uuid.UUID | None
    """The random search that runs beside it."""
    name: str
    strategy: str
    config: CampaignConfig
    state: CampaignState
    reason: str | None
    """Why it is in this state."""
    simulation_budget: int
    simulations_used: int
    iterations: int
    waiting: int
    """Simulations that have not ended."""
    best_value: float | None
    """Of the best feasible candidate, in the unit of the target."""
    best_point: str | None
    created_at: AwareDatetime
    finished_at: AwareDatetime | None


class TrajectoryAnswer(Answer):
    """Best feasible value after each simulation, beside the random baseline's."""

    target_property: str
    unit: str
    goal: str | None
    target_range: tuple[float, float] | None
    best: list[float | None]
    values: list[float | None]
    baseline: list[float | None]
    baseline_values: list[float | None]
    hits: list[int]
    iterations: list[dict[str, Any]]


class CandidateAnswer(Answer):
    """A candidate: what was predicted, what came out, why it was chosen."""

    order: int
    iteration: int
    point_key: str
    parameters: dict[str, Any]
    structure_id: uuid.UUID
    simulation_id: uuid.UUID | None
    predicted_value: float | None
    predicted_sigma: float | None
    acquisition_score: float | None
    feasibility: float | None
    reason: str
    state: str
    value: float | None
    value_source: str
    feasible: bool | None
    values: dict[str, float | None] | None
    cross_check_values: dict[str, Any] | None
    error: ErrorRecord | None
    cost_s: float | None


class CandidateList(Answer):
    """Candidates in the order chosen."""

    items: list[CandidateAnswer]
    total: int


class SelectionBody(Body):
    """How to select."""

    strategy: Literal[
        "uncertainty", "greedy_uncertainty", "expected_improvement", "diverse_uncertainty"
    ]
    budget: int = Field(ge=1, le=1000)
    """How many."""


class SelectedAnswer(Answer):
    """A candidate that is worth a simulation now, and why."""

    point_key: str
    structure_id: uuid.UUID
    predicted_value: float
    uncertainty: float
    acquisition_score: float
    reason: str


class SelectionAnswer(Answer):
    """A selection."""

    selected: list[SelectedAnswer]
    total_candidates: int
    selected_count: int
