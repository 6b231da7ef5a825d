"""Simulations: checked before they are queued, done once, kept with what repeats them."""

import hashlib
import json
import threading
import uuid

import numpy as np
import pytest
from sqlalchemy import func, select

from nanoos.core.errors import InvalidInputError, NotFoundError
from nanoos.core.units import GPA_PER_EV_A3
from nanoos.db import JobTable, SimulationTable
from nanoos.engines.mlip.engine import LennardJonesEngine
from nanoos.services.access import LOCAL_PRINCIPAL as ME
from nanoos.services.access import Principal
from nanoos.services.simulations import SimulationPlan
from nanoos.testing.crystals import rocksalt

LJ = {"engine": "LJ", "workflow": "single_point"}


@pytest.fixture
def salt(services_on_both):
    record, _ = services_on_both.structures.add(rocksalt(), ME, source={"kind": "test"})
    return record.id


def test_result_structure_and_files_are_kept(services_on_both, salt, drain):
    services = services_on_both
    asked = services.simulations.submit(salt, ME, engine="lj", workflow="relax")
    assert (asked.state, asked.values) == ("queued", None)
    drain(services)
    done = services.simulations.get(asked.id, ME)
    assert done.state == "completed"
    assert done.energy_ev == pytest.approx(done.values["energy_ev_per_atom"] * rocksalt().n_sites)
    assert done.final_structure.formula == rocksalt().formula
    assert done.resources == done.record["resources"]
    assert done.resources["requested"]["threads"] >= 1
    assert done.resources["used"]["cpu_s"] > 0
    tension = np.array(done.stress_gpa)
    np.testing.assert_allclose(tension, GPA_PER_EV_A3 * np.array(done.record["stress"]))
    assert -np.trace(tension) / 3 == pytest.approx(done.values["pressure_gpa"])
    assert done.record["provenance"]["producer"]
    files = {f.name: f for f in services.job_files.names(asked.job_id, ME)}
    assert {"input/structure.json", "input/parameters.json", "output/result.json"} <= set(files)
    with services.job_files.open(asked.job_id, "input/parameters.json", ME) as handle:
        assert json.load(handle)["workflow"] == "relax"
    assert not list(services.runs_dir.iterdir()), "the scratch folder is gone"


def test_equal_work_is_one_simulation(services_on_both, salt):
    services = services_on_both
    first = services.simulations.submit(salt, ME, **LJ)
    spelled = services.simulations.submit(salt, ME, engine="LJ", workflow="single_point")
    assert first.id == spelled.id
    other = services.simulations.submit(salt, ME, engine="LJ", workflow="relax")
    assert other.id != first.id


def test_work_on_other_files_is_other_work(services, salt_id, monkeypatch):
    files: dict[str, str] = {}
    monkeypatch.setattr(LennardJonesEngine, "fingerprint", lambda *_: files)

    def submit():
        (item,) = services.simulations.submit_batch([salt_id], ME, **RELAX, together=True)
        assert item.simulation.id == services.simulations.submit(salt_id, ME, **RELAX).id
        return item.simulation.id

    first = submit()
    files["my.sw"] = "1" * 64
    second = submit()
    files["my.sw"] = "2" * 64
    assert len({first, second, submit()}) == 3
    files.clear()
    assert submit() == first


def test_work_that_rests_on_no_files_keeps_the_key_it_always_had():
    plan = SimulationPlan(engine="LJ", workflow="relax", parameters={"fmax": 0.02}, queue="md")
    named = '["00000000-0000-0000-0000-000000000001", "LJ", "relax", {"fmax": 0.02}]'
    assert plan.key(uuid.UUID(int=1), {}) == hashlib.sha256(named.encode()).hexdigest()


