"""The jobs table as a state machine, on both databases."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, update

from nanoos.core.errors import (
    ConflictError,
    EngineError,
    InvalidInputError,
    NotFoundError,
    TransientError,
)
from nanoos.db import ArtifactTable, JobEventTable, JobTable, MaterialTable, UserTable, db_now
from nanoos.services.access import LOCAL_PRINCIPAL as LOCAL
from nanoos.services.access import Principal
from nanoos.services.container import Services
from nanoos.services.job_announcements import JobAnnouncements
from nanoos.services.job_attempts import MAX_LOSSES
from nanoos.services.job_kinds import JOB_KINDS, JobClaim, JobKind, JobOutcome
from nanoos.services.jobs import Executor, JobService, LeaseLostError

HERE = Executor(host="here", pid=1, start_time=1.0)


@pytest.fixture
def lab(services_on_both: Services) -> Services:
    return services_on_both


@pytest.fixture
def jobs(lab: Services) -> JobService:
    return lab.jobs


def put(lab: Services, kind: str = "probe", **options) -> uuid.UUID:
    payload = options.pop("payload", {})
    with lab.database.write() as session:
        return lab.jobs.enqueue(session, kind, payload, owner_id=LOCAL.user_id, **options)


def claim(jobs: JobService, *queues: str) -> JobClaim:
    taken = jobs.claim(queues or ["default"], HERE)
    assert taken is not None
    return taken


def change(lab: Services, job_id: uuid.UUID, **values) -> None:
    with lab.database.write() as session:
        session.execute(update(JobTable).where(JobTable.id == job_id).values(**values))


def kinds_of_events(jobs: JobService, job_id: uuid.UUID) -> list[str]:
    events = jobs.events(job_id, LOCAL)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    return [event.kind for event in events]


def together(*calls: Callable[[], object]) -> list[object]:
    barrier = threading.Barrier(len(calls))

    def call(one: Callable[[], object]) -> object:
        barrier.wait()
        return one()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def test_many_claim_the_same_jobs_and_each_is_had_once(lab: Services) -> None:
    ids = {put(lab) for _ in range(30)}

    def take_all() -> list[uuid.UUID]:
        taken = []
        while (one := lab.jobs.claim(["default"], HERE)) is not None:
            taken.append(one.job_id)
        return taken

    taken = [job_id for some in together(*[take_all] * 6) for job_id in some]
    while (one := lab.jobs.claim(["default"], HERE)) is not None:
        taken.append(one.job_id)  # skipped while another transaction looked at it
    assert Counter(taken) == Counter(ids)
    assert {lab.jobs.get(job_id, LOCAL).attempt for job_id in ids} == {1}


def test_the_most_urgent_job_of_the_queues_comes_first(lab: Services, jobs: JobService) -> None:
    first, second = put(lab), put(lab)
    urgent = put(lab, priority=5)
    other = put(lab, queue="dft", priority=9)
    assert [claim(jobs).job_id for _ in range(3)] == [urgent, first, second]
    assert not jobs.has_work(["default", "ml"])
    assert jobs.claim(["default", "ml"], HERE) is None
    assert jobs.has_work(["dft"])
    assert claim(jobs, "default", "dft").job_id == other


def test_a_zombie_writes_nothing(lab: Services, jobs: JobService) -> None:
    job_id = put(lab)
    old = claim(jobs)
    assert jobs.requeue_lost(old, "lost")
    new = claim(jobs)
    assert (new.job_id, new.attempt) == (job_id, 2)

    def finalize(session) -> None:
        session.add(MaterialTable(owner_id=LOCAL.user_id, formula="MgO"))

    for late in (
        lambda: jobs.complete(old, JobOutcome(result={"by": "zombie"}, finalize=finalize)),
        lambda: jobs.fail(old, TransientError("x"), retryable=True),
        lambda: jobs.report_progress(old, 0.5, "x"),
        lambda: jobs.end_cancelled(old),
        lambda: jobs.release(old, "x"),
        lambda: jobs.renew(old),
        lambda: jobs.cancel_requested(old),
    ):
        with pytest.raises(LeaseLostError):
            late()
    assert not jobs.requeue_lost(old, "again")
    jobs.complete(new, JobOutcome(result={"by": "second"}, finalize=finalize))
    with pytest.raises(LeaseLostError):
        jobs.complete(new, JobOutcome(result={"by": "second, again"}))
    assert jobs.get(job_id, LOCAL).result == {"by": "second"}
    assert kinds_of_events(jobs, job_id) == ["queued", "started", "queued", "started", "completed"]
    with lab.database.read() as session:
        assert session.scalar(select(func.count()).select_from(MaterialTable)) == 1


def test_a_result_that_cannot_be_stored_leaves_nothing(lab: Services, jobs: JobService) -> None:
    job_id = put(lab)
    taken = claim(jobs)

    def finalize(session) -> None:
        session.add(MaterialTable(owner_id=LOCAL.user_id, formula="MgO"))
        session.flush()
        raise InvalidInputError("no")

    with pytest.raises(InvalidInputError):
        jobs.complete(taken, JobOutcome(finalize=finalize))
    with pytest.raises(Exception, match=r"(?i)json|nan"):
        jobs.complete(taken, JobOutcome(result={"value": float("nan")}))
    assert jobs.get(job_id, LOCAL).state == "running"
    assert kinds_of_events(jobs, job_id) == ["queued", "started"]
    with lab.database.read() as session:
        assert session.scalar(select(func.count()).select_from(MaterialTable)) == 0


def test_text_that_a_database_refuses_is_stored_readable(lab: Services, jobs: JobService) -> None:
    job_id = put(lab, payload={"name": "a\0b\udc80c Å"})
    assert jobs.get(job_id, LOCAL).payload == {"name": "a\N{REPLACEMENT CHARACTER}b?c Å"}


def test_a_lease_runs_out_unless_it_is_renewed(lab: Services) -> None:
    jobs = JobService(lab.database, lease_s=0.4)
    job_id = put(lab)
    taken = claim(jobs)
    for _ in range(4):
        time.sleep(0.15)
        assert jobs.renew(taken) is False
        assert jobs.expired() == []
        assert not jobs.requeue_lost(taken, "x", only_expired=True)
    time.sleep(0.6)
    ((lost, executor),) = jobs.expired()
    assert (lost.job_id, executor) == (job_id, HERE)
    assert jobs.requeue_lost(lost, "its lease ran out", only_expired=True)
    assert jobs.get(job_id, LOCAL).state == "queued"
    assert jobs.get(job_id, LOCAL).failures == 0


def test_a_job_that_loses_worker_after_worker_fails_at_last(
    lab: Services, jobs: JobService
) -> None:
    job_id = put(lab)
    for _ in range(MAX_LOSSES):
        assert jobs.requeue_lost(claim(jobs), "lost")
    job = jobs.get(job_id, LOCAL)
    assert (job.state, job.error["code"]) == ("failed", "worker_lost")
    assert not jobs.has_work(["default"])


def test_a_queued_job_is_cancelled_at_once(lab: Services, jobs: JobService) -> None:
    job_id = put(lab)
    assert jobs.cancel(job_id, LOCAL).state == "cancelled"
    assert jobs.claim(["default"], HERE) is None
    with pytest.raises(ConflictError):
        jobs.cancel(job_id, LOCAL)


@pytest.mark.parametrize("end", ["end_cancelled", "release", "requeue_lost", "fail"])
def test_a_running_job_that_should_be_cancelled_never_runs_again(
    lab: Services, jobs: JobService, end: str
) -> None:
    job_id = put(lab)
    taken = claim(jobs)
    assert jobs.cancel(job_id, LOCAL).state == "running"
    assert jobs.cancel(job_id, LOCAL).cancel_requested  # asking twice is one request
    assert jobs.renew(taken) is True
    assert jobs.cancel_requested(taken) is True
    if end == "end_cancelled":
        jobs.end_cancelled(taken)
    elif end == "fail":
        jobs.fail(taken, TransientError("x"), retryable=True)
    else:
        getattr(jobs, end)(taken, "x")
    assert jobs.get(job_id, LOCAL).state == "cancelled"
    assert kinds_of_events(jobs, job_id) == ["queued", "started", "cancel_requested", "cancelled"]


def test_an_error_of_the_work_is_not_retried(lab: Services, jobs: JobService) -> None:
    job_id = put(lab)
    assert jobs.fail(claim(jobs), EngineError("It diverged."), retryable=False) == "failed"
    job = jobs.get(job_id, LOCAL)
    assert (job.state, job.error["message"]) == ("failed", "It diverged.")
    assert jobs.events(job_id, LOCAL)[-1].data["message"] == "It diverged."


def test_a_transient_error_is_retried_after_a_wait_that_doubles(
    lab: Services, jobs: JobService
) -> None:
    job_id = put(lab, max_failures=3)
    waits = []
    for _ in range(2):
        assert jobs.fail(claim(jobs), TransientError("busy"), retryable=True) == "queued"
        assert not jobs.has_work(["default"])
        with lab.database.read() as session:
            row, now = session.execute(select(JobTable, db_now())).one()
            waits.append((row.not_before - now).total_seconds())
        change(lab, job_id, not_before=db_now())
    assert waits == pytest.approx([2.0, 4.0], abs=0.5)
    assert jobs.fail(claim(jobs), TransientError("busy"), retryable=True) == "failed"
    assert kinds_of_events(jobs, job_id).count("retrying") == 2


def test_a_stopping_worker_gives_the_job_back_unharmed(lab: Services, jobs: JobService) -> None:
    job_id = put(lab)
    jobs.release(claim(jobs), "the worker was stopped")
    job = jobs.get(job_id, LOCAL)
    assert (job.state, job.failures) == ("queued", 0)
    assert claim(jobs).attempt == 2


def test_retry_forgets_how_the_job_ended(lab: Services, jobs: JobService) -> None:
    job_id = put(lab)
    with pytest.raises(ConflictError):
        jobs.retry(job_id, LOCAL)
    taken = claim(jobs)
    jobs.report_progress(taken, 0.7, "nearly")
    jobs.fail(taken, EngineError("no"), retryable=False)
    entry = {"name": "log.txt", "sha256": "a" * 64, "size_bytes": 3}
    assert jobs.record_files(job_id, taken.attempt, [entry])
    assert not jobs.record_files(job_id, taken.attempt, [entry])
    assert [file.name for file in lab.job_files.names(job_id, LOCAL)] == ["log.txt"]
    job = jobs.retry(job_id, LOCAL)
    assert (job.state, job.progress, job.error, job.failures) == ("queued", 0.0, None, 0)
    assert [file.name for file in lab.job_files.names(job_id, LOCAL)] == ["log.txt"]
    jobs.complete(claim(jobs), JobOutcome(result={"ok": True}))
    assert jobs.get(job_id, LOCAL).state == "completed"
    with pytest.raises(ConflictError):
        jobs.retry(job_id, LOCAL)


def test_one_key_is_one_job_however_many_ask_at_once(lab: Services) -> None:
    for number in range(5):
        ids = together(*[lambda key=f"work-{number}": put(lab, key=key)] * 6)
        assert len(set(ids)) == 1
    assert lab.jobs.page(LOCAL).total == 5
    assert put(lab, key="work-0") != put(lab)


def test_events_are_numbered_without_gaps_by_many_writers(lab: Services, jobs: JobService) -> None:
    job_id = put(lab)
    taken = claim(jobs)

    def report() -> None:
        for number in range(8):
            jobs.report_progress(taken, number / 10, "going")

    together(report, report, report, lambda: jobs.cancel(job_id, LOCAL))
    assert len(kinds_of_events(jobs, job_id)) == 2 + 24 + 1
    assert [e.number for e in jobs.events(job_id, LOCAL, after=20, limit=3)] == [21, 22, 23]


def test_events_of_many_jobs_resume_each_from_its_own_number(
    lab: Services, jobs: JobService
) -> None:
    ids = [put(lab) for _ in range(3)]
    for _ in ids:
        claim(jobs)
    cursors = {job_id: number for number, job_id in enumerate(ids)}
    cursors |= {uuid.uuid4(): 0 for _ in range(1500)}
    found = sorted((e.job_id, e.number) for e in jobs.events_since(cursors))
    assert found == sorted([(ids[0], 1), (ids[0], 2), (ids[1], 2)])
    assert jobs.events_since({}) == []


def test_another_users_job_is_not_there(lab: Services, jobs: JobService) -> None:
    job_id = put(lab)
    with lab.database.write() as session:
        user = UserTable(username="eve")
        session.add(user)
        session.flush()
    eve = Principal(
        user_id=user.id, username="eve", role="user", scopes=frozenset({"read", "write"})
    )
    for ask in (jobs.get, jobs.cancel, jobs.retry, jobs.events):
        with pytest.raises(NotFoundError):
            ask(job_id, eve)
    with pytest.raises(NotFoundError):
        lab.job_files.names(job_id, eve)
    with pytest.raises(NotFoundError):
        lab.job_files.log(job_id, eve)
    assert jobs.page(eve).total == 0


def test_a_kind_that_is_unknown_here_waits_for_a_worker_that_knows_it(
    lab: Services, jobs: JobService
) -> None:
    job_id = put(lab)
    change(lab, job_id, kind="from_a_plugin")
    assert not jobs.has_work(["default"])
    assert jobs.claim(["default"], HERE) is None
    assert jobs.cancel(job_id, LOCAL).state == "cancelled"
    with pytest.raises(NotFoundError, match="prob"):
        put(lab, kind="prob")


def test_the_hook_of_a_kind_runs_with_the_end_or_not_at_all(
    lab: Services, jobs: JobService
) -> None:
    seen = []

    def hook(session, row) -> None:
        seen.append((row.id, row.state))
        session.add(MaterialTable(owner_id=row.owner_id, formula=f"H{len(seen)}"))
        if len(seen) == 1:
            raise TransientError("not now")

    JOB_KINDS.register("hooked", JobKind(name="hooked", handler=print, on_terminal=hook))
    try:
        job_id = put(lab, kind="hooked")
        taken = claim(jobs)
        with pytest.raises(TransientError, match="not now"):
            jobs.complete(taken, JobOutcome())
        assert jobs.get(job_id, LOCAL).state == "running"
        jobs.complete(taken, JobOutcome())
    finally:
        JOB_KINDS.unregister("hooked")
    assert seen == [(job_id, "completed")] * 2
    with lab.database.read() as session:
        assert session.scalars(select(MaterialTable.formula)).all() == ["H2"]


def test_named_files_are_noted_with_the_end(lab: Services, jobs: JobService) -> None:
    entries = [{"name": f"{n}.txt", "sha256": f"{n}" * 64, "size_bytes": n} for n in (3, 1, 2, 3)]

    def run() -> None:
        jobs.complete(claim(jobs), JobOutcome(), entries)

    for _ in range(6):
        put(lab)
    together(*[run] * 6)
    with lab.database.read() as session:
        assert session.scalar(select(func.count()).select_from(ArtifactTable)) == 3


def test_announcements_are_shared_by_many_relays(lab: Services, jobs: JobService) -> None:
    broker = JobAnnouncements(lab.database)
    ids = {put(lab) for _ in range(20)}
    dft = put(lab, queue="dft")
    assert broker.has_unpublished()
    taken = [pair for some in together(*[broker.take_unpublished] * 4) for pair in some]
    taken += broker.take_unpublished()
    assert Counter(job_id for job_id, _ in taken) == Counter(ids | {dft})
    assert dict(taken)[dft] == "dft"
    assert not broker.has_unpublished()
    broker.withdraw_announcements([dft])
    assert broker.take_unpublished() == [(dft, "dft")]
    assert broker.stale_queues(stale_s=60) == []
    change(lab, dft, published_at=db_now(-100))
    assert broker.stale_queues(stale_s=60) == ["dft"]
    broker.withdraw_stale(["default"], stale_s=60)
    assert not broker.has_unpublished()
    broker.withdraw_stale(["dft"], stale_s=60)
    assert broker.take_unpublished() == [(dft, "dft")]
    released = claim(jobs)
    jobs.release(released, "x")
    assert broker.take_unpublished() == [(released.job_id, "default")]


def test_the_database_may_end_all_connections(postgres, services_on_both: Services) -> None:
    if services_on_both.database.is_sqlite:
        pytest.skip("SQLite has no connections that a server could end")
    put(services_on_both)
    postgres.end_connections(services_on_both.database.engine.url.database)
    assert services_on_both.jobs.has_work(["default"])
    assert claim(services_on_both.jobs).attempt == 1


def test_deleting_a_user_takes_the_jobs_along(lab: Services) -> None:
    with lab.database.write() as session:
        user = UserTable(username="gone")
        session.add(user)
        session.flush()
        lab.jobs.enqueue(session, "probe", {}, owner_id=user.id)
    with lab.database.write() as session:
        session.delete(session.get(UserTable, user.id))
    with lab.database.read() as session:
        assert session.scalar(select(func.count()).select_from(JobEventTable)) == 0
