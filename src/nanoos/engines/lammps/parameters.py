"""Parameters of the workflows, typed and closed.

Names and units are those of the field: temperatures in K, pressures in bar (positive in
compression), times in fs, lengths in Å.
"""

from typing import Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nanoos.engines.base import MAX_ATOMS, DampingFs, EngineParameters, MaxAtoms, Repeats
from nanoos.engines.dynamics_parameters import (
    CommonDynamicsParameters,
    Interval,
    Kelvin,
)
from nanoos.potentials import POTENTIALS

LENNARD_JONES: Final = "lj/cut"
_LENNARD_JONES_NAMES: Final = frozenset({LENNARD_JONES, "lj"})


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PairParameters(_Closed):
    """A Lennard-Jones pair."""

    epsilon: float = Field(gt=0, le=100)
    """Depth of the well, eV."""
    sigma: float = Field(gt=0, le=20)
    """Distance of zero energy, Å."""


class HybridPart(_Closed):
    """One potential of several."""

    potential: str
    """A potential file, ``lj/cut`` or ``zbl``."""
    elements: tuple[str, ...] = ()
    """Elements it acts on; empty: all that it covers. It acts among them, not between them and
    others; ``lj/cut`` acts on the pairs it is given."""
    pairs: dict[str, PairParameters] = Field(default_factory=dict)
    """For ``lj/cut``: ``"Ar-Cu"`` to its parameters."""
    cutoff: float = Field(default=10.0, gt=0, le=50)
    """For ``lj/cut``: Å."""
    inner: float = Field(default=1.0, gt=0, le=10)
    """For ``zbl``: where switching begins, Å."""
    outer: float = Field(default=2.0, gt=0, le=10)
    """For ``zbl``: where it ends, Å."""

    @field_validator("potential")
    @classmethod
    def _one_spelling(cls, name: str) -> str:
        """Equal work has equal names: ``LJ`` is ``lj/cut``."""
        return LENNARD_JONES if name.casefold() in _LENNARD_JONES_NAMES else name


class MLPotentialConfig(_Closed):
    """A machine-learned potential by its files, or a universal one by its name."""

    descriptor_type: str
    """SNAP, ACE, GAP, UF3, POD, NequIP; or a universal potential: MACE, CHGNet, ..."""
    elements: tuple[str, ...] = ()
    """Elements in the order of the coefficients; empty: read from the files where they say so."""
    files: dict[str, str] = Field(default_factory=dict)
    """``coefficients``, ``parameters``, ...: names in the folder of potentials."""
    params: dict[str, float] = Field(default_factory=dict)
    """Further parameters: for SNAP ``zbl_inner`` and ``zbl_outer`` (Å)."""


class LammpsParameters(EngineParameters):
    """What all workflows have."""

    potential: str | None = None
    """A potential file (``Cu_mishin1.eam.alloy``), a universal potential (``CHGNet``) or
    ``lj/cut``. There is no default: which one is right depends on the question."""
    ml_potential_config: MLPotentialConfig | None = None
    """A machine-learned potential, instead of ``potential``."""
    pairs: dict[str, PairParameters] = Field(default_factory=dict)
    """For ``lj/cut``: ``"Ar-Ar"`` to epsilon (eV) and sigma (Å); noble gases are known, unlike
    pairs that are not given are mixed (Lorentz-Berthelot)."""
    pair_cutoff: float = Field(default=10.0, gt=0, le=50)
    """For ``lj/cut``: Å."""
    hybrid: tuple[HybridPart, ...] = ()
    """Several potentials, instead of ``potential``."""
    hybrid_mode: Literal["overlay", "exclusive"] = "overlay"
    """``overlay`` adds what acts on the same pair, ``exclusive`` allows one for each pair."""
    repeats: Repeats | None = None
    """How often the cell is repeated along its vectors; None: by ``min_length``."""
    min_length: float = Field(default=0.0, ge=0, le=500)
    """The cell is repeated until no two faces are nearer than this, Å."""
    max_atoms: MaxAtoms = MAX_ATOMS
    """With a universal potential, a simulation cell with more atoms is refused."""

    @model_validator(mode="after")
    def _one_potential(self) -> Self:
        given = [
            self.potential is not None,
            self.ml_potential_config is not None,
            bool(self.hybrid),
        ]
        if sum(given) > 1:
            raise ValueError("give one of potential, ml_potential_config and hybrid")
        return self

    @field_validator("potential")
    @classmethod
    def _one_spelling(cls, name: str | None) -> str | None:
        """Equal work has equal names: ``LJ`` is ``lj/cut``, ``chgnet`` is ``CHGNet``."""
        if name is None:
            return None
        if name.casefold() in _LENNARD_JONES_NAMES:
            return LENNARD_JONES
        return POTENTIALS.canonical_name(name) if name in POTENTIALS else name


class SinglePointParameters(LammpsParameters):
    """Energy, forces and stress of the structure as given."""

    workflow: Literal["SINGLE_POINT_LAMMPS"] = "SINGLE_POINT_LAMMPS"


class MinimizeParameters(LammpsParameters):
    """The nearest minimum."""

    workflow: Literal["MINIMIZE_LAMMPS"] = "MINIMIZE_LAMMPS"
    fmax: float = Field(default=0.001, gt=0, le=1.0)
    """Largest force left on an atom, eV/Å."""
    max_steps: int = Field(default=10_000, ge=1, le=1_000_000)
    """Iterations in all, however often the cell gets a new reference shape."""
    relax_cell: Literal["none", "isotropic", "anisotropic", "full"] = "none"
    """``isotropic`` scales the cell, ``anisotropic`` its lengths, ``full`` its angles too."""
    pressure: float = Field(default=0.0, ge=-1e7, le=1e7)
    """Pressure of a relaxed cell, bar."""

    @model_validator(mode="after")
    def _pressure_moves_the_cell(self) -> Self:
        if self.pressure and self.relax_cell == "none":
            raise ValueError("a pressure has no effect without relax_cell")
        return self


