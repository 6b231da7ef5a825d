"""DFT results beside predictions: PBE is PBE/PBE+U where no element gets a U, else they differ."""

from dataclasses import asdict

import pytest
from sqlalchemy import select
from stored_models import add_model, add_result

from nanoos.core.errors import InvalidInputError
from nanoos.core.records import LevelOfTheory, PropertyValue
from nanoos.db import SimulationResultTable
from nanoos.services.access import LOCAL_PRINCIPAL as ME
from nanoos.services.comparisons import comparable, elements_of
from nanoos.services.dataset_records import SimulationRows
from nanoos.services.simulated_properties import simulated_properties
from nanoos.testing.crystals import rocksalt

DFT = LevelOfTheory(functional="PBE", corrections="none", reference="pseudopotentials PseudoDojo")
PLAIN = LevelOfTheory(functional="PBE", corrections="none", reference="none")
MIXED = LevelOfTheory(functional="PBE/PBE+U", corrections="none", reference="none")


VASP = LevelOfTheory(functional="PBE", corrections="none", reference="VASP PAW PBE_54")


def gap(level):
    return PropertyValue(value=1.0, unit="eV", level_of_theory=level)


@pytest.mark.parametrize(
    ("elements", "same"),
    [(("Mg", "O"), True), (("Ni", "Al"), True), (("Ni", "S"), True), (("Ni", "O"), False),
     (("Li", "Fe", "F"), False), (("Ti", "O"), True)],
    ids=["MgO", "NiAl", "NiS", "NiO", "LiFeF", "TiO"],
)  # fmt: skip
def test_the_mixture_is_plain_pbe_without_a_u(elements, same):
    assert comparable(gap(MIXED), gap(PLAIN), elements) is same
    assert comparable(gap(PLAIN), gap(MIXED), elements) is same
    assert comparable(gap(MIXED), gap(MIXED), elements), "made alike, they mean the same"


def test_other_differences_stay_differences():
    r2scan = LevelOfTheory(functional="r2SCAN", corrections="none", reference="none")
    corrected = LevelOfTheory(functional="PBE/PBE+U", corrections="MP2020", reference="none")
    for other in (r2scan, corrected, None):
        assert not comparable(gap(PLAIN), gap(other), ("Mg", "O"))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [(DFT, VASP, False), (DFT, DFT, True), (VASP, VASP, True), (PLAIN, PLAIN, False),
     (MIXED, DFT, False), (VASP, PLAIN, False), (None, None, False)],
    ids=["QE-VASP", "QE", "VASP", "unknown", "model-QE", "VASP-model", "nothing"],
)  # fmt: skip
def test_a_fermi_energy_is_never_compared_between_codes(one, other, same):
    assert comparable(gap(one), gap(other), ("Mg", "O"), name="fermi_energy") is same


def test_results_of_two_codes_share_a_gap_and_no_fermi_energy():
    """The numbers of engines, with the levels that they state."""
    values = {"fermi_energy_ev": 5.1, "fermi_level_ev": 5.1, "band_gap_ev": 1.2}
    qe, vasp = (
        simulated_properties(
            values, {"producer": producer, "parameters": {"level_of_theory": asdict(level)}}
        )
        for producer, level in (("QE/pw.x", DFT), ("VASP", VASP))
    )
    assert set(qe) == {"bandgap", "fermi_energy"}, "fermi_level_ev is no property"
    for name, same in (("bandgap", True), ("fermi_energy", False)):
        assert comparable(qe[name], vasp[name], ("Mg", "O"), name=name) is same


@pytest.mark.usefixtures("no_shipped_models")
def test_a_predicted_fermi_energy_is_not_compared_with_a_simulated_one(
    services, tmp_path, monkeypatch
):
    add_model(services, tmp_path, targets=("bandgap", "fermi_energy"))
    structure = services.structures.add(rocksalt(4.2), ME, source={"kind": "test"})[0].id
    services.predictions.predict(structure, ME, model_name="CGCNN")
    add_result(services, structure, {"band_gap_ev": 1.0, "fermi_energy_ev": 5.0}, VASP)
    original = type(services.predictions).latest

    def plain(self, structure_id, who, **options):
        record = original(self, structure_id, who, **options)
        for value in record.values.values():
            object.__setattr__(value, "level_of_theory", PLAIN)
        return record

    monkeypatch.setattr(type(services.predictions), "latest", plain)
    compared = services.comparisons.compare(structure, ME)
    assert set(compared.comparisons) == set(compared.property_quality) == {"bandgap"}
    assert compared.not_compared == {
        "fermi_energy": "fermi_energy has no zero that two codes share"
    }


@pytest.mark.usefixtures("no_shipped_models")
def test_a_dft_gap_is_compared_and_an_energy_is_not(services_on_both, tmp_path, monkeypatch):
    lab = services_on_both
    add_model(lab, tmp_path, targets=("bandgap",))
    found = {}
    for metal in ("Mg", "Ni"):
        structure = lab.structures.add(rocksalt(4.2, metal, "O"), ME, source={"kind": "test"})[0].id
        record = lab.predictions.predict(structure, ME, model_name="CGCNN")
        assert elements_of(record) == {metal, "O"}
        add_result(lab, structure, {"band_gap_ev": 1.0, "energy_ev_per_atom": -9.0}, DFT)
        found[metal] = structure
    original = type(lab.predictions).latest

    def mixed(self, structure_id, who, **options):
        record = original(self, structure_id, who, **options)
        for value in record.values.values():
            object.__setattr__(value, "level_of_theory", MIXED)
        return record

    monkeypatch.setattr(type(lab.predictions), "latest", mixed)
    compared = lab.comparisons.compare(found["Mg"], ME)
    assert set(compared.comparisons) == {"bandgap"}
    with pytest.raises(InvalidInputError) as caught:
        lab.comparisons.compare(found["Ni"], ME)
    assert caught.value.error_code == "unlike_quantities"
    assert "PBE/PBE+U" in caught.value.message


def test_a_dataset_of_dft_results_carries_their_level(services_on_both):
    lab = services_on_both
    values = {"band_gap_ev": 4.5, "energy_ev_per_atom": -900.0}
    for a in (4.2, 4.3):
        structure = lab.structures.add(rocksalt(a), ME, source={"kind": "test"})[0].id
        simulation = add_result(lab, structure, values, DFT)
        with lab.database.write() as session:
            wanted = SimulationResultTable.simulation_id == simulation
            row = session.scalars(select(SimulationResultTable).where(wanted)).one()
            row.final_structure = rocksalt(a).as_dict()
    wanted = SimulationRows(engine="DFT", workflow="single_point")
    record = lab.datasets.import_simulations(wanted, ME, name="dft")
    levels = lab.datasets.load(record.id, ME).level_of_theory
    assert levels["bandgap"] == PLAIN, "a gap has no reference"
    assert levels["energy_per_atom"] == DFT, "a total energy is one of its pseudopotentials"
    other = LevelOfTheory(functional="PBEsol", corrections="none", reference=DFT.reference)
    structure = lab.structures.add(rocksalt(4.4), ME, source={"kind": "test"})[0].id
    simulation = add_result(lab, structure, values, other)
    with lab.database.write() as session:
        row = session.scalars(
            select(SimulationResultTable).where(SimulationResultTable.simulation_id == simulation)
        ).one()
        row.final_structure = rocksalt(4.4).as_dict()
    with pytest.raises(InvalidInputError, match="never pooled"):
        lab.datasets.import_simulations(wanted, ME, name="mixed")
