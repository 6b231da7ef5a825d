"""One turn of the loop as pure functions: the caller brings the simulator, nothing is stored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import CancelledError, NanoosError
from nanoos.design.active import (
    ALCandidate,
    ALConfig,
    SimulationBudget,
    classify_confidence,
    select_candidates_for_simulation,
)
from nanoos.design.proposal import Observations, Proposal, propose
from nanoos.design.settings import BOConfig

Simulate = Callable[[str], Mapping[str, float]]
"""Key to values; raises a NanoosError where the simulation fails."""

Predict = Callable[[Sequence[str]], Sequence[tuple[float, float]]]
"""Keys to (value, standard deviation) of the target property, one for each key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignIteration:
    """What one iteration did.

    Attributes:
        iteration: Number, from 0.
        simulated: Keys in the order they were simulated, failed ones included.
        observations: All observations so far, this iteration included.
        failures: Key to what went wrong.
        best: Best value so far that satisfies the constraints.
        candidates_ml_predicted: Candidates that got a prediction.
        candidates_simulated: Simulations done, failed ones included.
        simulation_budget_used: Over the campaign; equal to ``candidates_simulated`` here where
            no budget was given.
        active_learning_stats: Counts and means; empty without active learning.
        proposal: The proposal, where Bayesian optimisation chose.
        selected: The selection, where active learning chose.
    """

    iteration: int
    simulated: tuple[str, ...]
    observations: Observations
    failures: Mapping[str, str]
    best: float | None
    candidates_ml_predicted: int
    candidates_simulated: int
    simulation_budget_used: int
    active_learning_stats: Mapping[str, float] = field(default_factory=dict)
    proposal: Proposal | None = None
    selected: tuple[ALCandidate, ...] = ()


def run_design_iteration(
    keys: Sequence[str],
    descriptors: npt.ArrayLike,
    observations: Observations,
    *,
    config: BOConfig,
    simulate: Simulate,
    seed: int = 0,
    iteration: int = 0,
    budget: SimulationBudget | None = None,
) -> DesignIteration:
    """Propose a batch, simulate it, return everything known after it.

    A simulation that raises a :class:`NanoosError` is recorded as failed; cancelling and
    programming errors pass through.

    Args:
        keys: (n,) the points of the space.
        descriptors: (n, d).
        observations: So far.
        config: How to choose.
        simulate: Runs one point.
        seed: Of the campaign.
        iteration: Number, from 0.
        budget: Shortens the batch where less is left.
    """
    wanted = config.batch_size
    if budget is not None:
        wanted = min(wanted, budget.available)
    proposal = propose(
        keys,
        descriptors,
        observations,
        config=config,
        seed=seed,
        iteration=iteration,
        n_suggestions=wanted,
    )
    chosen = [choice.key for choice in proposal.chosen]
    known, failures = _simulate_all(chosen, observations, simulate)
    return DesignIteration(
        iteration=iteration,
        simulated=tuple(chosen),
        observations=known,
        failures=failures,
        best=config.objective.best([v for v in known.values() if v is not None]),
        candidates_ml_predicted=proposal.n_predicted,
        candidates_simulated=len(chosen),
        simulation_budget_used=len(chosen) + (budget.used if budget else 0),
        proposal=proposal,
    )


def run_design_iteration_with_al(
    keys: Sequence[str],
    descriptors: npt.ArrayLike,
    observations: Observations,
    *,
    config: BOConfig,
    al_config: ALConfig,
    predict: Predict,
    simulate: Simulate,
    budget: SimulationBudget,
    iteration: int = 0,
) -> DesignIteration:
    """Predict every open candidate with a model, simulate those worth it, within the budget.

    Args:
        keys: (n,) the points of the space.
        descriptors: (n, d), used for diversity.
        observations: So far.
        config: The target property, goal and constraints; a target range is not served here.
        al_config: Which predictions are worth a simulation. Its goal is taken from ``config``.
        predict: The model, refitted by the caller between iterations.
        simulate: Runs one point.
        budget: Of the campaign; the smaller of it and ``al_config.budget`` holds.
        iteration: Number, from 0.
    """
    settings = al_config.model_copy(update={"goal": config.goal or "max"})
    x = np.asarray(descriptors, dtype=np.float64)
    rows = {key: i for i, key in enumerate(keys)}
    open_keys = [key for key in keys if key not in observations]
    candidates = [
        ALCandidate(
            structure_id=key,
            predicted_value=value,
            predicted_uncertainty=sigma,
            features=tuple(x[rows[key]].tolist()),
        )
        for key, (value, sigma) in zip(open_keys, predict(open_keys), strict=True)
    ]
    selected = select_candidates_for_simulation(
        candidates,
        min(settings.budget, budget.available),
        settings.strategy,
        best=config.objective.best([v for v in observations.values() if v is not None]),
        config=settings,
    )
    chosen = [c.structure_id for c in selected]
    known, failures = _simulate_all(chosen, observations, simulate)
    sure = classify_confidence(candidates, threshold=settings.min_uncertainty)
    sigmas = [c.predicted_uncertainty for c in candidates]
    return DesignIteration(
        iteration=iteration,
        simulated=tuple(chosen),
        observations=known,
        failures=failures,
        best=config.objective.best([v for v in known.values() if v is not None]),
        candidates_ml_predicted=len(candidates),
        candidates_simulated=len(chosen),
        simulation_budget_used=budget.used + len(chosen),
        active_learning_stats={
            "high_confidence": len(sure["high"]),
            "low_confidence": len(sure["low"]),
            "mean_uncertainty": float(np.mean(sigmas)) if sigmas else 0.0,
            "mean_uncertainty_selected": (
                float(np.mean([c.predicted_uncertainty for c in selected])) if selected else 0.0
            ),
        },
        selected=tuple(selected),
    )


def _simulate_all(
    chosen: Sequence[str], observations: Observations, simulate: Simulate
) -> tuple[dict[str, Mapping[str, float] | None], dict[str, str]]:
    known: dict[str, Mapping[str, float] | None] = dict(observations)
    failures: dict[str, str] = {}
    for key in chosen:
        try:
            known[key] = dict(simulate(key))
        except CancelledError:
            raise
        except NanoosError as error:
            known[key] = None
            failures[key] = error.message
    return known, failures
