"""Structures: one row for each crystal of an owner, whoever adds it and however often."""

import math
import multiprocessing
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from other_process import import_all
from sqlalchemy import func, select

from nanoos.core.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    StructureRefusedError,
)
from nanoos.db import (
    CampaignTable,
    CandidateTable,
    Database,
    JobEventTable,
    JobTable,
    MaterialTable,
    PredictionTable,
    SimulationTable,
    StructureTable,
    UserTable,
)
from nanoos.services.access import LOCAL_PRINCIPAL, Principal
from nanoos.services.structure_queries import normal_formula
from nanoos.services.structures import StructureService
from nanoos.structures import (
    ReadOutcome,
    Structure,
    find_duplicate,
    iter_structures,
    read_structures_from_bytes,
)
from nanoos.testing.crystals import perturbed, rocksalt, wurtzite

SOURCE = {"kind": "test"}


@pytest.fixture
def service(database: Database) -> StructureService:
    return StructureService(database)


def make_user(database: Database, name: str, role: str = "user") -> Principal:
    with database.write() as session:
        row = UserTable(username=name, role=role)
        session.add(row)
        session.flush()
        scopes = frozenset({"read", "write", "admin"} if role == "admin" else {"read", "write"})
        return Principal(user_id=row.id, username=name, role=role, scopes=scopes)


@pytest.fixture
def ada(database: Database) -> Principal:
    return make_user(database, "ada")


@pytest.fixture
def bob(database: Database) -> Principal:
    return make_user(database, "bob")


def supercell(structure: Structure, shift: float = 0.1) -> Structure:
    """The same crystal, doubled along a, with another origin and order of sites."""
    moved = (
        np.vstack([structure.frac_coords + np.array([n, 0, 0]) for n in (0, 1)]) / [2, 1, 1] + shift
    )
    return Structure(
        lattice=structure.lattice * [[2], [1], [1]],
        species=(structure.species * 2)[::-1],
        frac_coords=moved[::-1],
    )


def count(database: Database, table: type) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


