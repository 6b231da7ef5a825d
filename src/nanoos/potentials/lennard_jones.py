"""Lennard-Jones: the reference member, exact and fast, for tests of everything above it."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from ase.data import covalent_radii

from nanoos import __version__
from nanoos.core.records import LevelOfTheory
from nanoos.features.neighbors import neighbor_list
from nanoos.potentials.base import FloatArray, PotentialResult, batches, check_coverage
from nanoos.potentials.coverage import CORDERO_ELEMENTS
from nanoos.structures import Structure

_SWITCH_START: Final = 0.8
_MINIMUM: Final = 2 ** (1 / 6)


class LennardJones:
    """Pair potential 4 ε [(σ/r)^12 - (σ/r)^6], taken smoothly to zero at the cutoff.

    One ε for all pairs; σ puts the minimum of a pair at the sum of its covalent radii
    (Cordero et al. 2008, DOI 10.1039/b801115j). It describes no real material, so it is used
    for tests and never a default.

    Args:
        epsilon_ev: Depth of the well, eV.
        sigma_a: One σ for all pairs, Å; by default from covalent radii.
        cutoff_sigma: Cutoff in units of the largest σ present; the last fifth is switched off
            by a quintic with two continuous derivatives.
        device: Ignored; there for the sake of the interface.
    """

    name = "LJ"
    version = "1"
    weights_sha256 = None
    provides_magmoms = False
    level_of_theory = LevelOfTheory(
        functional="Lennard-Jones", corrections="none", reference="none"
    )

    def __init__(
        self,
        *,
        epsilon_ev: float = 0.3,
        sigma_a: float | None = None,
        cutoff_sigma: float = 3.0,
        device: str = "cpu",
    ) -> None:
        self.epsilon_ev = epsilon_ev
        self.sigma_a = sigma_a
        self.cutoff_sigma = cutoff_sigma
        self.device = device

    @property
    def elements(self) -> frozenset[str]:
        """Every element with a tabulated covalent radius."""
        return CORDERO_ELEMENTS

    @property
    def software(self) -> dict[str, str]:
        """The version of this package."""
        return {"nanoos": __version__}

    def compute(
        self, structures: Sequence[Structure], *, stress: bool = True, batch_size: int = 16
    ) -> list[PotentialResult]:
        """Energy, forces and stress; see :class:`Potential`."""
        check_coverage(self, structures)
        return [
            self._one(structure, stress=stress)
            for batch in batches(structures, batch_size)
            for structure in batch
        ]

    def energies(self, structures: Sequence[Structure], *, batch_size: int = 16) -> FloatArray:
        """(n_structures,), total energies in eV."""
        found = self.compute(structures, stress=False, batch_size=batch_size)
        return np.array([result.energy_ev for result in found])

    def ase_calculator(self) -> Any:
        """A calculator for ASE."""
        from nanoos.potentials.ase_adapter import PotentialCalculator

        return PotentialCalculator(self)

    def _sigmas(self, structure: Structure) -> FloatArray:
        """(n_sites,), the σ of a pair of equals; a pair takes the mean."""
        if self.sigma_a is not None:
            return np.full(structure.n_sites, self.sigma_a)
        return np.asarray(2 * covalent_radii[structure.atomic_numbers] / _MINIMUM)

    def _one(self, structure: Structure, *, stress: bool) -> PotentialResult:
        sigmas = self._sigmas(structure)
        cutoff = self.cutoff_sigma * float(sigmas.max())
        pairs = neighbor_list(structure, cutoff, may_be_isolated=CORDERO_ELEMENTS)
        vectors, r = pairs.vectors(structure), pairs.distances
        sigma = 0.5 * (sigmas[pairs.centers] + sigmas[pairs.neighbors])
        sixth = (sigma / r) ** 6
        energy = 4 * self.epsilon_ev * (sixth**2 - sixth)
        slope = -24 * self.epsilon_ev * (2 * sixth**2 - sixth) / r
        switch, switch_slope = _switch(r, _SWITCH_START * cutoff, cutoff)
        slope = slope * switch + energy * switch_slope
        total = float(0.5 * np.sum(energy * switch))
        pull = (slope / r)[:, None] * vectors
        forces = np.zeros((structure.n_sites, 3))
        np.add.at(forces, pairs.centers, pull)
        tensor = 0.5 * vectors.T @ pull / structure.volume if stress else None
        return PotentialResult(
            energy_ev=total,
            energy_ev_per_atom=total / structure.n_sites,
            forces=forces,
            stress=tensor,
        )


def _switch(r: FloatArray, start: float, end: float) -> tuple[FloatArray, FloatArray]:
    """One below ``start``, zero above ``end``, and its derivative."""
    x = np.clip((r - start) / (end - start), 0.0, 1.0)
    value = 1 - x**3 * (10 - 15 * x + 6 * x**2)
    derivative = -30 * x**2 * (1 - x) ** 2 / (end - start)
    return value, derivative
