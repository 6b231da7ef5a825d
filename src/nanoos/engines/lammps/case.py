"""What a run is about: cell, potential and parameters that fit together, or a refusal."""

import math
from dataclasses import dataclass
from typing import Final

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.engines.analysis import check_pairs
from nanoos.engines.lammps.cell import LammpsCell, check_size, lammps_cell, repeats_for, supercell
from nanoos.engines.lammps.interactions import Interactions, interactions
from nanoos.engines.lammps.parameters import (
    DynamicsParameters,
    LammpsParameters,
    MinimizeParameters,
)
from nanoos.engines.lammps.program import INSTALL_HINT, find_program, package_dir
from nanoos.structures import Structure

_MAX_FRAME_VALUES: Final = 1_000_000_000
_MIN_MOVING: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a run is about, worked out from the input.

    Attributes:
        structure: What is simulated: the repeated cell.
        cell: Its lattice as LAMMPS wants it.
        potential: Between its atoms.
        parameters: Of the run.
    """

    structure: Structure
    cell: LammpsCell
    potential: Interactions
    parameters: LammpsParameters

    @property
    def total_steps(self) -> int:
        """Steps of the whole run; at most so many for a minimisation."""
        if isinstance(self.parameters, DynamicsParameters):
            return self.parameters.num_steps
        return self.parameters.max_steps if isinstance(self.parameters, MinimizeParameters) else 1


def case_of(structure: Structure, checked: LammpsParameters) -> Case:
    """The case of a structure and parameters.

    Raises:
        InvalidInputError: an impossible cell, an element without potential, absurd parameters.
        NotFoundError: no such potential.
    """
    structure.validated()
    potential = interactions(structure.species, checked)
    repeats = checked.repeats or repeats_for(structure, checked.min_length)
    if potential.universal:
        check_size(structure.n_sites * math.prod(repeats), checked.max_atoms)
    cell = supercell(structure, repeats)
    if isinstance(checked, DynamicsParameters):
        _refuse_absurd(cell, potential, checked)
    return Case(
        structure=cell,
        cell=lammps_cell(cell.lattice),
        potential=potential,
        parameters=checked,
    )


def require_program(potential: Interactions) -> None:
    """Refuse a potential that the LAMMPS at hand cannot run.

    Raises:
        UnavailableError: no LAMMPS here, or it lacks the pair style.
    """
    program = find_program()
    for style in potential.styles:
        program.require("pair", style)
    if potential.universal and package_dir() is None:
        raise UnavailableError(
            f"{potential.name} needs LAMMPS as a library, which is not installed.",
            hint=INSTALL_HINT,
            code="no_lammps",
        )


def _refuse_absurd(
    cell: Structure, potential: Interactions, parameters: DynamicsParameters
) -> None:
    """What could only fail later, after it was paid for."""
    if cell.n_sites < _MIN_MOVING:
        raise InvalidInputError(
            "One atom alone has no temperature.", hint="Set repeats or min_length.", code="one_atom"
        )
    numbers = 9 * (parameters.num_steps // parameters.dump_every + 1)
    numbers += 3 * parameters.velocity_frames
    values = cell.n_sites * numbers
    if values > _MAX_FRAME_VALUES:
        raise InvalidInputError(
            f"The trajectory would hold {values:.1e} numbers.",
            hint="Raise dump_interval, shorten vdos_duration, or take a smaller cell.",
            code="too_many_frames",
        )
    if "rdf" in parameters.analysis:
        check_pairs(cell, parameters.rdf_cutoff)
    if parameters.timestep > potential.max_timestep_fs:
        raise InvalidInputError(
            f"{potential.name} is not stable at {parameters.timestep:g} fs.",
            hint=f"Set timestep to {potential.max_timestep_fs / 2:g} or less.",
            code="invalid_parameter",
        )
