"""Features: one row for each structure and parameters, graphs that outlive garbage collection."""

import json
import os
import threading
import time
import uuid

import numpy as np
import pytest
from sqlalchemy import func, select

from nanoos.core.errors import InvalidInputError, NotFoundError
from nanoos.db import ArtifactTable, StructureFeatureTable, StructureTable, UserTable, db_now
from nanoos.features import FeatureParameters, crystal_graph
from nanoos.services import feature_jobs, feature_records
from nanoos.services.access import LOCAL_PRINCIPAL as ME
from nanoos.services.access import Principal
from nanoos.services.feature_records import in_chunks
from nanoos.services.job_garbage import collect_garbage
from nanoos.services.job_kinds import JobClaim
from nanoos.testing.crystals import perturbed, rocksalt, wurtzite

NEAREST = FeatureParameters(cutoff_radius=8.0, max_neighbors=12)


def add(services, structure, who=ME, **options):
    record, _ = services.structures.add(structure, who, source={"kind": "test"}, **options)
    return record.id


@pytest.fixture
def salt(services_on_both):
    return add(services_on_both, rocksalt())


@pytest.fixture
def ada(services_on_both):
    with services_on_both.database.write() as session:
        row = UserTable(username="ada")
        session.add(row)
        session.flush()
        return Principal(
            user_id=row.id, username="ada", role="user", scopes=frozenset({"read", "write"})
        )


def count(services, table=StructureFeatureTable):
    with services.database.read() as session:
        return session.scalar(select(func.count()).select_from(table))


def test_computed_once_then_answered_from_the_row(services_on_both, salt):
    services = services_on_both
    first = services.features.compute(salt, ME)
    again = services.features.compute(salt, ME)
    assert (first.cached, again.cached) == (False, True)
    assert (first.id, first.n_atoms, first.created_at) == (again.id, 2, again.created_at)
    assert first.parameters == {"cutoff_radius": 5.0, "max_neighbors": None}
    assert first.scalars["element_fractions"] == {"O": 0.5, "Mg": 0.5}
    graph = services.features.graph(salt, ME)
    expected = crystal_graph(rocksalt(), 5.0)
    assert np.array_equal(graph.targets, expected.targets)
    assert graph.vectors == pytest.approx(expected.vectors)
    assert graph.n_bonds == first.n_bonds
    other = services.features.compute(salt, ME, parameters=NEAREST)
    assert (other.cached, other.n_bonds) == (False, 24)
    assert [one.id for one in services.features.of_structure(salt, ME)] == [other.id, first.id]


def test_recomputing_replaces_the_row(services_on_both, salt):
    services = services_on_both
    first = services.features.compute(salt, ME)
    with services.database.write() as session:
        row = session.get_one(StructureFeatureTable, first.id)
        row.scalar_features = {}
        row.n_bonds = 1
    again = services.features.compute(salt, ME, force_recompute=True)
    assert (again.id, again.cached, again.n_bonds) == (first.id, False, first.n_bonds)
    assert again.scalars == first.scalars
    assert again.created_at > first.created_at
    assert count(services) == 1


def test_those_who_ask_at_once_get_one_row(services_on_both, salt):
    services, found, barrier = services_on_both, [], threading.Barrier(6)

    def ask():
        barrier.wait()
        found.append(services.features.compute(salt, ME))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len({record.id for record in found}) == 1
    assert count(services) == 1


