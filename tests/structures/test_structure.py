import numpy as np
import pytest
from crystals import rocksalt, rocksalt_cubic
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoos.core.errors import StructureRefusedError
from nanoos.structures import Structure, reduced_formula


def test_hash_ignores_label_wrapping_and_negative_zero():
    salt = rocksalt()
    moved = Structure(
        lattice=salt.lattice,
        species=salt.species,
        frac_coords=salt.frac_coords + np.array([[1, -1, 0], [0, 2, -3]]),
        label="other",
    )
    tiny = Structure(
        lattice=salt.lattice - 0.0,
        species=salt.species,
        frac_coords=salt.frac_coords - 1e-9,
    )
    assert moved == salt
    assert hash(moved) == hash(salt)
    assert tiny.content_hash == salt.content_hash


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, -1e-9, 1e-9, 1 - 1e-9, 1 + 1e-9, -1.0, 5.0])
def test_hash_at_the_edge_of_the_cell(value):
    def with_x(x):
        return Structure(lattice=np.eye(3) * 4, species=("Cu",), frac_coords=np.array([[x, 0, 0]]))

    assert with_x(value).content_hash == with_x(0.0).content_hash


@given(st.lists(st.integers(-(10**6), 10**6), min_size=3, max_size=3), st.integers(-3, 3))
@settings(max_examples=60, deadline=None)
def test_hash_is_the_same_for_lattice_translations(millionths, shift):
    coords = np.array([millionths]) * 1e-6
    first = Structure(lattice=np.eye(3) * 4, species=("Cu",), frac_coords=coords)
    second = Structure(lattice=np.eye(3) * 4, species=("Cu",), frac_coords=coords + shift)
    assert first.content_hash == second.content_hash


def test_hash_sees_every_part():
    salt = rocksalt()
    others = [
        rocksalt("K"),
        salt.scaled_to_volume(salt.volume * 1.0001),
        Structure(
            lattice=salt.lattice,
            species=salt.species,
            frac_coords=salt.frac_coords + np.array([[0, 0, 0], [0, 0, 1e-5]]),
        ),
        Structure(
            lattice=salt.lattice,
            species=salt.species,
            frac_coords=salt.frac_coords,
            charges=(1, -1),
        ),
        Structure(
            lattice=salt.lattice, species=salt.species, frac_coords=salt.frac_coords, spins=(1, -1)
        ),
    ]
    assert len({s.content_hash for s in [salt, *others]}) == 6


def test_arrays_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        rocksalt().lattice[0, 0] = 1.0


def test_derived_values():
    salt = rocksalt_cubic()
    assert salt.volume == pytest.approx(5.64**3)
    assert salt.lengths == pytest.approx((5.64,) * 3)
    assert salt.angles == pytest.approx((90,) * 3)
    assert salt.formula == "NaCl"
    assert salt.density == pytest.approx(2.163, abs=0.003)  # CRC: 2.17 g/cm^3
    assert salt.elements == ("Na", "Cl")


def test_right_handed_is_the_same_crystal():
    salt = rocksalt()
    left = Structure(
        lattice=salt.lattice[[1, 0, 2]], species=salt.species, frac_coords=salt.frac_coords + 0.1
    )
    assert left.is_left_handed != salt.is_left_handed
    turned = (left if left.is_left_handed else salt).right_handed()
    assert not turned.is_left_handed
    source = left if left.is_left_handed else salt
    np.testing.assert_allclose(turned.cart_coords, source.cart_coords, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"lattice": np.eye(2)}, "invalid_lattice"),
        ({"species": ("Na",)}, "invalid_sites"),
        ({"spins": (1.0,)}, "invalid_sites"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, code):
    salt = rocksalt()
    parts = {"lattice": salt.lattice, "species": salt.species, "frac_coords": salt.frac_coords}
    with pytest.raises(StructureRefusedError) as refused:
        Structure(**(parts | change))
    assert refused.value.error_code == code


def test_from_dict_refuses_atomic_number_zero_and_negative():
    for z in (0, -1):
        structure = Structure.from_dict(
            {"lattice": np.eye(3) * 4, "atomic_numbers": [z], "frac_coords": [[0, 0, 0]]}
        )
        with pytest.raises(StructureRefusedError) as refused:
            structure.validated()
        assert refused.value.error_code == "unknown_element"


def test_reduced_formula():
    assert reduced_formula({"O": 6, "Ti": 2, "Sr": 2}) == "SrTiO3"
    assert reduced_formula({"O": 4}) == "O2"
