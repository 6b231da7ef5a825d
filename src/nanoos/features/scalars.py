"""Numbers that describe a crystal as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nanoos.features.graph import CrystalGraph
from nanoos.structures.elements import SYMBOLS

_G_CM3_PER_U_A3 = 1.66053906660


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureScalars:
    """Composition and packing of a crystal.

    Attributes:
        element_fractions: Element to its share of the atoms, by atomic number; sums to 1.
        mean_mass_u: Mean atomic mass, u.
        mean_electronegativity: Mean Pauling electronegativity; None where an element has none.
        mean_radius_a: Mean covalent radius, Å (Cordero 2008); None beyond curium.
        volume_per_atom_a3: Å^3.
        density_g_cm3: Mass density, g/cm^3.
        packing_fraction: Volume of spheres of the covalent radii over the volume of the cell;
            overlaps count twice, so it may exceed 1. None as ``mean_radius_a``.
    """

    element_fractions: Mapping[str, float]
    mean_mass_u: float
    mean_electronegativity: float | None
    mean_radius_a: float | None
    volume_per_atom_a3: float
    density_g_cm3: float
    packing_fraction: float | None

    def as_dict(self) -> dict[str, Any]:
        """JSON types, by field."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {**values, "element_fractions": dict(self.element_fractions)}


def structure_scalars(graph: CrystalGraph) -> StructureScalars:
    """The scalars of the crystal of a graph; they do not depend on its bonds."""
    _, masses, electronegativities, radii = graph.atom_features.T
    volume = float(abs(np.linalg.det(graph.lattice)))
    numbers, counts = np.unique(graph.atomic_numbers, return_counts=True)
    return StructureScalars(
        element_fractions={
            SYMBOLS[number]: float(count) / graph.n_atoms
            for number, count in zip(numbers, counts, strict=True)
        },
        mean_mass_u=float(masses.mean()),
        mean_electronegativity=_known(electronegativities.mean()),
        mean_radius_a=_known(radii.mean()),
        volume_per_atom_a3=volume / graph.n_atoms,
        density_g_cm3=float(masses.sum()) * _G_CM3_PER_U_A3 / volume,
        packing_fraction=_known(4.0 / 3.0 * np.pi * (radii**3).sum() / volume),
    )


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