class TestAdding:
    def test_keeps_the_crystal_and_what_follows_from_it(self, service, ada):
        given = rocksalt().with_label("periclase")
        record, is_new = service.add(given, ada, source=SOURCE)
        assert is_new
        again = service.get(record.id, ada)
        assert again == record
        assert again.structure.content_hash == given.content_hash == again.content_hash
        assert again.structure.label == "periclase"
        np.testing.assert_array_equal(again.structure.lattice, given.lattice)
        assert (again.formula, again.elements, again.n_sites) == ("MgO", ("O", "Mg"), 2)
        assert (again.space_group, again.crystal_system) == (225, "cubic")
        assert again.dimensionality == 3
        assert again.density_g_cm3 == pytest.approx(40.304 * 1.66054 / given.volume, rel=1e-3)
        assert again.source == SOURCE
        assert again.owner_id == ada.user_id
        assert not again.shared

    def test_spins_and_charges_come_back(self, service, ada):
        plain = rocksalt(cation="Fe")
        given = Structure(
            lattice=plain.lattice,
            species=plain.species,
            frac_coords=plain.frac_coords,
            charges=(2.0, -2.0),
            spins=(4.1, 0.0),
        )
        record, _ = service.add(given, ada, source=SOURCE)
        assert (record.structure.charges, record.structure.spins) == ((2.0, -2.0), (4.1, 0.0))

    def test_the_same_again_is_the_same_row(self, service, ada, database):
        first, _ = service.add(rocksalt(), ada, source=SOURCE)
        second, is_new = service.add(rocksalt(), ada, source={"kind": "other"})
        assert second.id == first.id
        assert not is_new
        assert count(database, StructureTable) == 1

    def test_another_cell_of_the_same_crystal_is_a_duplicate(self, service, ada):
        first, _ = service.add(wurtzite(), ada, source=SOURCE)
        other = supercell(wurtzite())
        assert other.content_hash != wurtzite().content_hash
        second, is_new = service.add(other, ada, source=SOURCE)
        assert (second.id, is_new) == (first.id, False)

    def test_a_strained_or_displaced_copy_is_not_a_duplicate(self, service, ada):
        crystals = [rocksalt(4.25), rocksalt(4.26), perturbed(wurtzite(), 0.02), wurtzite()]
        ids = {service.add(c, ada, source=SOURCE)[0].id for c in crystals}
        assert len(ids) == len(crystals)

    def test_a_left_handed_cell_is_stored_right_handed(self, service, ada):
        plain = rocksalt()
        left = Structure(
            lattice=plain.lattice[[1, 0, 2]],
            species=plain.species,
            frac_coords=plain.frac_coords[:, [1, 0, 2]],
        )
        assert left.is_left_handed != plain.is_left_handed
        record, _ = service.add(left, ada, source=SOURCE)
        assert not record.structure.is_left_handed

    def test_an_impossible_one_is_refused(self, service, ada, database):
        bad = Structure(
            lattice=np.eye(3) * 4, species=("Mg", "O"), frac_coords=np.zeros((2, 3)) + 0.1
        )
        with pytest.raises(StructureRefusedError) as caught:
            service.add(bad, ada, source=SOURCE)
        assert caught.value.error_code == "overlapping_atoms"
        assert count(database, StructureTable) == count(database, MaterialTable) == 0

    def test_each_owner_has_an_own_row(self, service, ada, bob):
        first, _ = service.add(rocksalt(), ada, source=SOURCE)
        second, is_new = service.add(rocksalt(), bob, source=SOURCE)
        assert is_new
        assert first.id != second.id

    def test_structures_of_one_formula_share_a_material(self, service, ada, bob):
        first, _ = service.add(rocksalt(), ada, source=SOURCE)
        second, _ = service.add(rocksalt(4.5), ada, source=SOURCE)
        other, _ = service.add(rocksalt(), bob, source=SOURCE)
        assert first.material_id == second.material_id != other.material_id

    def test_a_material_must_fit(self, service, ada, bob):
        zno, _ = service.add(wurtzite(), ada, source=SOURCE)
        with pytest.raises(ConflictError, match="ZnO"):
            service.add(rocksalt(), ada, source=SOURCE, material_id=zno.material_id)
        with pytest.raises(NotFoundError):
            service.add(wurtzite(), bob, source=SOURCE, material_id=zno.material_id)
        fitting, _ = service.add(wurtzite(3.3), ada, source=SOURCE, material_id=zno.material_id)
        assert fitting.material_id == zno.material_id

    def test_in_the_callers_transaction(self, service, ada, database):
        with database.write() as session:
            first = service.get_or_add_in(session, rocksalt(), ada.user_id, SOURCE)
            assert service.get_or_add_in(session, rocksalt(), ada.user_id, SOURCE) == first
        assert service.get(first, ada).source == SOURCE

        def add_and_fail() -> None:
            with database.write() as session:
                service.get_or_add_in(session, wurtzite(), ada.user_id, SOURCE)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            add_and_fail()
        assert count(database, StructureTable) == 1

    def test_names_that_no_database_holds_are_made_storable(self, service, ada):
        record, _ = service.add(
            rocksalt().with_label("a\x00b\udcff"),
            ada,
            source={"kind": "x", "file": "\udcff\x00.cif"},
        )
        assert record.structure.label == "ab\\udcff"
        assert record.source["file"] == "\\udcff.cif"


