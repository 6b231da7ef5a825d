"""The laboratory object: what a notebook does with it."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from matplotlib.figure import Figure

import nanoos
from nanoos.config import Settings
from nanoos.core.errors import InvalidInputError, NotFoundError
from nanoos.laboratory import Laboratory, Listing, as_structure
from nanoos.services.container import Services
from nanoos.structures import write_structures
from nanoos.testing.crystals import rocksalt, wurtzite


@pytest.fixture
def lab(settings: Settings, services: Services) -> Laboratory:
    return Laboratory(settings, services)


class TestOpening:
    def test_opens_on_a_folder_and_closes(self, tmp_path):
        with nanoos.open(tmp_path / "mine") as lab:
            stored = lab.structures.add(rocksalt())
        with nanoos.open(str(tmp_path / "mine")) as lab:
            assert lab.structures.get("MgO").id == stored.id
            assert "1 structures" in repr(lab)

    def test_shows_itself(self, lab, settings):
        assert str(settings.data_dir) in repr(lab)
        assert lab._repr_html_().startswith("<table>")


class TestStructures:
    def test_takes_whatever_a_notebook_holds(self, lab, tmp_path):
        path = write_structures([rocksalt()], tmp_path / "MgO.cif")
        stored = lab.structures.add(rocksalt())
        forms = [stored, rocksalt().to_ase(), rocksalt().to_pymatgen(), path, str(path)]
        assert {lab.structures.add(form).id for form in forms} == {stored.id}
        assert len(lab.structures) == 1
        for nonsense in (3, None, [1, 2], object()):
            with pytest.raises(InvalidInputError):
                lab.structures.add(nonsense)
        with pytest.raises(NotFoundError):
            lab.structures.add(tmp_path / "absent.cif")

    def test_conversions_go_both_ways(self, lab):
        stored = lab.structures.add(bulk("NaCl", "rocksalt", a=5.64))
        atoms = stored.to_ase()
        assert isinstance(atoms, Atoms)
        assert atoms.get_chemical_formula() == "ClNa"
        assert as_structure(atoms) == as_structure(stored.to_pymatgen()) == stored.structure
        np.testing.assert_allclose(stored.to_pymatgen().lattice.matrix, atoms.cell[:])

    def test_lists_finds_and_deletes(self, lab):
        mgo, zno = lab.structures.add(rocksalt()), lab.structures.add(wurtzite())
        assert [item.id for item in lab.structures] == [zno.id, mgo.id]
        assert [item.id for item in lab.structures.list(elements="Mg, O")] == [mgo.id]
        assert [item.id for item in lab.structures.list(crystal_system="hexagonal")] == [zno.id]
        assert lab.structures.get("O1Mg1").id == mgo.id
        assert lab.structures.get(zno.id.hex[:8]).formula == "ZnO"
        lab.structures.add(rocksalt(4.4))
        with pytest.raises(InvalidInputError, match="2 structures"):
            lab.structures.get("MgO")
        lab.structures.delete(zno)
        with pytest.raises(NotFoundError):
            lab.structures.get("ZnO")

    def test_a_list_goes_beyond_one_page(self, lab):
        for number in range(7):
            lab.structures.add(rocksalt(4 + 0.1 * number))
        listed = lab.structures.list(limit=5)
        assert (len(listed), listed.total) == (5, 7)
        assert len({item.id for item in lab.structures}) == 7

    def test_imports_files_and_writes_them_back(self, lab, tmp_path):
        write_structures([rocksalt(), wurtzite()], tmp_path / "two.extxyz")
        (tmp_path / "bad.cif").write_text("nothing")
        lines = lab.structures.add_files(tmp_path)
        assert [line.status for line in lines] == ["refused", "imported", "imported"]
        assert "refused" in repr(lines)
        path = lab.structures.export(lab.structures, tmp_path / "again.extxyz")
        assert [line.status for line in lab.structures.add_files(path)] == ["duplicate"] * 2

    def test_prints_and_plots(self, lab):
        stored = lab.structures.add(rocksalt())
        assert "MgO" in repr(stored)
        assert "225" in repr(stored)
        assert "cubic" in stored._repr_html_()
        assert "MgO" in repr(lab.structures)
        assert isinstance(stored.plot(), Figure)


def test_a_listing_escapes_and_becomes_a_data_frame():
    listing = Listing(["<b>", "c"], {"text": str, "length": len, "none": lambda _: None}, total=5)
    page = listing._repr_html_()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page.replace("<b>2 of 5</b>", "")
    assert list(listing.to_pandas().columns) == ["text", "length", "none"]
    assert listing.to_pandas()["length"].tolist() == [3, 1]
    assert list(listing[:1]) == ["<b>"]


class TestPredictions:
    def test_stores_the_crystal_and_the_prediction(self, lab):
        view = lab.predict(rocksalt(), "STUB", level=0.8)
        assert 0 <= view["bandgap"] <= 5
        assert lab.predict(rocksalt().to_ase(), "STUB").record.id == view.record.id
        assert len(lab.structures) == 1
        for text in (repr(view), view._repr_html_()):
            assert "Not for decisions" in text
            assert "80 %" in text

    def test_many_as_a_table(self, lab):
        table = lab.predict_many([rocksalt(), wurtzite()], "STUB").to_pandas()
        assert table["formula"].tolist() == ["MgO", "ZnO"]
        assert table["bandgap"].between(0, 5).all()

    def test_lists_the_models(self, lab):
        models = lab.models()
        assert {"CHGNet", "SevenNet", "STUB"} <= {model.name for model in models}
        assert "CHGNet" in repr(models)


class TestSimulations:
    def test_runs_an_engine_now(self, lab):
        crystal = bulk("Ar", "fcc", a=2.9)
        run = lab.run(crystal, "LJ", "relax")
        assert run.structure.volume != pytest.approx(run.initial.volume, rel=1e-3)
        assert run.values["energy_ev_per_atom"] < 0
        assert isinstance(run.plot(), Figure)
        assert "energy_ev_per_atom" in repr(run)
        assert "relax" in run._repr_html_()
        assert len(lab.structures) == 0
        assert isinstance(lab.run(crystal, "LJ").plot(), Figure)

    def test_an_unknown_parameter_is_refused(self, lab):
        with pytest.raises(InvalidInputError, match="fmx"):
            lab.relax(rocksalt(), fmx=0.1)

    def test_queues_for_the_workers_once(self, lab):
        crystal = bulk("Ar", "fcc", a=5.2)
        first = lab.simulate(crystal, "LJ", "relax")
        assert first.state == "queued"
        assert lab.simulate(crystal, "LJ", "relax").id == first.id
        assert lab.simulation(str(first.id)).engine == "LJ"
        stored = lab.structures.get("Ar")
        assert [item.id for item in lab.simulations(stored)] == [first.id]
        assert len(lab.jobs) == 1
        assert "queued" in repr(lab.jobs)
        assert lab.jobs.cancel(first.job_id).state == "cancelled"
        assert lab.jobs.retry(first.job_id).state == "queued"
        lab.structures.delete(stored)
        assert lab.jobs.get(first.job_id).state == "cancelled"


class TestCampaigns:
    def test_from_a_file_or_a_mapping(self, lab):
        assert len(lab.campaigns) == 0
        example = next(iter(sorted(_examples())), None)
        if example is None:
            pytest.skip("examples are not part of this installation")
        made = lab.campaigns.create(example)
        assert lab.campaigns.get(str(made.id)).name == made.name
        assert made.name in repr(lab.campaigns)
        assert lab.campaigns.list()[0].id == made.id
        assert list(lab.campaigns.candidates(made.id)) == []


def _examples() -> list[Path]:
    return list((Path(__file__).parents[1] / "examples").glob("*.yaml"))
