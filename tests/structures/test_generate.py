"""The starting cells are near the real ones, and wrong input is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError, NotFoundError
from nanoos.structures.generate import build_prototype, lattice_constant
from nanoos.structures.radii import element_radii, neutral_oxidation_states

# experimental volumes of the primitive cell, Å^3, from lattice constants (CRC handbook)
KNOWN = [
    ("rocksalt", {"A": "Mg", "X": "O"}, 4.212**3 / 4),
    ("rocksalt", {"A": "Na", "X": "Cl"}, 5.640**3 / 4),
    ("rocksalt", {"A": "Ti", "X": "C"}, 4.327**3 / 4),
    ("rocksalt", {"A": "Ti", "X": "N"}, 4.240**3 / 4),
    ("zincblende", {"A": "Zn", "X": "S"}, 5.409**3 / 4),
    ("zincblende", {"A": "Ga", "X": "As"}, 5.653**3 / 4),
    ("zincblende", {"A": "B", "X": "N"}, 3.616**3 / 4),
    ("wurtzite", {"A": "Ga", "X": "N"}, 45.7),
    ("cscl", {"A": "Cs", "X": "Cl"}, 4.123**3),
    ("fluorite", {"A": "Ca", "X": "F"}, 5.463**3 / 4),
    ("antifluorite", {"A": "Li", "X": "O"}, 4.619**3 / 4),
    ("perovskite", {"A": "Sr", "B": "Ti", "X": "O"}, 3.905**3),
    ("wc", {"A": "W", "X": "C"}, 20.75),
    ("rutile", {"A": "Ti", "X": "O"}, 62.4),
    ("spinel", {"A": "Mg", "B": "Al", "X": "O"}, 8.083**3 / 4),
    ("alb2", {"A": "Ti", "B": "B"}, 25.7),
    ("laves", {"A": "Mg", "B": "Cu"}, 7.034**3 / 4),
    ("cu3au", {"A": "Au", "B": "Cu"}, 3.749**3),
    ("half_heusler", {"X": "Ni", "Y": "Ti", "Z": "Sn"}, 5.941**3 / 4),
    ("full_heusler", {"X": "Cu", "Y": "Mn", "Z": "Al"}, 5.949**3 / 4),
    ("pyrite", {"A": "Fe", "X": "S"}, 5.418**3),
    ("chalcopyrite", {"A": "Cu", "B": "Fe", "X": "S"}, 145.9),
]


@pytest.mark.parametrize(("name", "elements", "volume"), KNOWN)
def test_starting_volume_is_near_experiment(name, elements, volume):
    assert build_prototype(name, elements).volume == pytest.approx(volume, rel=0.25)


def test_mean_error_of_known_volumes():
    errors = [abs(np.log(build_prototype(n, e).volume / v)) for n, e, v in KNOWN]
    assert np.mean(errors) < 0.08


def test_structure_has_the_right_content():
    structure = build_prototype("perovskite", {"A": "Sr", "B": "Ti", "X": "O"})
    assert structure.formula == "SrTiO3"
    assert structure.composition == {"Sr": 1, "Ti": 1, "O": 3}
    again = build_prototype("perovskite", {"X": "O", "B": "Ti", "A": "Sr"})
    assert again.content_hash == structure.content_hash


def test_volume_scale():
    elements = {"A": "Mg", "X": "O"}
    plain = build_prototype("rocksalt", elements)
    scaled = build_prototype("rocksalt", elements, volume_scale=1.2)
    assert scaled.volume == pytest.approx(1.2 * plain.volume)
    with pytest.raises(InvalidInputError, match="volume_scale"):
        build_prototype("rocksalt", elements, volume_scale=0.0)


def test_rock_salt_bond_is_the_sum_of_ionic_radii():
    a = lattice_constant("rocksalt", {"A": "Mg", "X": "O"})
    shannon = element_radii("Mg").ionic_a[2] + element_radii("O").ionic_a[-2]
    assert a / 2 == pytest.approx(shannon, rel=0.02)


def test_wrong_input_is_refused():
    with pytest.raises(NotFoundError) as error:
        build_prototype("rocksal", {"A": "Mg", "X": "O"})
    assert "rocksalt" in error.value.hint
    with pytest.raises(InvalidInputError) as error:
        build_prototype("rocksalt", {"A": "Mg"})
    assert error.value.error_code == "wrong_roles"
    with pytest.raises(InvalidInputError) as error:
        build_prototype("rocksalt", {"A": "Mg", "X": "Ne"})
    assert error.value.error_code == "unknown_radius"
    with pytest.raises(InvalidInputError) as error:
        build_prototype("rocksalt", {"A": "Mg", "X": "Oo"})
    assert error.value.error_code == "unknown_element"


@pytest.mark.parametrize(
    ("elements", "counts", "states"),
    [
        (("Sr", "Ti", "O"), (1, 1, 3), (2, 4, -2)),
        (("Na", "Cl"), (1, 1), (1, -1)),
        (("Na", "O"), (1, 1), None),
        (("Ti", "C"), (1, 1), (4, -4)),
        (("Fe", "O"), (2, 3), (3, -2)),
        (("Ba", "Ti", "F"), (1, 1, 3), None),
        (("Mg", "Ca"), (1, 1), None),
    ],
)
def test_neutral_oxidation_states(elements, counts, states):
    assert neutral_oxidation_states(elements, counts) == states


def test_volumes_against_materials_project():
    """The rock salt halides and chalcogenides of the shared data, matched by formula."""
    pandas = pytest.importorskip("pandas")
    path = Path(__file__).parents[3] / "shared/data/mp_crystals/mp_crystals.parquet"
    if not path.exists():
        pytest.skip("the shared data folder is not here")
    table = pandas.read_parquet(path, filters=[("nsites", "==", 2)])
    errors = []
    for row in table.itertuples():
        data = json.loads(row.structure)
        lattice = np.array(data["lattice"])
        gap = np.array(data["frac_coords"][1]) - data["frac_coords"][0]
        lengths, angles = np.linalg.norm(lattice, axis=1), (lattice @ lattice.T)
        cubic = np.ptp(lengths) < 0.02 and np.allclose(
            angles[np.triu_indices(3, 1)] / lengths[0] ** 2, 0.5, atol=0.01
        )
        if not cubic or not np.allclose(gap % 1, 0.5, atol=1e-3):
            continue
        metal, other = row.reduced_formula, ""
        for anion in ("O", "S", "Se", "Te", "F", "Cl", "Br", "I", "N"):
            if row.reduced_formula.endswith(anion):
                metal, other = row.reduced_formula.removesuffix(anion), anion
        if other and metal.isalpha() and metal not in {"H", "B", "Xe"}:
            start = build_prototype("rocksalt", {"A": metal, "X": other}).volume
            errors.append(abs(np.log(start / abs(np.linalg.det(lattice)))))
    assert len(errors) > 50
    assert np.median(errors) < 0.10