class TestAtOnce:
    def test_threads_get_one_row(self, service, ada, database):
        with ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(lambda _: service.add(rocksalt(), ada, source=SOURCE), range(16))
            )
        assert len({record.id for record, _ in answers}) == 1
        assert sum(is_new for _, is_new in answers) == 1
        assert count(database, StructureTable) == count(database, MaterialTable) == 1

    def test_processes_get_one_row(self, service, ada, database):
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(2)
        queue = context.Queue()
        processes = [
            context.Process(
                target=import_all,
                args=(
                    database.engine.url.render_as_string(hide_password=False),
                    ada,
                    barrier,
                    queue,
                ),
            )
            for _ in range(2)
        ]
        for process in processes:
            process.start()
        answers = [queue.get(timeout=60) for _ in processes]
        for process in processes:
            process.join(60)
        assert [status for status, _ in answers] == ["ok", "ok"]
        first, second = (dict(ids) for _, ids in answers)
        assert first == second
        assert count(database, StructureTable) == len(first) == 40

    def test_transactions_that_overlap_get_one_row(self, service, ada, database):
        if database.is_sqlite:
            pytest.skip("SQLite has one writer at a time")
        with ThreadPoolExecutor(1) as pool:
            with database.write() as session:
                mine = service.get_or_add_in(session, rocksalt(), ada.user_id, SOURCE)
                theirs = pool.submit(service.add, rocksalt(), ada, source=SOURCE)
                with pytest.raises(TimeoutError):
                    theirs.result(timeout=0.5)  # waits for this transaction
            record, is_new = theirs.result(timeout=30)
        assert (record.id, is_new) == (mine, False)


def _outcome(structure: Structure, index: int = 0, file: str = "x.extxyz") -> ReadOutcome:
    return ReadOutcome(file=file, index=index, structure=structure, source_id=None, error=None)


class TestFinding:
    @pytest.fixture
    def stored(self, service, ada):
        crystals = [rocksalt(), wurtzite(), rocksalt(3.6, "Li", "F"), rocksalt(4.8, "Ca", "O")]
        sources = [{"kind": "file", "file": f"dir_{n}/c.cif", "index": 0} for n in range(4)]
        return [service.add(c, ada, source=s)[0] for c, s in zip(crystals, sources, strict=True)]

    def test_pages_newest_first(self, service, ada, stored):
        page = service.page(ada, limit=3)
        assert page.total == 4
        rest = service.page(ada, limit=3, cursor=page.next)
        found = [*page.items, *rest.items]
        assert [record.id for record in found] == [record.id for record in reversed(stored)]
        assert rest.next is None

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({"elements": ["O"]}, {"MgO", "ZnO", "CaO"}),
            ({"elements": ["o", "CA"]}, {"CaO"}),
            ({"elements": ["C"]}, set()),
            ({"formula": "O1Mg1"}, {"MgO"}),
            ({"formula": "Zn2O2"}, {"ZnO"}),
            ({"min_sites": 3}, {"ZnO"}),
            ({"max_sites": 2, "elements": ["O"]}, {"MgO", "CaO"}),
            ({"space_group": 186}, {"ZnO"}),
            ({"crystal_system": "Cubic"}, {"MgO", "LiF", "CaO"}),
            ({"source": "dir_2"}, {"LiF"}),
            ({"source": "file"}, {"MgO", "ZnO", "LiF", "CaO"}),
            ({"source": "%"}, set()),
        ],
    )
    def test_filters(self, service, ada, stored, filters, expected):
        page = service.page(ada, **filters)
        assert {record.formula for record in page.items} == expected
        assert page.total == len(expected)

    @pytest.mark.parametrize(
        "filters",
        [
            {"formula": "Mgo"},
            {"formula": "Mg0"},
            {"formula": "(MgO"},
            {"formula": ""},
            {"formula": "Xx2"},
            {"elements": ["Qq"]},
            {"space_group": 231},
            {"crystal_system": "round"},
            {"limit": 0},
            {"cursor": "no"},
        ],
    )
    def test_nonsense_is_refused(self, service, ada, filters):
        with pytest.raises(InvalidInputError):
            service.page(ada, **filters)

    def test_by_id_prefix_and_formula(self, service, ada, stored):
        for record in stored:
            for text in (str(record.id), str(record.id)[:8], record.id.hex[:6].upper()):
                assert record.id in {found.id for found in service.find(text, ada)}
            assert [r.id for r in service.find(record.formula, ada)] == [record.id]
        assert service.find("KCl", ada) == []
        assert service.find(str(uuid.uuid4()), ada) == []
        with pytest.raises(InvalidInputError):
            service.find("whatever", ada)

    def test_others_see_shared_ones_only(self, service, ada, bob, stored):
        shared, _ = service.add(rocksalt(5.6, "Na", "Cl"), ada, source=SOURCE, shared=True)
        assert [record.id for record in service.page(bob).items] == [shared.id]
        assert service.find("MgO", bob) == []
        assert service.get(shared.id, bob).id == shared.id
        with pytest.raises(NotFoundError):
            service.get(stored[0].id, bob)
        assert service.page(LOCAL_PRINCIPAL).total == 5

    def test_export_reads_back(self, service, ada, bob, stored):
        ids = [record.id for record in stored]
        data, media_type, name = service.export(ids, ada, "extxyz")
        assert media_type == "chemical/x-xyz"
        again = [outcome.structure for outcome in read_structures_from_bytes(name, data)]
        assert [s.content_hash for s in again] == [record.content_hash for record in stored]
        with pytest.raises(NotFoundError):
            service.export(ids, bob, "cif")
        with pytest.raises(InvalidInputError):
            service.export(ids, ada, "docx")


