import numpy as np
import pytest

from nanoos.engines.mlip.freedom import symmetry_freedom
from nanoos.structures import Structure
from nanoos.testing.crystals import perturbed, rocksalt, wurtzite


def cell(lattice, species, coords):
    return Structure(
        lattice=np.array(lattice, dtype=float), species=species, frac_coords=np.array(coords)
    )


PEROVSKITE = cell(
    np.eye(3) * 3.9,
    ("Sr", "Ti", "O", "O", "O"),
    [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
)
PYRITE_LIKE = cell(
    np.eye(3) * 5.66,
    ("N",) * 8,
    [
        [s * 0.06 + x, s * 0.06 * ty + y, s * 0.06 * tz + z]
        for x, y, z, ty, tz in (
            (0, 0, 0, 1, 1),
            (0.5, 0.5, 0, -1, -1),
            (0, 0.5, 0.5, -1, 1),
            (0.5, 0, 0.5, 1, -1),
        )
        for s in (1, -1)
    ],
)
HCP = cell(
    [[3.2, 0, 0], [-1.6, 1.6 * 3**0.5, 0], [0, 0, 5.2]],
    ("Mg", "Mg"),
    [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]],
)


@pytest.mark.parametrize(
    ("structure", "shape", "positions"),
    [
        (rocksalt(), False, False),
        (PEROVSKITE, False, False),
        (PYRITE_LIKE, False, True),
        (HCP, True, False),
        (wurtzite(), True, True),
        (perturbed(rocksalt()), True, True),
    ],
)
def test_what_is_free(structure, shape, positions):
    freedom = symmetry_freedom(structure)
    assert (freedom.shape, freedom.positions) == (shape, positions)
    assert freedom.only_volume == (not shape and not positions)


def test_names_the_space_group():
    assert symmetry_freedom(rocksalt()).space_group == "Fm-3m (225)"
    assert symmetry_freedom(wurtzite()).space_group == "P6_3mc (186)"