def test_equal_work_at_once_is_one_simulation(services_on_both, salt):
    services = services_on_both
    found, barrier = [], threading.Barrier(6)

    def submit():
        barrier.wait()
        found.append(services.simulations.submit(salt, ME, **LJ).id)

    threads = [threading.Thread(target=submit) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    with services.database.read() as session:
        for table in (SimulationTable, JobTable):
            assert session.scalar(select(func.count()).select_from(table)) == 1


def test_cancelled_work_submitted_again_is_queued_again(services_on_both, salt, drain):
    services = services_on_both
    first = services.simulations.submit(salt, ME, **LJ)
    services.jobs.cancel(first.job_id, ME)
    again = services.simulations.submit(salt, ME, **LJ)
    assert (again.id, again.job_id, again.state) == (first.id, first.job_id, "queued")
    assert drain(services) == 1
    assert services.simulations.submit(salt, ME, **LJ).state == "completed"
    assert drain(services) == 0


def test_failed_work_submitted_again_is_queued_again(services, drain):
    stretched, _ = services.structures.add(rocksalt(6.5), ME, source={"kind": "test"})
    work = {**RELAX, "parameters": {"max_steps": 1}}
    first = services.simulations.submit(stretched.id, ME, **work)
    drain(services)
    (item,) = services.simulations.submit_batch([stretched.id], ME, **work)
    assert (item.simulation.id, item.simulation.state) == (first.id, "queued")
    assert item.simulation.error is None
    assert drain(services) == 1
    assert services.jobs.get(first.job_id, ME).attempt == 2


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"engine": "VASSP"}, NotFoundError, "VASSP"),
        ({"workflow": "relaxx"}, InvalidInputError, "relaxx"),
        ({"workflow": "relax", "parameters": {"fmx": 1}}, InvalidInputError, "fmx"),
        ({"workflow": "relax", "parameters": {"fmax": -1}}, InvalidInputError, "fmax"),
        ({"parameters": {"potential": "CHGNut"}}, NotFoundError, "CHGNut"),
    ],
)
def test_what_cannot_work_is_refused_before_it_is_queued(
    services_on_both, salt, changes, error, words
):
    services = services_on_both
    with pytest.raises(error, match=words):
        services.simulations.submit(salt, ME, **(LJ | {"engine": "MLIP"} | changes))
    assert services.jobs.page(ME).total == 0


def test_an_element_that_is_not_covered_is_refused(services, drain):
    radon, _ = services.structures.add(rocksalt(5.0, "Rn", "O"), ME, source={"kind": "test"})
    with pytest.raises(InvalidInputError, match="Rn"):
        services.simulations.submit(radon.id, ME, engine="MLIP", workflow="relax")
    assert services.jobs.page(ME).total == 0


def test_a_run_that_does_not_converge_fails_and_keeps_its_files(services, drain):
    stretched, _ = services.structures.add(rocksalt(6.5), ME, source={"kind": "test"})
    asked = services.simulations.submit(
        stretched.id, ME, engine="LJ", workflow="relax", parameters={"max_steps": 1}
    )
    drain(services)
    failed = services.simulations.get(asked.id, ME)
    assert failed.state == "failed"
    assert failed.values is None
    assert failed.error["message"]
    names = [f.name for f in services.job_files.names(asked.job_id, ME)]
    assert "input/structure.json" in names


def test_a_batch_tells_each_item(services, salt_id):
    items = services.simulations.submit_batch([salt_id, uuid.uuid4()], ME, **LJ)
    assert items[0].simulation is not None
    assert items[1].error["code"] == "not_found"


@pytest.fixture
def salt_id(services):
    return services.structures.add(rocksalt(), ME, source={"kind": "test"})[0].id


def test_another_users_simulation_is_not_there(services, salt_id):
    asked = services.simulations.submit(salt_id, ME, **LJ)
    stranger = Principal(
        user_id=uuid.uuid4(), username="x", role="user", scopes=frozenset({"read", "write"})
    )
    with pytest.raises(NotFoundError):
        services.simulations.get(asked.id, stranger)
    with pytest.raises(NotFoundError):
        services.simulations.submit(salt_id, stranger, **LJ)
    assert services.simulations.page_of_structure(salt_id, ME).total == 1


def test_a_structure_deleted_meanwhile_cancels_the_run(services, salt_id, drain):
    asked = services.simulations.submit(salt_id, ME, **LJ)
    services.structures.delete(salt_id, ME)
    drain(services)
    assert services.jobs.get(asked.job_id, ME).state == "cancelled"


def many(services):
    return [
        services.structures.add(rocksalt(a), ME, source={"kind": "test"})[0].id
        for a in (4.0, 4.1, 4.2)
    ]


RELAX = {"engine": "LJ", "workflow": "relax"}


def test_relaxations_together_are_simulations_of_their_own(services, drain):
    ids = many(services)
    items = services.simulations.submit_batch([*ids, uuid.uuid4()], ME, **RELAX, together=True)
    assert [item.simulation is not None for item in items] == [True, True, True, False]
    assert items[3].error["code"] == "not_found"
    assert drain(services) == 1, "one job does all of them"
    alone = services.simulations.submit(
        ids[0], ME, **RELAX, parameters={"fmax": 0.021}
    )  # the same work but for its key
    drain(services)
    expected = services.simulations.get(alone.id, ME).values["energy_ev_per_atom"]
    for item in items[:3]:
        done = services.simulations.get(item.simulation.id, ME)
        assert done.state == "completed"
        assert done.values["energy_ev_per_atom"] == pytest.approx(expected, abs=1e-3)
        assert done.record["provenance"]["parameters"]["workflow"] == "relax"
        assert done.final_structure is not None
        assert done.resources["used"]["cpu_s"] > 0
    batch = services.jobs.page(ME, kind="relaxations").items[0]
    assert batch.result == {"total": 3, "failed": 0}
    names = [f.name for f in services.job_files.names(batch.id, ME)]
    assert "relaxations.csv" in names
    again = services.simulations.submit_batch(ids, ME, **RELAX, together=True)
    assert [item.simulation.state for item in again] == ["completed"] * 3
    assert drain(services) == 0


