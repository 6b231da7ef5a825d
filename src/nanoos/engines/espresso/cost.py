"""What a workflow will take, and the refusal of what is too much."""

from collections.abc import Mapping
from typing import Final

from nanoos.engines.espresso.choices import Choices
from nanoos.engines.espresso.convergence import expected_mesh
from nanoos.engines.espresso.estimate import Estimate, estimate, refuse_what_is_too_large
from nanoos.engines.espresso.parameters import EspressoParameters, KpointConvergenceParameters
from nanoos.structures import Structure

_ITERATIONS: Final[Mapping[str, float]] = {
    "scf": 10.0,
    "relax": 80.0,
    "vc_relax": 100.0,
    "nscf": 60.0,
    "bands": 40.0,
    "dos": 60.0,
    "equation_of_state": 70.0,
    "kpoint_convergence": 30.0,
}
"""SCF iterations that a workflow takes, those on denser meshes counted for more; of a convergence
study in those of its finest mesh."""


def workflow_seconds(
    structure: Structure, parameters: EspressoParameters, choices: Choices
) -> float:
    """Rough time of a workflow on one core, s."""
    return _of_one_scf(structure, parameters, choices).seconds(_ITERATIONS[parameters.workflow])


def refuse_costly_workflow(
    structure: Structure, parameters: EspressoParameters, choices: Choices, processes: int
) -> None:
    """Refuse a workflow that is too large, unless ``allow_large`` is given.

    Raises:
        InvalidInputError: code ``too_expensive``, with the estimate.
    """
    if not parameters.allow_large:
        found = _of_one_scf(structure, parameters, choices)
        iterations = _ITERATIONS[parameters.workflow]
        refuse_what_is_too_large(structure, found, iterations, processes)


def _of_one_scf(structure: Structure, parameters: EspressoParameters, choices: Choices) -> Estimate:
    """On the finest mesh of the workflow."""
    mesh = None
    if isinstance(parameters, KpointConvergenceParameters):
        mesh = expected_mesh(structure, choices, parameters.max_length_a)
    return estimate(structure, choices, mesh)
