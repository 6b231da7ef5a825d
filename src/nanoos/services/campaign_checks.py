"""What is known of a campaign before anything is spent: whether it can run, and what it takes."""

from itertools import islice
from typing import Any, Final

from nanoos.core.errors import ConfigError, UnavailableError
from nanoos.design.campaign import CampaignConfig
from nanoos.design.simulating import (
    SimulationRequest,
    cross_check_request,
    simulation_request,
    undeliverable,
)
from nanoos.design.spaces import Space, build_space
from nanoos.engines import Engine, get_engine
from nanoos.services.campaign_records import Estimate
from nanoos.services.simulations import SimulationService

_ESTIMATE_SAMPLE: Final = 20
_START_UP_S: Final = 15.0
"""Loading the potential in a fresh worker."""


def check_campaign(config: CampaignConfig) -> Space:
    """Build the space and refuse what could not be simulated.

    Raises:
        ConfigError: the space is empty, or holds elements that the engine does not cover, or the
            simulation does not give what is searched for.
        NotFoundError: an unknown engine, workflow or acquisition function.
        InvalidInputError: parameters of the simulation that do not fit.
        UnavailableError: this machine lacks a program or data.
    """
    from nanoos.design.acquisition import ACQUISITIONS
    from nanoos.services.campaign_policy import uncovered_elements

    space = build_space(config.parameter_space)
    if space.size == 0:
        raise ConfigError(
            "The space is empty: its constraints remove every combination.",
            hint="; ".join(f"{why}: {n}" for why, n in space.excluded.items()) or None,
        )
    ACQUISITIONS.canonical_name(config.bo_config.acquisition_function)
    plans = [
        SimulationService.plan(
            engine=request.engine, workflow=request.workflow, parameters=request.parameters
        )
        for request in _requests(config)
    ]
    if refusals := list(undeliverable(config)):
        raise ConfigError(
            "\n".join(f"{refusal.sentence}." for refusal in refusals),
            hint=" ".join(dict.fromkeys(refusal.hint for refusal in refusals)),
        )
    for lack in lacking(config):
        raise lack
    for plan in plans:
        missing = uncovered_elements(space, plan)
        if missing:
            by = plan.parameters.get("potential") or plan.parameters.get("family")
            raise ConfigError(
                f"{by or plan.engine} does not cover {', '.join(missing)}.",
                hint=f"Add exclude_elements: [{', '.join(missing)}] to parameter_space.",
            )
    return space


def lacking(config: CampaignConfig) -> list[UnavailableError]:
    """What this machine lacks for every simulation of the campaign."""
    found: list[UnavailableError] = []
    for request in _requests(config):
        engine = get_engine(request.engine)()
        found += engine.lacking(engine.validate_parameters(request.asked))
    return found


def estimate_campaign(config: CampaignConfig, *, concurrency: int) -> Estimate:
    """Size, cost, time and what is missing.

    Raises:
        NanoosError: as :func:`check_campaign`, but what is missing is told and not raised.
    """
    lacks: list[UnavailableError] = []
    try:
        check_campaign(config)
    except UnavailableError as error:
        lacks = lacking(config) or [error]
    space = build_space(config.parameter_space)
    request = simulation_request(config.simulation)
    engine = get_engine(request.engine)()
    each_s = _mean_cost_s(engine, request, space)
    simulations = min(config.simulation_budget, space.size)
    baseline = simulations if config.baseline.enabled else 0
    checks = config.cross_check.top if config.cross_check is not None else 0
    total = simulations + baseline + checks
    return Estimate(
        raw_size=space.raw_size,
        size=space.size,
        excluded=space.excluded,
        simulations=simulations,
        baseline_simulations=baseline,
        cross_checks=checks,
        seconds_per_simulation=each_s,
        seconds=None if each_s is None else _START_UP_S + total * each_s / concurrency,
        concurrency=concurrency,
        missing=[f"{lack.message} {lack.hint or ''}".strip() for lack in lacks],
        simulation=f"{request.workflow} of {request.engine}",
        set_aside=request.set_aside,
        cost_note=engine.cost_note,
    )


def _requests(config: CampaignConfig) -> list[SimulationRequest]:
    """The simulation, and that of the cross-check where there is one."""
    check = cross_check_request(config)
    return [simulation_request(config.simulation), *([check] if check is not None else [])]


def _mean_cost_s(engine: Engine[Any], request: SimulationRequest, space: Space) -> float | None:
    """Of one simulation, s; None where what is missing here is needed to say."""
    step = max(1, space.size // _ESTIMATE_SAMPLE)
    try:
        costs = [
            engine.estimate_seconds(point.structure(), request.asked)
            for point in islice(space, 0, None, step)
        ]
    except UnavailableError:
        return None
    return sum(costs) / len(costs)
