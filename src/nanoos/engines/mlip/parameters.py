"""Parameters of the workflows, typed and closed."""

from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from nanoos.engines.base import MAX_ATOMS, DampingFs, EngineParameters, MaxAtoms, Repeats
from nanoos.engines.dynamics_parameters import CommonDynamicsParameters, Interval
from nanoos.potentials import DEFAULT_POTENTIAL, POTENTIALS

MAX_TEMPERATURES: Final = 20_000
"""Of the thermal properties."""


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


class RelaxingParameters(MLIPParameters):
    """What workflows that relax have."""

    fmax: float = Field(default=0.02, gt=0, le=1.0)
    """Largest force left, eV/Å; for the cell, the virial divided by the number of atoms."""
    max_steps: int = Field(default=300, ge=1, le=10_000)
    """Geometries tried before the run counts as not converged."""
    keep_symmetry: bool = True
    """Impose the space group found at 0.01 Å. A saddle point protected by it stays one."""


class RelaxParameters(RelaxingParameters):
    """The nearest minimum."""

    workflow: Literal["relax"] = "relax"
    relax_cell: bool = True
    """Move the cell as well as the atoms."""
    pressure_gpa: float = Field(default=0.0, ge=-100, le=1000)
    """External pressure, GPa, positive in compression; needs ``relax_cell``."""


class EquationOfStateParameters(RelaxingParameters):
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


class _Curvature(RelaxingParameters):
    """What second derivatives need: a crystal at its minimum, closer than for its energy."""

    fmax: float = Field(default=0.005, gt=0, le=1.0)
    """Largest force left, eV/Å; for the cell, the virial divided by the number of atoms."""
    relax_first: bool = True
    """Relax cell and atoms before; otherwise the given geometry is taken as the minimum."""


class ElasticParameters(_Curvature):
    """The elastic tensor from stresses of strained cells."""

    workflow: Literal["elastic"] = "elastic"
    max_strain: float = Field(default=0.01, ge=0.0005, le=0.05)
    """Largest strain applied; shears are engineering strains."""
    strain_points: int = Field(default=4, ge=2, le=20, multiple_of=2)
    """Strains of each component, half of them negative."""
    relax_atoms: bool = True
    """Relax atoms in the strained cells; otherwise the clamped-ion tensor."""


class PhononParameters(_Curvature):
    """Harmonic phonons from displaced supercells."""

    workflow: Literal["phonons"] = "phonons"
    displacement: float = Field(default=0.03, ge=0.001, le=0.2)
    """How far an atom is moved, Å. Smaller ones meet the rounding of single precision."""
    min_length: float = Field(default=9.0, gt=0, le=100)
    """Faces of the supercell are at least so far apart, Å."""
    repeats: Repeats | None = None
    """How often the cell is repeated along its vectors; None: by ``min_length``."""
    max_atoms: int = Field(default=600, ge=1, le=20_000)
    """A supercell with more atoms is refused."""
    band_points: int = Field(default=240, ge=10, le=2000)
    """Points along the path of the bands."""
    mesh_length: float = Field(default=60.0, gt=0, le=500)
    """Mesh of the density of states and thermal properties, Å: as many points along a reciprocal
    vector as its length (Å^-1, without the 2π) times this."""
    max_temperature: float = Field(default=1000.0, gt=0, le=10_000)
    """Thermal properties are given from 0 K to this, K."""
    temperature_step: float = Field(default=10.0, gt=0, le=1000)
    """K."""

    @model_validator(mode="after")
    def _not_too_many_temperatures(self) -> Self:
        if self.max_temperature > MAX_TEMPERATURES * self.temperature_step:
            raise ValueError(
                f"temperature_step gives more than {MAX_TEMPERATURES:,} temperatures up to "
                f"{self.max_temperature:g} K"
            )
        return self


class DynamicsParameters(CommonDynamicsParameters, MLIPParameters):
    """Molecular dynamics."""

    workflow: Literal["md"] = "md"
    ensemble: Literal["nve", "nvt", "npt"] = "nvt"
    """``nve`` keeps the energy (velocity Verlet), ``nvt`` the temperature (stochastic velocity
    rescaling, DOI 10.1063/1.2408420), ``npt`` temperature and pressure (isotropic Nosé-Hoover
    chains of Martyna, Tobias and Klein, DOI 10.1063/1.467468)."""
    pressure: float = Field(default=0.0, ge=-1e7, le=1e7)
    """Of ``npt``: bar, positive in compression."""
    num_steps: int = Field(default=2000, ge=1, le=100_000_000)
    """Steps of the run, its equilibration included."""
    checkpoint_interval: Interval | None = None
    """Steps between two checkpoints, which an interrupted run continues from; by default a
    twentieth of the run."""
    barostat_damping: DampingFs | None = None
    """fs; by default a thousand time steps."""
    seed: int = Field(default=4928459, ge=0, le=4_294_967_295)
    """Of the initial velocities and of random thermostats."""
    min_length: float = Field(default=9.0, ge=0, le=200)
    """The cell is repeated until no two faces are nearer than this, Å."""
    repeats: Repeats | None = None
    """How often the cell is repeated along its vectors; None: by ``min_length``."""
    max_atoms: MaxAtoms = MAX_ATOMS
    """A simulation cell with more atoms is refused."""

    @model_validator(mode="after")
    def _fill_in_rest(self) -> Self:
        chosen = {
            "checkpoint_interval": max(50, self.num_steps // 20),
            "barostat_damping": 1000.0 * self.timestep,
        }
        for name, value in chosen.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if self.pressure and self.ensemble != "npt":
            raise ValueError("a pressure has an effect with the ensemble npt only")
        return self

    @property
    def checkpoint_every(self) -> int:
        """Steps between two checkpoints."""
        return self.checkpoint_interval or 1

    @property
    def barostat_fs(self) -> float:
        """Time constant of the barostat, fs."""
        return self.barostat_damping or 1000.0 * self.timestep
