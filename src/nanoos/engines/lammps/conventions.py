"""Unit systems of LAMMPS, and the way back to ours."""

from dataclasses import dataclass
from typing import Final

from nanoos.core.units import GPA_PER_EV_A3

_EV_PER_KCAL_MOL: Final = 4184.0 / 96485.33212331
_BAR_PER_GPA: Final = 1.0e4
_BAR_PER_ATM: Final = 1.01325


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSystem:
    """Factors from a LAMMPS unit system to eV, Å, fs; lengths are Å in both.

    Attributes:
        name: Of the ``units`` command.
        energy_ev: eV for one unit of energy.
        time_fs: fs for one unit of time.
        pressure_bar: bar for one unit of pressure.
    """

    name: str
    energy_ev: float
    time_fs: float
    pressure_bar: float

    @property
    def pressure_gpa(self) -> float:
        """GPa for one unit of pressure."""
        return self.pressure_bar / _BAR_PER_GPA

    @property
    def pressure_ev_a3(self) -> float:
        """eV/Å^3 for one unit of pressure."""
        return self.pressure_gpa / GPA_PER_EV_A3

    @property
    def velocity_a_fs(self) -> float:
        """Å/fs for one unit of velocity."""
        return 1.0 / self.time_fs


METAL: Final = UnitSystem(name="metal", energy_ev=1.0, time_fs=1000.0, pressure_bar=1.0)
REAL: Final = UnitSystem(
    name="real", energy_ev=_EV_PER_KCAL_MOL, time_fs=1.0, pressure_bar=_BAR_PER_ATM
)
"""What force fields of the ReaxFF kind are written in."""
