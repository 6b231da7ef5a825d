"""A complete pw.x input with a predicted mesh, read back by ASE."""

import io

import ase.io
import numpy as np
import pytest

from nanoos.kpoints import kpoint_model
from nanoos.pseudopotentials import install_family, set_pseudo_folder
from nanoos.services.kpoint_inputs import espresso_input
from nanoos.testing.crystals import rocksalt

ARCHIVE = "pseudos/pseudodojo_pbe_sr_v0.4.1_standard.tar.xz"


@pytest.fixture
def _family(shared, tmp_path):
    archive = shared / ARCHIVE
    if not archive.exists():
        pytest.skip(f"{archive} is not there")
    set_pseudo_folder(tmp_path / "pseudos")
    install_family(archive)
    yield
    set_pseudo_folder(None)


@pytest.mark.usefixtures("_family")
def test_the_input_is_complete_and_has_the_mesh():
    structure = rocksalt(4.25)
    (found,) = kpoint_model("RF").predict([structure])
    made = espresso_input(structure, found.mesh)
    n1, n2, n3 = found.mesh.divisions
    assert f"K_POINTS automatic\n  {n1} {n2} {n3} 0 0 0\n" in made.text
    for word in ("ecutwfc", "ecutrho", "occupations", "conv_thr", "ATOMIC_SPECIES"):
        assert word in made.text
    assert set(made.pseudopotentials) == {"Mg", "O"}
    assert all(name in made.text for name in made.pseudopotentials.values())
    atoms = ase.io.read(io.StringIO(made.text), format="espresso-in")
    assert np.allclose(atoms.cell.array, structure.lattice)
    assert atoms.get_chemical_symbols() == list(structure.species)
    assert made.filename == "MgO.scf.in"
