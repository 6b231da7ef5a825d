import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError
from nanoos.design.descriptors import describe_points
from nanoos.design.spaces import build_space
from nanoos.features.composition import (
    ELEMENT_PROPERTIES,
    bond_statistics,
    composition_statistics,
    element_table,
)


def column(table, name):
    return table.values[:, table.names.index(name)]


def test_statistics_by_hand():
    table = composition_statistics([{"Mg": 1, "O": 1}, {"Al": 2, "O": 3}, {"Cu": 4}])
    assert table.values.dtype == np.float64
    chi = column(table, "mean_electronegativity")
    assert chi[0] == pytest.approx((1.31 + 3.44) / 2)
    assert chi[1] == pytest.approx((2 * 1.61 + 3 * 3.44) / 5)
    assert column(table, "range_electronegativity")[0] == pytest.approx(3.44 - 1.31)
    assert column(table, "std_electronegativity")[0] == pytest.approx((3.44 - 1.31) / 2)
    assert column(table, "std_mass_u")[2] == column(table, "range_group")[2] == 0.0


@pytest.mark.parametrize(
    ("symbol", "s", "p", "d", "f"),
    [("O", 2, 4, 0, 0), ("Mg", 2, 0, 0, 0), ("Ti", 2, 0, 2, 0), ("Cu", 1, 0, 10, 0),
     ("Ga", 2, 1, 0, 0), ("W", 2, 0, 4, 0), ("Pd", 0, 0, 10, 0), ("Nd", 2, 0, 0, 4),
     ("Pb", 2, 2, 0, 0)],
)  # fmt: skip
def test_valence_electrons(symbol, s, p, d, f):
    row = dict(zip(ELEMENT_PROPERTIES, element_table()[symbol], strict=True))
    assert [row[f"valence_{x}"] for x in "spdf"] == [s, p, d, f]
    assert row["valence"] == s + p + d + f


def test_every_element_has_finite_numbers():
    values = np.array(list(element_table().values()))
    assert values.shape == (103, len(ELEMENT_PROPERTIES))
    assert np.isfinite(values).all()


def test_bond_statistics_by_hand():
    table = bond_statistics([{("Mg", "O"): 1.0}, {("Ni", "Sn"): 1.0, ("Ni", "Ti"): 3.0}])
    assert column(table, "bond_difference_electronegativity")[0] == pytest.approx(3.44 - 1.31)
    expected = ((1.91 + 1.96) / 2 + 3 * (1.91 + 1.54) / 2) / 4
    assert column(table, "bond_mean_electronegativity")[1] == pytest.approx(expected)


def test_refuses_what_it_does_not_know():
    with pytest.raises(InvalidInputError, match="Rf"):
        composition_statistics([{"Rf": 1}])
    with pytest.raises(InvalidInputError, match="without atoms"):
        composition_statistics([{}])


def test_exchanged_sites_are_told_apart():
    space = build_space(
        {
            "type": "prototypes",
            "prototypes": {"perovskite": {"A": ["La", "Al"], "B": ["La", "Al"], "X": ["O"]}},
        }
    )
    table = describe_points(list(space))
    assert np.allclose(table.values[0, :33], table.values[1, :33])
    assert not np.allclose(table.values[0], table.values[1])


def test_columns_speed_and_determinism():
    metals = [
        "Li",
        "Na",
        "K",
        "Mg",
        "Ca",
        "Sr",
        "Ba",
        "Sc",
        "Y",
        "La",
        "Ti",
        "Zr",
        "Hf",
        "V",
        "Nb",
        "Ta",
        "Cr",
        "Mo",
        "W",
        "Mn",
        "Fe",
        "Co",
        "Ni",
        "Cu",
        "Zn",
    ]
    space = build_space(
        {
            "type": "prototypes",
            "charge_neutral": False,
            "prototypes": {
                "half_heusler": {"X": metals, "Y": metals, "Z": ["Sn", "Sb", "Ge"]},
                "rocksalt": {"A": metals, "X": ["C", "N", "O"]},
            },
        }
    )
    points = list(space)
    table = describe_points(points)
    assert len(set(table.names)) == table.values.shape[1]
    assert len(table.values) == len(points)
    assert np.array_equal(table.values, describe_points(points).values)
    is_rocksalt = column(table, "is_rocksalt")
    assert is_rocksalt.sum() == 75
    assert np.array_equal(column(table, "is_half_heusler"), 1 - is_rocksalt)
    assert set(column(table, "coordination")) == {6.0, 16 / 3}
