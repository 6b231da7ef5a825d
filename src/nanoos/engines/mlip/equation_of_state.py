"""Energy against volume.

Where symmetry leaves nothing but the volume free (rocksalt, zincblende, cubic perovskite), no
optimiser runs: one batch of energies over a wide range of volumes finds the minimum, a second
batch about it gives the fit. Elsewhere the crystal is relaxed first, and at each volume its
atoms are relaxed in the shape of the minimum (all volumes in one batch), so the bulk modulus of a
non-cubic crystal is that at fixed shape, an upper bound of the hydrostatic one (for c/a near its
optimum over the range the difference is of second order).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from nanoos.core.errors import EngineError
from nanoos.engines.mlip.birch_murnaghan import BirchMurnaghan, fit_birch_murnaghan
from nanoos.engines.mlip.freedom import symmetry_freedom
from nanoos.engines.mlip.parameters import EquationOfStateParameters
from nanoos.engines.mlip.relaxing import relaxed_atoms, relaxed_first
from nanoos.potentials import Potential, PotentialResult, Relaxation
from nanoos.potentials.base import FloatArray
from nanoos.potentials.relaxation import RelaxationStep, space_group_label
from nanoos.structures import Structure

Tick = Callable[[float, str], None]

SCAN_RATIOS: Final = tuple(float(r) for r in np.geomspace(0.76, 1.40, 8))
"""Volumes of the wide scan relative to the given one: tabulated radii err by some 20 %."""

_EDGE_POINTS: Final = 2
_RECENTRE: Final = 0.3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EquationOfState:
    """Volumes, energies, their fit and the crystal at the minimum.

    Attributes:
        fit: Per atom.
        volumes_a3: (n_points,), Å^3/atom, ascending.
        energies_ev: (n_points,), eV/atom.
        structure: At the fitted volume.
        result: The potential's answer there.
        relaxation: The relaxation that came first, where there was one.
        extended: Whether the range had to be moved to hold the minimum.
        space_group_before: Of the structure given.
        space_group_after: At the minimum.
    """

    fit: BirchMurnaghan
    volumes_a3: tuple[float, ...]
    energies_ev: tuple[float, ...]
    structure: Structure
    result: PotentialResult
    relaxation: Relaxation | None
    extended: bool
    space_group_before: str
    space_group_after: str

    @property
    def steps(self) -> tuple[RelaxationStep, ...]:
        """Geometries of the relaxation that came first."""
        return self.relaxation.steps if self.relaxation else ()


def equation_of_state(
    structure: Structure,
    potential: Potential,
    parameters: EquationOfStateParameters,
    tick: Tick,
    folder: Path,
) -> EquationOfState:
    """Scan, fit, and evaluate the crystal at the minimum; what is done is kept in ``folder``.

    Raises:
        EngineError: ``no_minimum``, also after the range was moved once; or a relaxation failed,
            and its code tells how.
    """
    freedom = symmetry_freedom(structure)
    only_volume = parameters.keep_symmetry and freedom.only_volume
    relaxation = None
    start = structure
    if parameters.relax_first and only_volume:
        start = _wide_scan(structure, potential)
        tick(0.4, "wide scan of volumes done")
    elif parameters.relax_first:
        relaxation = relaxed_first(
            structure, potential, parameters, lambda f, message: tick(0.4 * f, message), folder
        )
        start = relaxation.structure
    free_atoms = freedom.positions or not parameters.keep_symmetry
    scan = _Scan(potential, parameters, tick, folder, free_atoms)
    fit, volumes, energies, best, extended = _centred(start, scan)
    final = best.scaled_to_volume(fit.volume_a3 * best.n_sites)
    final, result = scan.settled(final)
    return EquationOfState(
        fit=fit,
        volumes_a3=tuple(volumes.tolist()),
        energies_ev=tuple(energies.tolist()),
        structure=final,
        result=result,
        relaxation=relaxation,
        extended=extended,
        space_group_before=freedom.space_group,
        space_group_after=freedom.space_group if only_volume else space_group_label(final),
    )


def _wide_scan(structure: Structure, potential: Potential) -> Structure:
    """The structure scaled near its minimum, by energies alone; moved on once if need be."""
    ratios = np.array(SCAN_RATIOS)
    for _ in range(2):
        cells = [structure.scaled_to_volume(structure.volume * r) for r in ratios]
        energies = potential.energies(cells) / structure.n_sites
        lowest = int(np.argmin(energies))
        if 0 < lowest < len(ratios) - 1:
            break
        # the next range begins one point inside this one
        ratios = ratios * (ratios[0] / ratios[-2] if lowest == 0 else ratios[-1] / ratios[1])
    else:
        raise EngineError(
            f"{structure.formula}: the energy still falls at "
            f"{cells[lowest].volume / structure.n_sites:.2f} Å^3/atom, the end of the volumes tried.",
            hint="Start from a cell nearer to equilibrium.",
            details={
                "volumes_a3": [c.volume / c.n_sites for c in cells],
                "energies_ev": energies.tolist(),
            },
            code="no_minimum",
        )
    # a parabola through three points in log volume is enough to centre the fine scan
    near = np.log(ratios[lowest - 1 : lowest + 2])
    c2, c1, _ = np.polyfit(near, energies[lowest - 1 : lowest + 2], 2)
    ratio = float(np.exp(np.clip(-c1 / (2 * c2), near[0], near[2])))
    return structure.scaled_to_volume(structure.volume * ratio)


@dataclass(frozen=True, slots=True)
class _Scan:
    """How energies at volumes are computed."""

    potential: Potential
    parameters: EquationOfStateParameters
    tick: Tick
    folder: Path
    free_atoms: bool

    def about(
        self, centre: Structure, stage: str
    ) -> tuple[FloatArray, FloatArray, list[Structure]]:
        """Volumes (Å^3/atom), energies (eV/atom) and cells."""
        strain = self.parameters.eos_strain
        ratios = np.linspace(1 - strain, 1 + strain, self.parameters.eos_points)
        cells = [centre.scaled_to_volume(centre.volume * float(ratio)) for ratio in ratios]
        if self.free_atoms:
            found = self._relaxed(cells, stage, 0.4, 0.9)
            cells = [one.structure for one in found]
            energies = np.array([one.result.energy_ev_per_atom for one in found])
        else:
            energies = self.potential.energies(cells) / centre.n_sites
        self.tick(0.9, f"{len(cells)} volumes done")
        return ratios * centre.volume / centre.n_sites, energies, cells

    def settled(self, structure: Structure) -> tuple[Structure, PotentialResult]:
        """The structure with its atoms relaxed in the given cell, if they are free at all."""
        if not self.free_atoms:
            return structure, self.potential.compute([structure])[0]
        (found,) = self._relaxed([structure], "minimum", 0.9, 0.95)
        return found.structure, found.result

    def _relaxed(
        self, cells: list[Structure], stage: str, begin: float, end: float
    ) -> list[Relaxation]:
        return relaxed_atoms(
            cells,
            self.potential,
            self.parameters,
            lambda done, message: self.tick(begin + (end - begin) * done, f"{stage}: {message}"),
            self.folder,
            stage=stage,
            keep_symmetry=self.parameters.keep_symmetry,
        )


def _centred(
    start: Structure, scan: _Scan
) -> tuple[BirchMurnaghan, FloatArray, FloatArray, Structure, bool]:
    """The fit with its minimum well inside the range; the range is moved at most once."""
    centre = start
    for stage in ("volumes", "moved-volumes"):
        moved = centre is not start
        volumes, energies, cells = scan.about(centre, stage)
        lowest = int(np.argmin(energies))
        try:
            fit = fit_birch_murnaghan(volumes, energies)
        except EngineError:
            if moved:
                raise
            centre = cells[lowest]
            continue
        drift = abs(fit.volume_a3 * centre.n_sites / centre.volume - 1)
        if moved or drift < _RECENTRE * scan.parameters.eos_strain:
            return fit, volumes, energies, cells[lowest], moved
        centre = cells[lowest].scaled_to_volume(fit.volume_a3 * start.n_sites)
    raise AssertionError  # the loop returns or raises
