"""Rough cost of runs."""

from typing import Final

from nanoos.engines.lammps.parameters import (
    DynamicsParameters,
    LammpsParameters,
    MinimizeParameters,
)
from nanoos.potentials import POTENTIALS

START_S: Final = 0.3
_PER_ATOM_STEP_S: Final = (
    ("ffield.reax", 6e-5),
    (".snap", 1.5e-4),
    (".airebo", 2e-5),
    (".rebo", 1e-5),
    (".meam", 2e-5),
    (".vashishta", 8e-6),
    (".tersoff", 4e-6),
    (".sw", 3e-6),
)
"""Seconds for one atom and step on one core, by what the name of the potential contains."""
_DEFAULT_S: Final = 2.5e-6
_UNIVERSAL_S: Final = 1.2e-2
_LEARNED_S: Final = 2e-4
_MINIMIZATION_STEPS: Final = 100


def estimate_seconds(parameters: LammpsParameters, n_atoms: int) -> float:
    """Seconds on one thread, within a factor of about three."""
    steps = 1
    if isinstance(parameters, DynamicsParameters):
        steps = parameters.num_steps
    elif isinstance(parameters, MinimizeParameters):
        steps = min(parameters.max_steps, _MINIMIZATION_STEPS)
    return START_S + _per_atom(parameters) * n_atoms * steps


def asks_universal(parameters: LammpsParameters) -> bool:
    """Whether a universal potential is asked in every step, by one process."""
    config = parameters.ml_potential_config
    name = parameters.potential if config is None else config.descriptor_type
    return name is not None and name in POTENTIALS


def _per_atom(parameters: LammpsParameters) -> float:
    if parameters.ml_potential_config is not None:
        return _UNIVERSAL_S if asks_universal(parameters) else _LEARNED_S
    names = [parameters.potential or "", *(part.potential for part in parameters.hybrid)]
    return sum(_of_name(name) for name in names if name)


def _of_name(name: str) -> float:
    if name in POTENTIALS:
        return _UNIVERSAL_S
    return next((cost for word, cost in _PER_ATOM_STEP_S if word in name), _DEFAULT_S)
