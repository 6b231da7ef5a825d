"""How many directions the bonds of a crystal run in: molecules 0, chains 1, layers 2, solids 3.

The rank of the lattice translations that bonds connect, by Larsen's algorithm in ASE. Ref:
Larsen, Pandey, Strange, Jacobsen, DOI 10.1103/PhysRevMaterials.3.034003. Two atoms are bonded
where their distance is below 1.25 times the sum of their covalent radii (Cordero et al., DOI
10.1039/b801115j): above 1.20, the closest packed metals fall apart, above 1.27 the chains of
tellurium grow together. With CrystalNN's bonds the answer was the same for 157 of 160 random
Materials Project crystals, at about a hundred times the cost.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nanoos.structures.structure import FloatArray, Structure

BOND_FACTOR: Final = 1.25


def dimensionality(structure: Structure) -> int:
    """The highest dimensionality of all bonded components, 0 to 3.

    An ionic crystal of layers and ions between them counts as 3 where the ions' bonds join the
    layers.
    """
    from ase.geometry.dimensionality.rank_determination import RDA

    new_graph: Any = RDA  # not annotated in ASE
    graph = new_graph(structure.n_sites)
    for first, second, offset in zip(*_bonds(structure), strict=True):
        graph.insert_bond(int(first), int(second), tuple(int(n) for n in offset))
    histogram = graph.check()
    return max(rank for rank in range(4) if histogram[rank])


def _bonds(
    structure: Structure,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], FloatArray]:
    """Indices of bonded sites and the lattice translation (n_bonds, 3) of the second."""
    from ase.data import covalent_radii
    from pymatgen.optimization.neighbors import find_points_in_spheres

    radii = np.asarray(covalent_radii, dtype=np.float64)[structure.atomic_numbers]
    coords = np.ascontiguousarray(structure.cart_coords)
    first, second, images, distances = find_points_in_spheres(
        coords,
        coords,
        r=float(2 * BOND_FACTOR * radii.max()),
        pbc=np.array([1, 1, 1], dtype=np.int64),
        lattice=np.ascontiguousarray(structure.lattice),
        tol=1e-8,
    )
    # each bond once
    bonded = (distances < BOND_FACTOR * (radii[first] + radii[second])) & (first <= second)
    bonded &= distances > 1e-8  # noqa: PLR2004 - a site is not bonded to itself
    return first[bonded], second[bonded], images[bonded]
