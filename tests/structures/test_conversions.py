import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from crystals import rocksalt, rocksalt_cubic
from pymatgen.core import DummySpecies, Lattice, Species
from pymatgen.core import Structure as PymatgenStructure

from nanoos.core.errors import StructureRefusedError
from nanoos.structures import Structure


def decorated() -> Structure:
    salt = rocksalt("Fe", "O", 4.3)
    return Structure(
        lattice=salt.lattice,
        species=salt.species,
        frac_coords=salt.frac_coords,
        charges=(2, -2),
        spins=(3.5, 0.1),
        label="wustite",
    )


@pytest.mark.parametrize("structure", [rocksalt(), rocksalt_cubic(), decorated()])
def test_there_and_back(structure):
    assert Structure.from_ase(structure.to_ase()) == structure
    assert Structure.from_pymatgen(structure.to_pymatgen()) == structure


def test_ase_gets_the_same_positions():
    atoms = decorated().to_ase()
    assert atoms.pbc.all()
    np.testing.assert_allclose(atoms.positions, decorated().cart_coords, atol=1e-12)
    assert atoms.get_initial_magnetic_moments().tolist() == [3.5, 0.1]


def test_pymatgen_gets_charges_and_spins():
    structure = decorated().to_pymatgen()
    assert structure[0].specie == Species("Fe", 2)
    assert structure.site_properties["magmom"] == [3.5, 0.1]


def test_spins_of_pymatgen_species():
    structure = PymatgenStructure(
        Lattice.cubic(3), [Species("Fe", 3, spin=5), "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    found = Structure.from_pymatgen(structure)
    assert found.spins == (5.0, 0.0)
    assert found.charges == (3.0, 0.0)


def code(call) -> StructureRefusedError:
    with pytest.raises(StructureRefusedError) as refused:
        call()
    return refused.value


def test_partial_occupancy_in_pymatgen():
    for species in ({"Fe": 0.5, "Co": 0.5}, {"Fe": 0.9}):
        disordered = PymatgenStructure(Lattice.cubic(3), ["O", species], [[0, 0, 0], [0.5] * 3])
        error = code(lambda s=disordered: Structure.from_pymatgen(s))
        assert error.error_code == "partial_occupancy"
        assert "Site 2" in error.message
        assert "0.5" in error.message or "0.9" in error.message


def test_partial_occupancy_in_ase():
    atoms = bulk("Fe")
    atoms.info["occupancy"] = {"0": {"Fe": 0.75}}
    error = code(lambda: Structure.from_ase(atoms))
    assert error.error_code == "partial_occupancy"
    assert "0.75" in error.message


def test_no_cell_in_ase():
    assert code(lambda: Structure.from_ase(molecule("H2O"))).error_code == "missing_lattice"
    slab = Atoms("Cu", cell=[3, 3, 0], pbc=[True, True, False])
    assert code(lambda: Structure.from_ase(slab)).error_code == "missing_lattice"


def test_flat_cell_in_ase():
    flat = Atoms("Cu", cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0]], pbc=True)
    assert code(lambda: Structure.from_ase(flat).validated()).error_code == "zero_volume"


def test_dummies():
    dummy = PymatgenStructure(Lattice.cubic(3), [DummySpecies("X")], [[0, 0, 0]])
    assert code(lambda: Structure.from_pymatgen(dummy)).error_code == "unknown_element"
    assert code(lambda: Structure.from_ase(Atoms("X", cell=[3] * 3))).error_code == (
        "unknown_element"
    )


def test_vector_moments():
    atoms = Atoms("Fe", cell=[3] * 3, pbc=True, magmoms=[[0, 0, 2.0]])
    assert code(lambda: Structure.from_ase(atoms)).error_code == "noncollinear_spins"
    structure = PymatgenStructure(
        Lattice.cubic(3), ["Fe"], [[0, 0, 0]], site_properties={"magmom": [[0, 0, 2.0]]}
    )
    assert code(lambda: Structure.from_pymatgen(structure)).error_code == "noncollinear_spins"
