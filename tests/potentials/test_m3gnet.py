"""Potentials of matgl with their published weights."""

import numpy as np
import pytest

from nanoos.core.errors import UnavailableError
from nanoos.models import get_model
from nanoos.potentials import get_potential, load_references, potentials_covering
from nanoos.potentials.m3gnet import M3GNetMP
from nanoos.testing import PotentialContract
from nanoos.testing.crystals import rocksalt, wurtzite

OXIDES = [rocksalt(4.25, "Mg", "O"), rocksalt(4.81, "Ca", "O"), wurtzite(3.28, 5.29, 0.379)]


@pytest.mark.usefixtures("added_weights")
class TestM3GNet(PotentialContract):
    name = "M3GNET"


@pytest.mark.slow
@pytest.mark.usefixtures("added_weights")
class TestM3GNetMatPESPBE(PotentialContract):
    name = "M3GNET-MatPES-PBE"


@pytest.mark.slow
@pytest.mark.usefixtures("added_weights")
class TestM3GNetMatPESr2SCAN(PotentialContract):
    name = "M3GNET-MatPES-r2SCAN"


@pytest.mark.slow
@pytest.mark.usefixtures("added_weights")
class TestTensorNetMatPESPBE(PotentialContract):
    name = "TensorNet-MatPES-PBE"


@pytest.mark.slow
@pytest.mark.usefixtures("added_weights")
class TestTensorNetMatPESr2SCAN(PotentialContract):
    name = "TensorNet-MatPES-r2SCAN"


def test_energies_are_those_of_another_potential_of_the_same_level(added_weights):
    """Both learned uncorrected energies of the Materials Project; misread weights are 2 eV off."""
    ours = get_potential("M3GNET").energies(OXIDES)
    other = get_potential("SevenNet").energies(OXIDES)
    atoms = [s.n_sites for s in OXIDES]
    np.testing.assert_allclose(ours / atoms, other / atoms, atol=0.06)


def test_formation_energies_against_its_own_elements(added_weights):
    predictions = get_model("M3GNET").predict([rocksalt(5.69, "Na", "Cl"), OXIDES[0]])
    values = [p.properties["formation_energy"].value for p in predictions]
    np.testing.assert_allclose(values, [-1.80, -2.70], atol=0.15)  # uncorrected, MP


def test_the_shipped_table_is_that_of_the_published_weights(added_weights):
    table = load_references("M3GNET")
    assert table.weights_sha256 == get_potential("M3GNET").weights_sha256
    assert len(table.references) == 89


def test_without_weights_it_is_neither_loaded_nor_suggested():
    with pytest.raises(UnavailableError) as caught:
        M3GNetMP()
    assert "nanoos models pull M3GNet-MP-2021.2.8-PES" in caught.value.hint
    assert "M3GNET" not in potentials_covering({"Mg", "O"})


def test_a_matgl_that_computes_otherwise_is_refused(added_weights, monkeypatch):
    """Message passing as matgl has it since pull request 761 must not pass unnoticed."""
    from nanoos.potentials import matgl_networks

    monkeypatch.setattr(matgl_networks, "_as_trained", lambda _: None)
    with pytest.raises(UnavailableError, match="its network changed"):
        M3GNetMP()