def test_batches_that_cross_store_each_structure_once(services_on_both):
    services = services_on_both
    ids = [add(services, rocksalt(a)) for a in np.linspace(4, 6, 12)]
    barrier, errors = threading.Barrier(4), []

    def ask(order):
        barrier.wait()
        try:
            services.features.batch(order, ME, force_recompute=True)
        except Exception as error:  # noqa: BLE001 - shown by the assertion
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(ids[:: (-1) ** i],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert count(services) == len(ids)
    for a, structure_id in zip(np.linspace(4, 6, 12), ids, strict=True):
        graph = services.features.graph(structure_id, ME)
        assert graph.distances[0] == pytest.approx(a / 2), "each row points to its own arrays"


def test_one_bad_structure_never_fails_the_batch(services_on_both, salt, monkeypatch):
    services = services_on_both
    zinc, missing = add(services, wurtzite()), uuid.uuid4()
    services.features.compute(salt, ME)
    monkeypatch.setattr("nanoos.features.graph.MAX_BONDS", 120)  # wurtzite has more
    batch = services.features.batch([zinc, missing, salt, salt], ME)
    assert [record.structure_id for record in batch.features] == [salt, salt]
    assert (batch.total, batch.cached, batch.new) == (4, 2, 0)
    assert [(error.structure_id, error.code) for error in batch.errors] == [
        (zinc, "graph_too_large"),
        (missing, "not_found"),
    ]
    with pytest.raises(InvalidInputError):
        services.features.batch([], ME)
    with pytest.raises(InvalidInputError):
        services.features.batch([salt] * 101, ME)


def test_features_are_seen_by_whoever_sees_the_structure(services_on_both, salt, ada):
    services = services_on_both
    services.features.compute(salt, ME)
    for ask in (
        services.features.compute,
        services.features.of_structure,
        services.features.graph,
    ):
        with pytest.raises(NotFoundError):
            ask(salt, ada)
    assert services.features.batch([salt], ada).errors[0].code == "not_found"
    with pytest.raises(NotFoundError):
        services.features.submit(ada, structure_ids=[salt])
    shared = add(services, wurtzite(), shared=True)
    assert services.features.compute(shared, ada).n_atoms == 4
    with pytest.raises(NotFoundError, match="not computed"):
        services.features.graph(shared, ada, parameters=NEAREST)


def test_graphs_are_kept_while_a_row_names_them_and_then_collected(services_on_both, salt):
    services = services_on_both
    zinc = add(services, wurtzite())
    services.features.batch([salt, zinc], ME)

    def collect():
        past = time.time() - 7200
        for sha256 in services.artifacts.list_hashes():
            os.utime(services.artifacts._path(sha256), (past, past))
        with services.database.write() as session:
            for row in session.scalars(select(ArtifactTable)):
                row.last_named_at = session.scalar(select(db_now(-7200)))
        return collect_garbage(
            services.database, services.jobs, services.job_files, grace_s=3600
        ).artifacts

    assert len(list(services.artifacts.list_hashes())) == 1, "computed together, kept together"
    assert collect() == 0
    services.structures.delete(salt, ME)
    assert count(services) == 1, "its features went with it"
    assert collect() == 0
    assert services.features.graph(zinc, ME).n_atoms == 4
    services.structures.delete(zinc, ME)
    assert collect() == 1
    assert list(services.artifacts.list_hashes()) == []


def test_a_structure_deleted_while_it_is_computed_leaves_nothing(
    services_on_both, salt, monkeypatch
):
    services = services_on_both
    zinc = add(services, wurtzite())
    put = services.artifacts.put_file

    def deleted_meanwhile(path):
        services.structures.delete(salt, ME)
        return put(path)

    monkeypatch.setattr(services.artifacts, "put_file", deleted_meanwhile)
    batch = services.features.batch([salt, zinc], ME)
    assert [record.structure_id for record in batch.features] == [zinc]
    assert [error.code for error in batch.errors] == ["not_found"]
    assert count(services) == 1


def test_a_job_computes_all_that_its_owner_sees(services_on_both, ada, drain, monkeypatch):
    services = services_on_both
    monkeypatch.setattr(feature_records, "CHUNK_STRUCTURES", 3)
    own = [add(services, rocksalt(a), ada) for a in np.linspace(4, 6, 7)]
    shared = add(services, wurtzite(), shared=True)
    hidden = add(services, perturbed(wurtzite()))
    services.features.compute(own[2], ada, parameters=NEAREST)
    job = services.features.submit(ada, parameters=NEAREST)
    assert (job.kind, job.queue, job.state) == ("features", "ml", "queued")
    drain(services)
    done = services.jobs.get(job.id, ada)
    assert done.state == "completed", done.error
    assert done.result == {"total": 8, "cached": 1, "new": 7, "failed": 0}
    assert done.progress == 1
    assert services.features.graph(shared, ada, parameters=NEAREST).n_bonds == 48
    assert services.features.of_structure(hidden, ME) == []
    mine = services.features.submit(ME, parameters=NEAREST)
    drain(services)
    assert services.jobs.get(mine.id, ME).result["new"] == 1, "an administrator sees all"


def test_a_job_tells_which_structures_failed(services_on_both, salt, drain, monkeypatch):
    services = services_on_both
    zinc = add(services, wurtzite())
    add(services, rocksalt(5.0))  # not asked for
    monkeypatch.setattr("nanoos.features.graph.MAX_BONDS", 120)
    job = services.features.submit(ME, structure_ids=[zinc, salt, salt])
    drain(services)
    result = services.jobs.get(job.id, ME).result
    assert result == {"total": 2, "cached": 0, "new": 1, "failed": 1}
    with services.job_files.open(job.id, "errors.jsonl", ME) as file:
        (line,) = [json.loads(line) for line in file]
    assert line["structure_id"] == str(zinc)
    assert line["code"] == "graph_too_large"


def test_a_killed_job_goes_on_where_it_was(services, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_records, "CHUNK_STRUCTURES", 2)
    for a in np.linspace(4, 6, 6):
        add(services, rocksalt(a))
    payload = {
        "parameters": FeatureParameters().as_dict(),
        "structure_ids": None,
        "force_recompute": True,
        "of_everybody": False,
    }
    claim = JobClaim(
        job_id=uuid.uuid4(), attempt=1, kind="features", owner_id=ME.user_id, payload=payload
    )

    class KilledError(Exception):
        """The process ends here."""

    class Context:
        run_dir = tmp_path
        told: list[float] = []  # noqa: RUF012

        def progress(self, fraction, message):
            del message
            self.told.append(fraction)
            if len(self.told) == 2:
                raise KilledError

    context = Context()
    with pytest.raises(KilledError):
        feature_jobs.compute_features(services, claim, context)
    assert count(services) == 4
    outcome = feature_jobs.compute_features(services, claim, context)
    assert outcome.result == {"total": 6, "cached": 0, "new": 6, "failed": 0}
    assert context.told == pytest.approx([1 / 3, 2 / 3, 1])


def test_chunks_are_bounded_by_structures_and_by_sites():
    ids = [uuid.UUID(int=i) for i in range(600)]
    chunks = list(in_chunks((one, 1) for one in ids))
    assert [len(chunk) for chunk in chunks] == [256, 256, 88]
    assert [one for chunk in chunks for one in chunk] == ids
    large = [len(chunk) for chunk in in_chunks((one, 9_000) for one in ids[:5])]
    assert large == [2, 2, 1]
    assert [len(chunk) for chunk in in_chunks([(ids[0], 50_000), (ids[1], 1)])] == [1, 1]


def test_rows_say_what_the_artifact_holds(services):
    ids = [add(services, one) for one in (rocksalt(), wurtzite(), perturbed(wurtzite()))]
    records = services.features.batch(ids, ME).features
    assert len({record.graph_sha256 for record in records}) == 1
    with services.artifacts.open(records[0].graph_sha256) as file:
        size = len(file.read())
    assert sum(record.graph_bytes for record in records) == size
    assert count(services, StructureTable) == 3
