"""Data sets in the database: sealed once, visible to whom they should be, collected when gone."""

import csv
import uuid

import pytest

from nanoos.core.errors import ConflictError, InvalidInputError, NotFoundError
from nanoos.db import DatasetTable, SimulationResultTable, UserTable
from nanoos.services.access import LOCAL_PRINCIPAL, Principal
from nanoos.services.dataset_records import ImportOptions, SimulationRows
from nanoos.services.job_garbage import collect_garbage
from nanoos.testing.crystals import rocksalt

WHO = LOCAL_PRINCIPAL


@pytest.fixture
def table(tmp_path):
    from nanoos.datasets.export import structure_text

    path = tmp_path / "gaps.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "structure", "band_gap_eV"])
        for n in range(5):
            writer.writerow([f"m{n}", structure_text(rocksalt(4.2 + n / 100)), n / 2])
        writer.writerow(["bad", "?", 1])
    return path


@pytest.fixture
def bob(services):
    row = UserTable(id=uuid.uuid4(), username="bob", role="user", is_active=True)
    with services.database.write() as session:
        session.add(row)
    scopes = frozenset({"read", "write"})
    return Principal(user_id=row.id, username="bob", role="user", scopes=scopes)


def test_an_import_is_described_and_comes_back_whole(services, table):
    options = ImportOptions(functional="PBE")
    record = services.datasets.import_file(table, WHO, name="gaps", options=options)
    assert (record.name, record.n_rows, list(record.targets)) == ("gaps", 5, ["bandgap"])
    assert record.statistics["bandgap"]["mean"] == 1.0
    assert record.level_of_theory["bandgap"]["functional"] == "PBE"
    assert record.source["refused"][0]["row"] == 5
    assert record.source["refused"][0]["code"] == "unknown_format"
    assert record.source["elements"] == {"Mg": 5, "O": 5}
    assert record.source["options"] == {"functional": "PBE"}
    assert services.datasets.find("gaps", WHO) == record
    assert services.datasets.find(str(record.id)[:8], WHO) == record
    assert services.datasets.page(WHO).items == [record]
    dataset = services.datasets.load(record.id, WHO)
    assert dataset.sha256 == record.sha256
    assert dataset.targets["bandgap"].tolist() == [0, 0.5, 1, 1.5, 2]


def test_a_name_is_taken_once(services, table):
    services.datasets.import_file(table, WHO, name="gaps")
    with pytest.raises(ConflictError) as caught:
        services.datasets.import_file(table, WHO, name="gaps")
    assert caught.value.error_code == "name_taken"
    for name in ("", "a b", "../a", "x" * 101):
        with pytest.raises(InvalidInputError):
            services.datasets.import_file(table, WHO, name=name)


def test_a_name_that_is_taken_meanwhile_is_a_conflict_and_no_second_row(services, table, tmp_path):
    from nanoos.datasets.reading import open_rows

    _, finalize = services.datasets.seal(
        open_rows(table),
        tmp_path / "x.parquet",
        owner_id=WHO.user_id,
        name="gaps",
        shared=False,
        origin={"kind": "file"},
        options=ImportOptions(),
    )
    first = services.datasets.import_file(table, WHO, name="gaps")
    with pytest.raises(ConflictError), services.database.write() as session:
        finalize(session)
    assert [item.id for item in services.datasets.page(WHO).items] == [first.id]


def test_a_failed_import_leaves_nothing(services, table):
    table.write_text("id,structure,band_gap_eV\nbad,?,1\n")
    with pytest.raises(InvalidInputError):
        services.datasets.import_file(table, WHO, name="gaps")
    assert services.datasets.page(WHO).total == 0
    assert list(services.artifacts.list_hashes()) == []


def test_others_see_shared_ones_and_delete_none(services, table, bob):
    own = services.datasets.import_file(table, WHO, name="own")
    shared = services.datasets.import_file(table, WHO, name="shared", shared=True)
    assert [item.id for item in services.datasets.page(bob).items] == [shared.id]
    with pytest.raises(NotFoundError):
        services.datasets.get(own.id, bob)
    with pytest.raises(NotFoundError):
        services.datasets.find("own", bob)
    with pytest.raises(NotFoundError):
        services.datasets.delete(shared.id, bob)
    assert services.datasets.load(shared.id, bob).name == "shared"


def test_the_file_of_a_deleted_one_is_garbage_unless_another_has_it(services, table):
    one = services.datasets.import_file(table, WHO, name="one")
    services.datasets.delete(one.id, WHO)
    other = services.datasets.import_file(table, WHO, name="two")
    collect_garbage(services.database, services.jobs, services.job_files, grace_s=-60)
    assert len(services.datasets.load(other.id, WHO)) == 5
    services.datasets.delete(other.id, WHO)
    collect_garbage(services.database, services.jobs, services.job_files, grace_s=-60)
    assert list(services.artifacts.list_hashes()) == []
    with pytest.raises(NotFoundError):
        services.datasets.get(other.id, WHO)


