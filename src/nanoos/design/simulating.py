"""What a campaign asks of an engine, so that one line changes the engine.

A campaign file says ``relax`` or ``single_point`` and means the same with a universal potential
(MLIP) and with density functional theory (QE), whose own names differ; parameters of both may stand
side by side, and each engine takes its own. What the campaign searches for must be among what the
work gives, which is known before anything is spent.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from nanoos.core.errors import InvalidInputError, NanoosError
from nanoos.design.campaign import TARGET_PROPERTIES, CampaignConfig, SimulationConfig

Location = tuple[str | int, ...]

_OTHER: Final[Mapping[str, str]] = {"MLIP": "QE", "QE": "MLIP"}
"""Engines that a campaign may change between, one for the other."""
_WORKFLOWS: Final[Mapping[str, Mapping[str, str]]] = {
    "MLIP": {"scf": "single_point", "vc_relax": "relax"},
    "QE": {"single_point": "scf", "relax": "vc_relax"},
}
"""What an engine calls the work that the other one calls so."""
_RELAX_CELL: Final = "relax_cell"
_MOST_NAMED: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationRequest:
    """What an engine is asked for.

    Attributes:
        engine: Canonical name.
        workflow: In the engine's own words.
        parameters: Those that the engine knows, and those that nobody knows.
        set_aside: Names of parameters that belong to the other engine.
    """

    engine: str
    workflow: str
    parameters: Mapping[str, Any]
    set_aside: tuple[str, ...] = ()

    @property
    def asked(self) -> dict[str, Any]:
        """Workflow and parameters as engines take them."""
        return {**self.parameters, "workflow": self.workflow}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a campaign cannot get what it searches for.

    Attributes:
        location: Keys that lead to the place in the campaign file.
        sentence: What is wrong, without a full stop.
        hint: What gives it.
    """

    location: Location
    sentence: str
    hint: str


def simulation_request(simulation: SimulationConfig) -> SimulationRequest:
    """The simulation section in the words of its engine.

    Raises:
        NotFoundError: no such engine.
        InvalidInputError: a parameter of the other engine has a value that it does not take.
    """
    from nanoos.engines import ENGINES, get_engine

    engine = ENGINES.canonical_name(simulation.engine)
    given = dict(simulation.parameters)
    if engine not in _OTHER:
        return SimulationRequest(engine=engine, workflow=simulation.workflow, parameters=given)
    workflow = _own_workflow(engine, simulation.workflow, given)
    other = _OTHER[engine]
    others_workflow = _own_workflow(other, simulation.workflow, given)
    foreign = _known_parameters(other, others_workflow) - _known_parameters(engine, workflow)
    aside = {name: value for name, value in given.items() if name in foreign}
    if aside:  # a mistake there would show only when the line is changed
        get_engine(other)().validate_parameters({**aside, "workflow": others_workflow})
    return SimulationRequest(
        engine=engine,
        workflow=workflow,
        parameters={name: value for name, value in given.items() if name not in foreign},
        set_aside=tuple(name for name in aside if name != _RELAX_CELL),  # it chose the workflow
    )


def cross_check_request(config: CampaignConfig) -> SimulationRequest | None:
    """The same work with the other potential; None where the winners are not checked."""
    check = config.cross_check
    if check is None:
        return None
    engine = simulation_request(config.simulation).engine
    changes = {
        "engine": "MLIP" if engine == "QE" else engine,
        "parameters": {**config.simulation.parameters, "potential": check.potential},
    }
    return simulation_request(config.simulation.model_copy(update=changes))


def method_name(request: SimulationRequest) -> str:
    """The potential that simulates, or the engine where there is none: ``CHGNet``, ``QE``."""
    from nanoos.engines import get_engine

    try:
        checked = get_engine(request.engine)().validate_parameters(request.asked)
    except NanoosError:  # it ran where more was installed
        return str(request.parameters.get("potential", request.engine))
    return str(getattr(checked, "potential", request.engine))


def undeliverable(config: CampaignConfig) -> Iterator[Refusal]:
    """Properties that the campaign needs and its simulations do not give.

    Raises:
        NanoosError: engine, workflow or parameters are not valid.
    """
    wanted: list[tuple[Location, str]] = [(("target_property",), config.target_property)]
    wanted += [(("constraints", i), c.quantity) for i, c in enumerate(config.constraints)]
    yield from _refusals(simulation_request(config.simulation), wanted)
    check = cross_check_request(config)
    if check is not None:
        yield from _refusals(check, [(("cross_check",), config.target_property)])


def _refusals(request: SimulationRequest, wanted: list[tuple[Location, str]]) -> Iterator[Refusal]:
    from nanoos.engines import get_engine

    engine = get_engine(request.engine)()
    given = engine.values_given(engine.validate_parameters(request.asked))
    if given is None:
        return
    for location, name in wanted:
        if given.isdisjoint(TARGET_PROPERTIES[name].value_names):
            yield Refusal(
                location=location,
                sentence=f"{request.workflow} of {request.engine} gives no {name!r}",
                hint=_who_gives(name),
            )


def _who_gives(name: str) -> str:
    """Which workflows give a property, the engines one after the other."""
    from nanoos.engines import ENGINES

    found: list[str] = []
    for engine_name in ENGINES.names():
        with suppress(NanoosError):
            engine = ENGINES.get(engine_name)()
            if engine.reference_member:
                continue
            for workflow in engine.workflows:
                with suppress(InvalidInputError):
                    given = engine.values_given(engine.validate_parameters({"workflow": workflow}))
                    if given is not None and not given.isdisjoint(
                        TARGET_PROPERTIES[name].value_names
                    ):
                        found.append(f"{workflow} of {engine_name}")
    return f"{name} comes from: {', '.join(found[:_MOST_NAMED])}."


def _own_workflow(engine: str, workflow: str, parameters: Mapping[str, Any]) -> str:
    if engine == "QE" and workflow == "relax" and parameters.get(_RELAX_CELL) is False:
        return "relax"
    return _WORKFLOWS[engine].get(workflow, workflow)


def _known_parameters(engine: str, workflow: str) -> frozenset[str]:
    from nanoos.engines import get_engine

    member = get_engine(engine)()
    if workflow not in member.workflows:
        return frozenset()
    return frozenset(member.parameters_type(workflow).model_fields)