def test_formulas_are_read_as_chemists_write_them():
    assert normal_formula("Ca(OH)2") == normal_formula("H2 O2 Ca")
    assert normal_formula("Ca3(PO4)2") == normal_formula("P2Ca3O8")
    assert normal_formula("O3TiSr") == "SrTiO3"


class TestImport:
    def test_each_file_gets_its_line_and_a_bad_one_stops_nothing(
        self, service, ada, database, tmp_path
    ):
        good = [rocksalt(), wurtzite(), rocksalt(4.8, "Ca", "O")]
        for number, structure in enumerate(good):
            record = structure.to_pymatgen()
            record.to(filename=str(tmp_path / f"{number}.cif"))
        (tmp_path / "1b.cif").write_text("data_x\n_cell_length_a 3\n")
        supercell(wurtzite()).to_pymatgen().to(filename=str(tmp_path / "1c.cif"))
        lines = list(service.import_outcomes(iter_structures(tmp_path), ada))
        names = [line.file.rpartition("/")[2] for line in lines]
        assert names == ["0.cif", "1.cif", "1b.cif", "1c.cif", "2.cif"]
        assert [line.status for line in lines] == [
            "imported",
            "imported",
            "refused",
            "duplicate",
            "imported",
        ]
        assert lines[2].error is not None
        assert lines[2].error["message"]
        assert lines[2].id is None
        assert lines[3].id == lines[1].id  # inside one batch
        assert lines[0].formula == "MgO"
        assert count(database, StructureTable) == 3
        again = list(service.import_outcomes(iter_structures(tmp_path), ada))
        assert [line.status for line in again].count("duplicate") == 4
        assert [line.id for line in again] == [line.id for line in lines]
        record = service.get(lines[1].id, ada)
        assert record.source["kind"] == "file"
        assert record.source["file"] == lines[1].file

    def test_a_trajectory_is_compared_in_full_rarely(self, service, ada, monkeypatch):
        compared = []

        def counted(structure, candidates):
            compared.append(len(candidates))
            return find_duplicate(structure, candidates)

        monkeypatch.setattr("nanoos.services.structure_duplicates.find_duplicate", counted)
        base = supercell(supercell(wurtzite()))
        rng = np.random.default_rng(3)
        frames = [
            Structure(
                lattice=base.lattice,
                species=base.species,
                frac_coords=base.frac_coords + rng.normal(scale=0.01, size=(base.n_sites, 3)),
            )
            for _ in range(45)
        ]
        outcomes = (_outcome(frame, n) for n, frame in enumerate(frames))
        lines = list(service.import_outcomes(outcomes, ada))
        assert {line.status for line in lines} == {"imported"}
        assert sum(compared) < 45
        again = [_outcome(supercell(frame), n) for n, frame in enumerate(frames[:5])]
        found = list(service.import_outcomes(again, ada))
        assert [line.id for line in found] == [line.id for line in lines[:5]]

    def test_lines_come_only_after_their_rows(self, service, ada, database):
        outcomes = (_outcome(rocksalt(4 + 0.02 * n), n) for n in range(150))
        lines = service.import_outcomes(outcomes, ada)
        first = next(lines)
        assert service.get(first.id, ada).formula == "MgO"
        stored = count(database, StructureTable)
        assert 0 < stored < 150
        lines.close()
        assert count(database, StructureTable) == stored

    def test_a_reader_that_dies_leaves_whole_rows(self, service, ada, database, monkeypatch):
        monkeypatch.setattr("nanoos.services.structure_import.BATCH_SECONDS", math.inf)

        def outcomes() -> Iterator[ReadOutcome]:
            yield from (_outcome(rocksalt(4 + 0.02 * n), n) for n in range(120))
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            list(service.import_outcomes(outcomes(), ada))
        assert count(database, StructureTable) == 100
        page = service.page(ada, limit=200)
        assert all(record.structure.n_sites == 2 for record in page.items)


