import json
from pathlib import Path

import numpy as np
import pytest
from crystals import rocksalt, rocksalt_cubic

from nanoos.structures import (
    Structure,
    duplicate_key,
    export_bytes,
    find_duplicate,
    read_structures_from_bytes,
)

MP = Path(__file__).parents[3] / "shared" / "data" / "mp_crystals" / "mp_crystals.parquet"


def with_coords(structure, coords) -> Structure:
    return Structure(lattice=structure.lattice, species=structure.species, frac_coords=coords)


def rotated(structure) -> Structure:
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    return structure.with_lattice(structure.lattice @ rotation)


def permuted(structure) -> Structure:
    order = np.random.default_rng(2).permutation(structure.n_sites)
    return Structure(
        lattice=structure.lattice,
        species=tuple(structure.species[i] for i in order),
        frac_coords=structure.frac_coords[order],
    )


def test_the_same_crystal_written_differently():
    salt = rocksalt_cubic()
    shifted = with_coords(salt, salt.frac_coords + np.array([0.1, 0.27, 0.9]))
    for same in (salt, rocksalt(), rotated(salt), permuted(salt), shifted, rotated(rocksalt())):
        assert find_duplicate(same, [rocksalt("K"), salt]) == 1
        assert duplicate_key(same) == duplicate_key(salt)


def test_strained_and_displaced_copies_are_other_structures():
    salt = rocksalt_cubic()
    for scale in (0.98, 0.998, 1.002, 1.02):
        assert find_duplicate(salt.scaled_to_volume(salt.volume * scale), [salt]) is None
    strain = np.eye(3)
    strain[0, 1] = 0.005
    assert find_duplicate(salt.with_lattice(salt.lattice @ strain), [salt]) is None
    coords = salt.frac_coords.copy()
    coords[0, 0] += 0.01 / 5.64
    assert find_duplicate(with_coords(salt, coords), [salt]) is None


def test_rounded_numbers_are_the_same():
    salt = rocksalt_cubic(5.64017)
    rounded = Structure(
        lattice=np.round(salt.lattice, 4),
        species=salt.species,
        frac_coords=salt.frac_coords + 3e-5 * np.random.default_rng(0).uniform(-1, 1, (8, 3)),
    )
    assert find_duplicate(rounded, [salt]) == 0


def test_spins_count_and_charges_do_not():
    salt = rocksalt("Fe", "O")

    def with_values(**values):
        return Structure(
            lattice=salt.lattice, species=salt.species, frac_coords=salt.frac_coords, **values
        )

    assert find_duplicate(with_values(charges=(2, -2)), [salt]) == 0
    assert find_duplicate(with_values(spins=(4, 0)), [salt]) is None
    assert find_duplicate(with_values(spins=(4, 0)), [with_values(spins=(4.01, 0))]) == 0
    assert find_duplicate(with_values(spins=(4, 0)), [with_values(spins=(3, 0))]) is None


def test_nothing_to_compare_with():
    assert find_duplicate(rocksalt(), []) is None
    assert find_duplicate(rocksalt(), [rocksalt("K")]) is None


@pytest.mark.skipif(not MP.exists(), reason="shared/data/mp_crystals is not here")
def test_real_crystals_survive_files():
    pandas = pytest.importorskip("pandas")
    table = pandas.read_parquet(MP, columns=["structure", "nsites"])
    rows = table[table.nsites <= 30].structure.sample(50, random_state=7)
    for row in rows:
        structure = Structure.from_dict(json.loads(row)).validated()
        for form in ("cif", "extxyz"):
            export = export_bytes([structure], form)
            (outcome,) = read_structures_from_bytes(export.filename, export.data)
            assert outcome.error is None
            assert find_duplicate(outcome.structure, [structure]) == 0
            if form == "extxyz":
                assert outcome.structure == structure
