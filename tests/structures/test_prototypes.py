"""Every prototype is the crystal it says it is."""

import warnings

import numpy as np
import pytest
import spglib

from nanoos.structures.generate import build_prototype, geometry
from nanoos.structures.prototypes import PROTOTYPES

ELEMENTS = ("Ca", "Ti", "Sn", "O")

COORDINATION = {
    "rocksalt": {"A": 6, "X": 6},
    "zincblende": {"A": 4, "X": 4},
    "wurtzite": {"A": 4, "X": 4},
    "cscl": {"A": 8, "X": 8},
    "nias": {"A": 6, "X": 6},
    "wc": {"A": 6, "X": 6},
    "fluorite": {"A": 8, "X": 4},
    "antifluorite": {"A": 4, "X": 8},
    "rutile": {"A": 6, "X": 3},
    "cdi2": {"A": 6, "X": 3},
    "alb2": {"A": 12, "B": 3},
    "laves": {"B": 6},
    "cu3au": {"A": 12, "B": 12},
    "a15": {"A": 12, "B": 2},
    "reo3": {"B": 6, "X": 2},
    "perovskite": {"A": 12, "B": 6, "X": 2},
    "antiperovskite": {"A": 12, "B": 6},
    "double_perovskite": {"A": 12, "B": 6, "C": 6},
    "spinel": {"A": 4, "B": 6},
    "chalcopyrite": {"A": 4, "B": 4, "X": 4},
    "half_heusler": {"X": 8, "Y": 4, "Z": 4},
    "full_heusler": {"X": 8, "Y": 8, "Z": 8},
}


def filled(name):
    return dict(zip(PROTOTYPES[name].roles, ELEMENTS, strict=False))


@pytest.mark.parametrize("name", PROTOTYPES)
def test_space_group_and_primitive_cell(name):
    structure = build_prototype(name, filled(name))
    cell = (structure.lattice, structure.frac_coords, structure.atomic_numbers)
    with warnings.catch_warnings():  # spglib announces a change of its error handling
        warnings.simplefilter("ignore", DeprecationWarning)
        number = spglib.get_symmetry_dataset(cell, symprec=1e-4).number
        primitive = spglib.standardize_cell(cell, to_primitive=True, no_idealize=True)
    assert number == PROTOTYPES[name].space_group
    assert len(primitive[2]) == structure.n_sites


@pytest.mark.parametrize(("name", "expected"), COORDINATION.items())
def test_coordination_numbers(name, expected):
    found = geometry(name).coordination
    assert {role: found[role] for role in expected} == expected


@pytest.mark.parametrize("name", PROTOTYPES)
def test_exchanging_equivalent_roles_gives_the_same_crystal(name):
    from pymatgen.analysis.structure_matcher import StructureMatcher

    prototype = PROTOTYPES[name]
    for group in prototype.equivalent:
        one = filled(name)
        other = one | {group[0]: one[group[1]], group[1]: one[group[0]]}
        first, second = (build_prototype(name, e).to_pymatgen() for e in (one, other))
        assert StructureMatcher().fit(first, second)


@pytest.mark.parametrize("name", PROTOTYPES)
def test_data_is_consistent(name):
    prototype = PROTOTYPES[name]
    assert prototype.name == name
    assert sum(prototype.counts.values()) == len(prototype.sites)
    assert {role for pair in prototype.contacts for role in pair} == set(prototype.roles)
    assert {role for group in prototype.equivalent for role in group} <= set(prototype.roles)
    assert prototype.ionic or prototype.ionic_volume_factor is None
    assert np.linalg.det(np.array(prototype.lattice)) != 0
