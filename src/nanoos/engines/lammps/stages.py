"""What a run does, step by step: stages with the fixes that move the atoms."""

from dataclasses import dataclass, replace
from typing import Final

from nanoos.engines.lammps.conventions import UnitSystem
from nanoos.engines.lammps.parameters import (
    AnnealParameters,
    DynamicsParameters,
    NPTParameters,
    NVEParameters,
)

_BAROSTAT_CELLS: Final = {"isotropic": "iso", "anisotropic": "aniso", "full": "tri"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Steps under the same fixes.

    Attributes:
        name: For people.
        begin: First step.
        end: Last step.
        fixes: ``fix`` commands without their first word; the first word is the fix's id.
        writes_velocities: Whether velocities are written often enough for vibrations.
        ramp: First and last step of the change of temperature that the stage is a piece of;
            None where it is the whole.
    """

    name: str
    begin: int
    end: int
    fixes: tuple[str, ...]
    writes_velocities: bool = False
    ramp: tuple[int, int] | None = None


def stages(parameters: DynamicsParameters, units: UnitSystem, *, part: int = 0) -> list[Stage]:
    """The stages of molecular dynamics, the first at step 0, none empty.

    Args:
        parameters: Of the workflow.
        units: Of the script.
        part: How often the run was taken up again; random thermostats get another seed then.
    """
    plan = [stage for stage in _plan(parameters, units, part) if stage.end > stage.begin]
    if "vdos" not in parameters.analysis:
        return plan
    begin = parameters.velocities_begin
    return [piece for stage in plan for piece in _split(stage, begin)]


def _split(stage: Stage, step: int) -> list[Stage]:
    """The stage cut at a step; what comes behind it writes velocities."""
    whole = replace(stage, ramp=(stage.begin, stage.end))
    pieces = [
        replace(whole, end=min(stage.end, step)),
        replace(whole, begin=max(stage.begin, step), writes_velocities=True),
    ]
    return [piece for piece in pieces if piece.end > piece.begin]


def _plan(parameters: DynamicsParameters, units: UnitSystem, part: int) -> list[Stage]:
    target, last = parameters.temperature, parameters.num_steps
    if isinstance(parameters, AnnealParameters):
        return _anneal(parameters, units, part)
    if isinstance(parameters, NVEParameters):
        start = parameters.equilibration
        bath = _thermostat(parameters, units, target, target, part)
        return [
            Stage(name="equilibration", begin=0, end=start, fixes=bath),
            Stage(name="production", begin=start, end=last, fixes=("motion all nve",)),
        ]
    if isinstance(parameters, NPTParameters):
        fixes = _barostat(
            parameters,
            units,
            (target, target),
            pressure_bar=parameters.pressure,
            damping_fs=parameters.barostat_fs,
            coupling=_BAROSTAT_CELLS[parameters.cell],
        )
    else:
        fixes = _thermostat(parameters, units, target, target, part)
    return [Stage(name="production", begin=0, end=last, fixes=fixes)]


def _anneal(parameters: AnnealParameters, units: UnitSystem, part: int) -> list[Stage]:
    low, high, final = (
        parameters.temperature,
        parameters.anneal_temperature,
        parameters.end_temperature,
    )
    total = sum(parameters.schedule)
    ends, passed = [], 0.0
    for share in parameters.schedule:
        passed += share
        ends.append(round(parameters.num_steps * passed / total))
    names = ("heating", "hold", "cooling", "final hold")
    ramps = ((low, high), (high, high), (high, final), (final, final))
    found = []
    for name, (start, stop), begin, end in zip(names, ramps, [0, *ends[:-1]], ends, strict=True):
        if parameters.pressure is None:
            fixes = _thermostat(parameters, units, start, stop, part)
        else:
            fixes = _barostat(
                parameters,
                units,
                (start, stop),
                pressure_bar=parameters.pressure,
                damping_fs=1000 * parameters.timestep,
                coupling="iso",
            )
        found.append(Stage(name=name, begin=begin, end=end, fixes=fixes))
    return found


def _thermostat(
    parameters: DynamicsParameters, units: UnitSystem, start: float, stop: float, part: int
) -> tuple[str, ...]:
    damping = parameters.damping_fs / units.time_fs
    seed = parameters.seed + part
    if parameters.thermostat == "langevin":
        return (
            "motion all nve",
            f"bath all langevin {start:g} {stop:g} {damping:g} {seed} zero yes",
        )
    if parameters.thermostat == "csvr":
        return ("motion all nve", f"bath all temp/csvr {start:g} {stop:g} {damping:g} {seed}")
    return (f"motion all nvt temp {start:g} {stop:g} {damping:g}",)


def _barostat(
    parameters: DynamicsParameters,
    units: UnitSystem,
    temperatures: tuple[float, float],
    *,
    pressure_bar: float,
    damping_fs: float,
    coupling: str,
) -> tuple[str, ...]:
    start, stop = temperatures
    pressure = pressure_bar / units.pressure_bar
    words = (
        f"motion all npt temp {start:g} {stop:g} {parameters.damping_fs / units.time_fs:g} "
        f"{coupling} {pressure:.10g} {pressure:.10g} {damping_fs / units.time_fs:g}"
    )
    return (words,)