class TestDeleting:
    def simulate(self, database: Database, structure_id: uuid.UUID, who: Principal, state: str):
        with database.write() as session:
            job = JobTable(
                kind="probe", owner_id=who.user_id, payload={}, state=state, event_count=0
            )
            session.add(job)
            session.flush()
            session.add(
                SimulationTable(
                    job_id=job.id,
                    structure_id=structure_id,
                    engine="LJ",
                    workflow="relax",
                    parameters={},
                    key=uuid.uuid4().hex,
                )
            )
            return job.id

    def test_takes_everything_along_and_cancels_jobs(self, service, ada, database):
        record, _ = service.add(rocksalt(), ada, source=SOURCE)
        other, _ = service.add(wurtzite(), ada, source=SOURCE)
        with database.write() as session:
            session.add(
                PredictionTable(
                    structure_id=record.id,
                    model_name="m",
                    model_version="1",
                    weights_sha256="",
                    properties={},
                    confidence_scores={},
                )
            )
        states = ("queued", "running", "completed")
        jobs = [self.simulate(database, record.id, ada, state) for state in states]
        untouched = self.simulate(database, other.id, ada, "queued")
        service.delete(record.id, ada)
        with pytest.raises(NotFoundError):
            service.get(record.id, ada)
        assert count(database, PredictionTable) == 0
        assert count(database, SimulationTable) == 1
        with database.read() as session:
            queued, running, completed = (session.get(JobTable, job_id) for job_id in jobs)
            assert queued.state == "cancelled"
            assert running.state == "running"
            assert running.cancel_requested
            assert (completed.state, completed.cancel_requested) == ("completed", False)
            assert session.get(JobTable, untouched).state == "queued"
            kinds = session.scalars(select(JobEventTable.kind)).all()
        assert sorted(kinds) == ["cancel_requested", "cancelled"]

    def test_only_the_owner_or_an_admin(self, service, ada, bob, database):
        hidden, _ = service.add(rocksalt(), ada, source=SOURCE)
        shared, _ = service.add(wurtzite(), ada, source=SOURCE, shared=True)
        with pytest.raises(NotFoundError):
            service.delete(hidden.id, bob)
        with pytest.raises(ForbiddenError):
            service.delete(shared.id, bob)
        service.delete(shared.id, make_user(database, "root", "admin"))
        service.delete(hidden.id, ada)
        with pytest.raises(NotFoundError):
            service.delete(hidden.id, ada)

    def test_not_under_a_running_campaign(self, service, ada, database):
        record, _ = service.add(rocksalt(), ada, source=SOURCE)
        with database.write() as session:
            campaign = CampaignTable(
                owner_id=ada.user_id,
                name="hard oxides",
                strategy="ei",
                config={},
                state="running",
                simulation_budget=3,
            )
            session.add(campaign)
            session.flush()
            session.add(
                CandidateTable(
                    campaign_id=campaign.id,
                    iteration_number=0,
                    rank=0,
                    point_key="p",
                    parameters={},
                    structure_id=record.id,
                    reason="first",
                )
            )
            campaign_id = campaign.id
        with pytest.raises(ConflictError, match="hard oxides"):
            service.delete(record.id, ada)
        with database.write() as session:
            session.get(CampaignTable, campaign_id).state = "paused"
        service.delete(record.id, ada)
        assert count(database, CandidateTable) == 0