class DynamicsParameters(CommonDynamicsParameters, LammpsParameters):
    """What all molecular dynamics has."""

    samples_last_step: ClassVar[bool] = True

    min_length: float = Field(default=12.0, ge=0, le=500)
    """The cell is repeated until no two faces are nearer than this, Å."""
    restart_interval: Interval | None = None
    """Steps between two restart files, which an interrupted run continues from; by default a
    twentieth of the run."""
    seed: int = Field(default=4928459, ge=1, le=900_000_000)
    """Of the initial velocities and of random thermostats."""
    thermostat: Literal["nose-hoover", "langevin", "csvr"] = "nose-hoover"
    """csvr is stochastic velocity rescaling (Bussi, Donadio, Parrinello 2007)."""

    @model_validator(mode="after")
    def _fill_in_restarts(self) -> Self:
        if self.restart_interval is None:
            object.__setattr__(self, "restart_interval", max(1000, self.num_steps // 20))
        if self.damping_fs < 2 * self.timestep:
            raise ValueError("thermostat_damping is shorter than two time steps")
        return self

    @property
    def restart_every(self) -> int:
        """Steps between two restart files."""
        return self.restart_interval or 1


class NVTParameters(DynamicsParameters):
    """Constant volume and temperature."""

    workflow: Literal["MD_NVT_LAMMPS"] = "MD_NVT_LAMMPS"


class NVEParameters(DynamicsParameters):
    """Constant energy; the equilibration before it is thermostatted."""

    workflow: Literal["MD_NVE_LAMMPS"] = "MD_NVE_LAMMPS"


class NPTParameters(DynamicsParameters):
    """Constant pressure and temperature (Nosé-Hoover barostat)."""

    workflow: Literal["MD_NPT_LAMMPS"] = "MD_NPT_LAMMPS"
    pressure: float = Field(default=0.0, ge=-1e7, le=1e7)
    """bar, positive in compression."""
    barostat_damping: DampingFs | None = None
    """fs; by default a thousand time steps."""
    cell: Literal["isotropic", "anisotropic", "full"] = "isotropic"
    """``isotropic`` scales the cell, ``anisotropic`` its lengths, ``full`` its angles too."""
    thermostat: Literal["nose-hoover"] = "nose-hoover"
    """Part of the barostat."""

    @model_validator(mode="after")
    def _fill_in_barostat(self) -> Self:
        if self.barostat_damping is None:
            object.__setattr__(self, "barostat_damping", 1000.0 * self.timestep)
        return self

    @property
    def barostat_fs(self) -> float:
        """Time constant of the barostat, fs."""
        return self.barostat_damping or 1000.0 * self.timestep


class AnnealParameters(DynamicsParameters):
    """Heat, hold, cool, hold: from ``temperature`` to ``anneal_temperature`` and back."""

    workflow: Literal["MD_ANNEAL_LAMMPS"] = "MD_ANNEAL_LAMMPS"
    anneal_temperature: Kelvin = 1000.0
    """Highest temperature, K."""
    final_temperature: Kelvin | None = None
    """K; by default ``temperature``."""
    schedule: tuple[float, float, float, float] = (0.2, 0.2, 0.4, 0.2)
    """Shares of ``num_steps`` for heating, holding, cooling and the final hold. Averages and
    analyses are over the final hold, without its first fifth unless stated otherwise."""
    pressure: float | None = Field(default=None, ge=-1e7, le=1e7)
    """bar; None keeps the volume."""

    @model_validator(mode="before")
    @classmethod
    def _equilibration_follows_the_schedule(cls, given: Any) -> Any:
        """By default everything before the final hold, and its first fifth, is left out."""
        if not isinstance(given, dict) or given.get("equilibration_steps") is not None:
            return given
        steps = given.get("num_steps", 10_000)
        schedule = given.get("schedule", (0.2, 0.2, 0.4, 0.2))
        try:
            kept = 0.8 * float(schedule[3]) / sum(map(float, schedule)) * int(steps)
        except (TypeError, ValueError, LookupError, ArithmeticError):
            return given  # the fields themselves say what is wrong with them
        return {**given, "equilibration_steps": max(0, int(steps) - max(1, round(kept)))}

    @model_validator(mode="after")
    def _check_schedule(self) -> Self:
        if min(self.schedule) < 0 or sum(self.schedule) <= 0 or self.schedule[3] <= 0:
            raise ValueError("schedule holds shares, none negative, the last above zero")
        if self.final_temperature is None:
            object.__setattr__(self, "final_temperature", self.temperature)
        if self.pressure is not None and self.thermostat != "nose-hoover":
            raise ValueError("a pressure needs the nose-hoover thermostat")
        return self

    @property
    def end_temperature(self) -> float:
        """Temperature of the final hold, K."""
        return self.final_temperature or self.temperature


WORKFLOW_PARAMETERS: Final[dict[str, type[LammpsParameters]]] = {
    "MD_NVT_LAMMPS": NVTParameters,
    "MD_NPT_LAMMPS": NPTParameters,
    "MD_NVE_LAMMPS": NVEParameters,
    "MD_ANNEAL_LAMMPS": AnnealParameters,
    "MINIMIZE_LAMMPS": MinimizeParameters,
    "SINGLE_POINT_LAMMPS": SinglePointParameters,
}
