"""What a calculation will take, roughly, before it is begun."""

from dataclasses import dataclass
from math import log2, pi, prod
from typing import Any, Final

import numpy as np
import psutil

from nanoos.core.errors import InvalidInputError
from nanoos.core.units import BOHR_A
from nanoos.engines.espresso.choices import Choices
from nanoos.structures import Structure

MOST_HOURS: Final = 100.0
MOST_MEMORY_SHARE: Final = 0.8

_FFT_RATE: Final = 2.5e9
"""Operations per second of pw.x's transforms on one core; 2.5 GFlop/s measured on 24^3 grids."""
_MATRIX_RATE: Final = 8e9
_APPLICATIONS: Final = 4.0
"""Of the Hamiltonian to a band in one SCF iteration."""
_DAVIDSON_VECTORS: Final = 8
_GRID_FILLING: Final = 2.0
"""Points of the grid for each plane wave of the density sphere, with its corners."""
_ARRAYS_ON_GRID: Final = 25
_START_S: Final = 1.0
_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What one SCF takes.

    Attributes:
        seconds_per_iteration: On one core.
        memory_gb: Of all processes together.
        plane_waves: For each band.
        kpoints: That symmetry leaves, spins counted.
        bands: For each k-point.
    """

    seconds_per_iteration: float
    memory_gb: float
    plane_waves: int
    kpoints: int
    bands: int

    def seconds(self, iterations: float, processes: int = 1) -> float:
        """Of so many SCF iterations, s."""
        return _START_S + iterations * self.seconds_per_iteration / processes


def estimate(
    structure: Structure, choices: Choices, mesh: tuple[int, int, int] | None = None
) -> Estimate:
    """Count plane waves, bands and k-points.

    Args:
        structure: What is computed.
        choices: How.
        mesh: Instead of that of the choices.
    """
    volume = structure.volume / BOHR_A**3
    waves = volume * choices.ecutwfc_ry**1.5 / (6 * pi**2)
    grid = _GRID_FILLING * volume * choices.ecutrho_ry**1.5 / (6 * pi**2)
    bands = float(choices.nbnd or max(0.6 * choices.n_electrons, choices.n_electrons / 2 + 4))
    spins = 2 if choices.polarised else 1
    kpoints = irreducible_points(structure, mesh or choices.mesh, choices.site_species) * spins
    transform = 2 * 5 * grid * log2(max(2.0, grid))
    per_k = (
        _APPLICATIONS * bands * transform / _FFT_RATE
        + 12 * 8 * waves * bands**2 / _MATRIX_RATE
        + 20 * 8 * bands**3 / _MATRIX_RATE
    )
    memory = _BYTES * (
        waves * bands * (kpoints + _DAVIDSON_VECTORS) + _ARRAYS_ON_GRID * grid * spins
    )
    return Estimate(
        seconds_per_iteration=kpoints * per_k,
        memory_gb=0.05 + memory / 1e9,
        plane_waves=int(waves),
        kpoints=kpoints,
        bands=int(bands),
    )


def irreducible_points(
    structure: Structure, mesh: tuple[int, int, int], kinds: tuple[int, ...]
) -> int:
    """How many points of a mesh symmetry leaves."""
    import spglib

    from nanoos.structures.symmetry import quiet_spglib

    total = prod(mesh)
    cell: Any = (structure.lattice, structure.frac_coords, np.array(kinds) + 1)
    with quiet_spglib():
        try:
            mapping, _ = spglib.get_ir_reciprocal_mesh(mesh, cell, is_shift=[0, 0, 0])
        except (TypeError, ValueError):  # no symmetry was found
            return -(-total // 2)
    return len(np.unique(mapping))


def refuse_what_is_too_large(
    structure: Structure, found: Estimate, iterations: float, processes: int
) -> None:
    """Refuse what this machine has no memory for, or that takes days.

    Raises:
        InvalidInputError: code ``too_expensive``, with the estimate.
    """
    there = psutil.virtual_memory().total / 1e9
    hours = found.seconds(iterations, processes) / 3600
    if found.memory_gb <= MOST_MEMORY_SHARE * there and hours <= MOST_HOURS:
        return
    took = f"{hours:.0f} h" if hours < 1e4 else f"{hours / 8766:.0f} years"  # noqa: PLR2004
    raise InvalidInputError(
        f"{structure.formula} with {structure.n_sites} atoms takes about {found.memory_gb:.3g} GB "
        f"and {took} on {processes} processes ({found.plane_waves:,} plane waves, {found.bands:,} "
        f"bands, {found.kpoints:,} k-points); this machine has {there:.0f} GB.",
        hint="Take the primitive cell, a coarser kdist, lower accuracy, or a universal potential "
        "(engine MLIP). If you know better, set allow_large to true.",
        details={
            "memory_gb": found.memory_gb,
            "hours": hours,
            "processes": processes,
            "plane_waves": found.plane_waves,
            "bands": found.bands,
            "kpoints": found.kpoints,
        },
        code="too_expensive",
    )
