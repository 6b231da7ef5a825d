"""Parameters of the workflows, typed and closed."""

from typing import Literal

from pydantic import Field, field_validator

from nanoos.engines.base import EngineParameters
from nanoos.potentials import DEFAULT_POTENTIAL, POTENTIALS


class MLIPParameters(EngineParameters):
    """What all workflows have."""

    potential: str = DEFAULT_POTENTIAL
    """Name of a registered potential."""

    @field_validator("potential")
    @classmethod
    def _registered(cls, name: str) -> str:
        return POTENTIALS.canonical_name(name)


class SinglePointParameters(MLIPParameters):
    """Energy, forces and stress of the structure as given."""

    workflow: Literal["single_point"] = "single_point"


class _Relaxing(MLIPParameters):
    fmax: float = Field(default=0.02, gt=0, le=1.0)
    """Largest force left, eV/Å; for the cell, the virial divided by the number of atoms."""
    max_steps: int = Field(default=300, ge=1, le=10_000)
    """Geometries tried before the run counts as not converged."""
    keep_symmetry: bool = True
    """Impose the space group found at 0.01 Å. A saddle point protected by it stays one."""


class RelaxParameters(_Relaxing):
    """The nearest minimum."""

    workflow: Literal["relax"] = "relax"
    relax_cell: bool = True
    """Move the cell as well as the atoms."""
    pressure_gpa: float = Field(default=0.0, ge=-100, le=1000)
    """External pressure, GPa, positive in compression; needs ``relax_cell``."""


class EquationOfStateParameters(_Relaxing):
    """Energy against volume and its Birch-Murnaghan fit."""

    workflow: Literal["equation_of_state"] = "equation_of_state"
    relax_first: bool = True
    """Relax cell and atoms before; otherwise the given shape is kept and only scaled."""
    eos_points: int = Field(default=7, ge=5, le=51)
    """Volumes in the fit."""
    eos_strain: float = Field(default=0.10, ge=0.01, le=0.2)
    """Half-width of the volume range, relative. Narrower ranges fit the roughness of learned
    potentials: with CHGNet, moving the centre by 1 % scatters the bulk modulus of Si by 0.7 GPa
    and its derivative by 3 at 0.06, by 0.1 GPa and 0.14 at 0.10."""