def test_an_upload_is_imported_by_a_job(services, table, drain):
    job_id = services.datasets.submit_upload(table, WHO, file_name="gaps.csv", name="gaps")
    collect_garbage(services.database, services.jobs, services.job_files, grace_s=-60)
    assert drain(services) == 1
    job = services.jobs.get(job_id, WHO)
    assert (job.state, job.result["name"]) == ("completed", "gaps")
    record = services.datasets.find("gaps", WHO)
    assert str(record.id) == job.result["dataset_id"]
    assert (record.source["kind"], record.source["name"]) == ("upload", "gaps.csv")
    assert record.n_rows == 5


def test_a_job_that_cannot_import_says_why(services, table, drain):
    table.write_text("id,structure,x\nbad,?,1\n")
    job_id = services.datasets.submit_upload(table, WHO, file_name="gaps.csv", name="gaps")
    drain(services)
    job = services.jobs.get(job_id, WHO)
    assert (job.state, job.error["code"]) == ("failed", "no_target")


def simulate(services, structure, **parameters):
    record, _ = services.structures.add(structure, WHO, source={"kind": "test"})
    return services.simulations.submit(
        record.id, WHO, engine="LJ", workflow="single_point", parameters=parameters
    )


class TestSimulations:
    LJ = SimulationRows(engine="LJ", workflow="single_point")

    def test_results_become_rows_with_their_level(self, services, drain):
        made = [simulate(services, rocksalt(a, "Ar", "Ar")) for a in (10.2, 10.6)]
        drain(services)
        record = services.datasets.import_simulations(self.LJ, WHO, name="lj")
        dataset = services.datasets.load(record.id, WHO)
        results = [services.simulations.get(one.id, WHO) for one in made]
        assert dataset.targets["energy_per_atom"].tolist() == [
            result.values["energy_ev_per_atom"] for result in results
        ]
        assert dataset.level_of_theory["energy_per_atom"].functional == "Lennard-Jones"
        assert [source.id for source in dataset.sources] == [str(one.id) for one in made]
        assert list(dataset.structures) == [result.final_structure for result in results]

    def test_several_makers_are_never_pooled(self, services, drain):
        for a in (10.2, 10.6):
            simulate(services, rocksalt(a, "Ar", "Ar"))
        drain(services)
        with services.database.write() as session:
            row = session.query(SimulationResultTable).first()
            provenance = {**row.record["provenance"], "producer": "LJ/Other"}
            row.record = {**row.record, "provenance": provenance}
        with pytest.raises(InvalidInputError, match="never pooled") as caught:
            services.datasets.import_simulations(self.LJ, WHO, name="lj")
        assert caught.value.error_code == "unlike_levels"
        assert "--made-by" in caught.value.hint
        for word in ("Other", "lj/other"):
            chosen = self.LJ.model_copy(update={"made_by": word})
            record = services.datasets.import_simulations(chosen, WHO, name=word[:2])
            assert len(services.datasets.load(record.id, WHO)) == 1
        chosen = self.LJ.model_copy(update={"made_by": "100%"})
        with pytest.raises(InvalidInputError, match="no results"):
            services.datasets.import_simulations(chosen, WHO, name="none")

    def test_versions_of_this_package_are_pooled(self, services, drain):
        for a in (10.2, 10.6):
            simulate(services, rocksalt(a, "Ar", "Ar"))
        drain(services)
        with services.database.write() as session:
            row = session.query(SimulationResultTable).first()
            provenance = row.record["provenance"]
            version = "0.0.1/" + provenance["version"].partition("/")[2]
            row.record = {**row.record, "provenance": {**provenance, "version": version}}
        record = services.datasets.import_simulations(self.LJ, WHO, name="lj")
        assert len(services.datasets.load(record.id, WHO)) == 2

    def test_none_says_how_to_get_some(self, services, bob, drain):
        simulate(services, rocksalt(10.2, "Ar", "Ar"))
        drain(services)
        with pytest.raises(InvalidInputError, match="no results") as caught:
            services.datasets.import_simulations(self.LJ, bob, name="lj")
        assert "simulate" in caught.value.hint


def test_simulations_are_found_on_both_databases(services_on_both, drain):
    simulate(services_on_both, rocksalt(10.2, "Ar", "Ar"))
    drain(services_on_both)
    wanted = SimulationRows(engine="LJ", workflow="single_point", potential="lj")
    record = services_on_both.datasets.import_simulations(wanted, WHO, name="lj")
    assert record.n_rows == 1
    with services_on_both.database.read() as session:
        assert session.get(DatasetTable, record.id).files[0]["sha256"]