def test_a_failure_in_a_batch_is_its_own(services, drain):
    near, *_ = many(services)
    far = services.structures.add(rocksalt(6.5), ME, source={"kind": "test"})[0].id
    items = services.simulations.submit_batch(
        [near, far], ME, **RELAX, parameters={"max_steps": 3}, together=True
    )
    drain(services)
    ended = [services.simulations.get(item.simulation.id, ME) for item in items]
    assert [one.state for one in ended] == ["completed", "failed"]
    assert ended[1].error["code"] == "not_converged"


def test_a_cancelled_batch_cancels_what_it_has_not_done(services, drain):
    items = services.simulations.submit_batch(many(services), ME, **RELAX, together=True)
    batch = services.jobs.page(ME, kind="relaxations").items[0]
    services.jobs.cancel(batch.id, ME)
    drain(services)
    states = {services.simulations.get(item.simulation.id, ME).state for item in items}
    assert states == {"cancelled"}


def test_a_cancelled_batch_submitted_again_runs_together(services, drain):
    ids = many(services)
    services.simulations.submit_batch(ids, ME, **RELAX, together=True)
    services.jobs.cancel(services.jobs.page(ME, kind="relaxations").items[0].id, ME)
    again = services.simulations.submit_batch(ids, ME, **RELAX, together=True)
    assert {item.simulation.state for item in again} == {"queued"}
    assert drain(services) == 1
    states = {services.simulations.get(item.simulation.id, ME).state for item in again}
    assert states == {"completed"}


def test_a_cancelled_batch_that_is_retried_does_what_it_had_not_done(services, drain):
    items = services.simulations.submit_batch(many(services), ME, **RELAX, together=True)
    batch = services.jobs.page(ME, kind="relaxations").items[0]
    services.jobs.cancel(batch.id, ME)
    assert services.jobs.retry(batch.id, ME).state == "queued"
    assert drain(services) == 1, "they wait for their batch"
    assert services.jobs.get(batch.id, ME).result == {"total": 3, "failed": 0}
    states = {services.simulations.get(item.simulation.id, ME).state for item in items}
    assert states == {"completed"}


def test_the_same_batch_twice_is_relaxed_once(services, drain):
    first, second, third = many(services)
    items = services.simulations.submit_batch([first, second], ME, **RELAX, together=True)
    again = services.simulations.submit_batch([second, third], ME, **RELAX, together=True)
    assert again[0].simulation.id == items[1].simulation.id
    other, batch = services.jobs.page(ME, kind="relaxations").items
    assert other.payload["simulation_ids"] == [str(again[1].simulation.id)]
    services.simulations.submit_batch([first, second, third], ME, **RELAX, together=True)
    assert services.jobs.page(ME, kind="relaxations").total == 2, "nothing is left to do"
    services.jobs.cancel(other.id, ME)
    assert drain(services) == 1
    assert services.jobs.get(batch.id, ME).result == {"total": 2, "failed": 0}
    ended = [services.simulations.get(i.simulation.id, ME).state for i in (*items, again[1])]
    assert ended == ["completed", "completed", "cancelled"], "each batch ends its own"


def test_work_on_a_shared_structure_is_of_whoever_asks(services, drain):
    shared, _ = services.structures.add(rocksalt(4.2), ME, source={"kind": "test"}, shared=True)
    bob = services.users.create("bob", "a long password", ME, role="user")
    guest = Principal(
        user_id=bob.id, username="bob", role="user", scopes=frozenset({"read", "write"})
    )
    mine = services.simulations.submit(shared.id, ME, **LJ)
    his = services.simulations.submit(shared.id, guest, **LJ)
    assert his.id != mine.id
    assert services.simulations.submit(shared.id, guest, **LJ).id == his.id
    (item,) = services.simulations.submit_batch([shared.id], guest, **LJ)
    assert item.simulation.id == his.id
    own = services.simulations.submit(shared.id, ME, **RELAX)
    (item,) = services.simulations.submit_batch([shared.id], guest, **RELAX, together=True)
    assert item.simulation.id != own.id
    (batch,) = services.jobs.page(guest, kind="relaxations").items
    services.jobs.cancel(batch.id, guest)
    drain(services)
    assert services.simulations.get(item.simulation.id, guest).state == "cancelled"
    assert services.simulations.get(own.id, ME).state == "completed"
    assert services.simulations.page_of_structure(shared.id, guest).total == 2


def test_only_relaxations_run_together(services):
    with pytest.raises(InvalidInputError, match="does not run in batches"):
        services.simulations.submit_batch(many(services), ME, **LJ, together=True)
