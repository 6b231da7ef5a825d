"""The internal unit system and the factors used at its edges.

Inside: eV, Å, fs, K, atomic mass unit, eV/Å^3 (stress, tension positive). Conversions happen
where data enters or leaves, and the unit stands in the name there (``pressure_gpa``).
Ref: CODATA 2018, DOI 10.1103/RevModPhys.93.025010.
"""

from typing import Final

GPA_PER_EV_A3: Final = 160.21766339999996
"""1 eV/Å^3 in GPa."""

RYDBERG_EV: Final = 13.605693122994
HARTREE_EV: Final = 2 * RYDBERG_EV
BOHR_A: Final = 0.529177210903
BOLTZMANN_EV_K: Final = 8.617333262e-5
PLANCK_EV_THZ: Final = 4.135667696e-3
"""Energy of a quantum of 1 THz, eV."""
