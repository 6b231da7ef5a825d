"""Files and logs of jobs, before and after they are sealed, and what is collected."""

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from nanoos.core.errors import EngineError, InvalidInputError, NotFoundError
from nanoos.db import ArtifactTable, JobTable, db_now
from nanoos.services.access import LOCAL_PRINCIPAL as LOCAL
from nanoos.services.container import Services
from nanoos.services.job_files import LOG_NAME, JobFiles
from nanoos.services.job_garbage import Garbage, collect_garbage
from nanoos.services.job_kinds import JobClaim, JobOutcome
from nanoos.services.jobs import Executor
from nanoos.testing.crystals import rocksalt
from nanoos.worker.child import run_job


@pytest.fixture
def files(services: Services) -> JobFiles:
    return services.job_files


@pytest.fixture
def claim(services: Services) -> JobClaim:
    with services.database.write() as session:
        services.jobs.enqueue(session, "probe", {}, owner_id=LOCAL.user_id)
    return services.jobs.claim(["default"], Executor(host="here", pid=1, start_time=1.0))


def write(files: JobFiles, job_id: uuid.UUID, name: str, text: str) -> Path:
    path = files.run_dir(job_id) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def read(files: JobFiles, job_id: uuid.UUID, name: str) -> str:
    with files.open(job_id, name, LOCAL) as handle:
        return handle.read().decode()


def names(files: JobFiles, job_id: uuid.UUID) -> list[str]:
    return [file.name for file in files.names(job_id, LOCAL)]


def complete(services: Services, claim: JobClaim, *chosen: Path) -> None:
    sealed = services.job_files.seal(claim.job_id, chosen)
    services.jobs.complete(claim, JobOutcome(), sealed)
    services.job_files.discard(claim.job_id)


def fail(services: Services, claim: JobClaim) -> None:
    services.jobs.fail(claim, EngineError("no"), retryable=False)


def again(services: Services) -> JobClaim:
    return services.jobs.claim(["default"], Executor(host="there", pid=1, start_time=1.0))


def ended_ago(services: Services, job_id: uuid.UUID, seconds: float) -> None:
    with services.database.write() as session:
        session.get(JobTable, job_id).finished_at = db_now(-seconds)


def make_ready(services: Services, job_id: uuid.UUID) -> None:
    with services.database.write() as session:
        session.get(JobTable, job_id).not_before = None


def age(path: Path, seconds: float) -> None:
    for entry in [*path.rglob("*"), path]:
        os.utime(entry, (time.time() - seconds,) * 2)


def test_log_and_files_are_read_while_the_job_runs(files: JobFiles, claim: JobClaim) -> None:
    assert files.log(claim.job_id, LOCAL) == b""
    assert names(files, claim.job_id) == []
    write(files, claim.job_id, LOG_NAME, "line one\n")
    write(files, claim.job_id, "out/energies.csv", "1,2\n")
    assert files.log(claim.job_id, LOCAL) == b"line one\n"
    assert files.log(claim.job_id, LOCAL, offset=5) == b"one\n"
    assert files.log(claim.job_id, LOCAL, offset=5, limit=2) == b"on"
    assert files.log(claim.job_id, LOCAL, offset=500) == b""
    assert names(files, claim.job_id) == [LOG_NAME, "out/energies.csv"]
    assert read(files, claim.job_id, "out/energies.csv") == "1,2\n"
    with pytest.raises(InvalidInputError):
        files.log(claim.job_id, LOCAL, offset=-1)


def test_sealed_files_are_what_the_handler_named_and_the_log(
    services: Services, files: JobFiles, claim: JobClaim
) -> None:
    write(files, claim.job_id, LOG_NAME, "done\n")
    write(files, claim.job_id, "scratch.wfc", "large")
    kept = write(files, claim.job_id, "out/result.json", "{}")
    complete(services, claim, kept)
    assert names(files, claim.job_id) == ["out/result.json", LOG_NAME]
    assert read(files, claim.job_id, "out/result.json") == "{}"
    assert files.log(claim.job_id, LOCAL, offset=2) == b"ne\n"
    assert not (services.runs_dir / str(claim.job_id)).exists()
    with pytest.raises(NotFoundError):
        files.open(claim.job_id, "scratch.wfc", LOCAL)
    assert files.names(claim.job_id, LOCAL)[0].sha256


def test_an_empty_log_is_not_kept(services: Services, files: JobFiles, claim: JobClaim) -> None:
    write(files, claim.job_id, LOG_NAME, "")
    complete(services, claim)
    assert names(files, claim.job_id) == []
    assert files.log(claim.job_id, LOCAL) == b""


def test_everything_of_a_failed_job_is_kept(
    services: Services, files: JobFiles, claim: JobClaim
) -> None:
    write(files, claim.job_id, LOG_NAME, "why\n")
    write(files, claim.job_id, "core.txt", "state")
    fail(services, claim)
    assert read(files, claim.job_id, "core.txt") == "state"
    files.keep(services.jobs, claim)
    assert sorted(names(files, claim.job_id)) == ["core.txt", LOG_NAME]
    assert all(file.sha256 for file in files.names(claim.job_id, LOCAL))
    assert files.log(claim.job_id, LOCAL) == b"why\n"


def test_a_retry_begins_in_the_folder_that_was_left(
    services: Services, files: JobFiles, claim: JobClaim
) -> None:
    write(files, claim.job_id, LOG_NAME, "first\n")
    write(files, claim.job_id, "out/.scratch/density", "half")
    fail(services, claim)
    services.jobs.retry(claim.job_id, LOCAL)  # before its files are sealed
    files.keep(services.jobs, claim)
    folder = files.take_up(again(services))
    assert (folder / "out/.scratch/density").read_text() == "half"
    write(files, claim.job_id, "out/new.txt", "new")
    assert names(files, claim.job_id) == [LOG_NAME, "out/new.txt"], "what is written now"


def test_a_retry_elsewhere_begins_with_the_sealed_files(
    services: Services, files: JobFiles, claim: JobClaim
) -> None:
    write(files, claim.job_id, LOG_NAME, "first\n")
    write(files, claim.job_id, "out/restart.5", "step 5")
    write(files, claim.job_id, "out/.scratch/density", "gigabytes")
    fail(services, claim)
    files.keep(services.jobs, claim)
    files.discard(claim.job_id)
    services.jobs.retry(claim.job_id, LOCAL)
    assert names(files, claim.job_id) == ["out/restart.5", LOG_NAME], "until it ends again"
    assert files.log(claim.job_id, LOCAL) == b"first\n"
    second = again(services)
    folder = files.take_up(second)
    assert (folder / "out/restart.5").read_text() == "step 5"
    assert not (folder / "out/.scratch").exists()
    assert [path.name for path in services.runs_dir.iterdir()] == [str(claim.job_id)]
    write(files, claim.job_id, LOG_NAME, "second\n")
    complete(services, second)
    assert names(files, claim.job_id) == [LOG_NAME]
    assert files.log(claim.job_id, LOCAL) == b"second\n"


@pytest.mark.parametrize("claimed", [False, True])
def test_a_retry_that_is_cancelled_before_it_began_keeps_the_files(
    services: Services, files: JobFiles, claim: JobClaim, claimed: bool
) -> None:
    write(files, claim.job_id, LOG_NAME, "first\n")
    fail(services, claim)
    files.keep(services.jobs, claim)
    files.discard(claim.job_id)
    services.jobs.retry(claim.job_id, LOCAL)
    taken = again(services) if claimed else None
    services.jobs.cancel(claim.job_id, LOCAL)
    if taken is not None:
        services.jobs.end_cancelled(taken)
        files.keep(services.jobs, taken)
    assert services.jobs.get(claim.job_id, LOCAL).state == "cancelled"
    assert files.log(claim.job_id, LOCAL) == b"first\n"


def test_a_store_that_cannot_be_read_costs_the_attempt_and_no_file(
    services: Services, files: JobFiles, claim: JobClaim, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(files, claim.job_id, LOG_NAME, "first\n")
    fail(services, claim)
    files.keep(services.jobs, claim)
    files.discard(claim.job_id)
    services.jobs.retry(claim.job_id, LOCAL)

    def away(*_: object) -> None:
        raise OSError("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(files.store, "open", away)
        run_job(services, again(services))
    job = services.jobs.get(claim.job_id, LOCAL)
    assert (job.state, job.error["code"]) == ("queued", "system_error")
    assert files.log(claim.job_id, LOCAL) == b"first\n"
    assert list(services.runs_dir.iterdir()) == []


def test_a_state_that_cannot_be_read_is_thrown_away(
    services: Services, files: JobFiles, drain: Callable[..., int]
) -> None:
    salt, _ = services.structures.add(rocksalt(), LOCAL, source={"kind": "test"})
    parameters = {"num_steps": 2, "repeats": [1, 1, 1], "max_atoms": 8, "analysis": []}
    asked = services.simulations.submit(
        salt.id, LOCAL, engine="LJ", workflow="md", parameters=parameters
    )
    write(files, asked.job_id, "output/checkpoint.npz", "no archive")
    drain(services)
    job = services.jobs.get(asked.job_id, LOCAL)
    assert (job.state, job.error["code"]) == ("queued", "bad_checkpoint")
    make_ready(services, asked.job_id)
    drain(services)
    assert services.jobs.get(asked.job_id, LOCAL).state == "completed"


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "../../secret.key",
        "/etc/passwd",
        "link",
        "link_out/x",
        "",
        ".",
        "a\0b",
        "x" * 5000,
    ],
)
def test_no_name_leads_out_of_the_run_folder(
    services: Services, files: JobFiles, claim: JobClaim, tmp_path: Path, name: str
) -> None:
    run_dir = files.run_dir(claim.job_id)
    (services.runs_dir / "secret").write_text("secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x").write_text("secret")
    (run_dir / "link").symlink_to(services.runs_dir / "secret")
    (run_dir / "link_out").symlink_to(tmp_path / "outside")
    write(files, claim.job_id, "fine", "fine")
    with pytest.raises(NotFoundError):
        files.open(claim.job_id, name, LOCAL)
    assert names(files, claim.job_id) == ["fine"]
    assert [entry["name"] for entry in files.seal_all(claim.job_id)] == ["fine"]


def test_a_file_outside_the_run_folder_is_not_sealed(
    files: JobFiles, claim: JobClaim, tmp_path: Path
) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(ValueError, match="subpath"):
        files.seal(claim.job_id, [tmp_path / "x"])


def test_only_what_nobody_names_is_collected(
    services: Services, files: JobFiles, claim: JobClaim, tmp_path: Path
) -> None:
    kept = write(files, claim.job_id, "kept.txt", "kept")
    complete(services, claim, kept)
    (tmp_path / "lost.txt").write_text("sealed, then its worker was killed")
    files.store.put_file(tmp_path / "lost.txt")
    with services.database.write() as session:
        session.add(ArtifactTable(sha256="f" * 64, size_bytes=1))
    nothing = Garbage(artifacts=0, run_folders=0, unfinished_files=0)
    assert collect_garbage(services.database, services.jobs, files, grace_s=60) == nothing
    age(services.runs_dir.parent / "artifacts", 120)
    found = collect_garbage(services.database, services.jobs, files, grace_s=60)
    assert found == Garbage(artifacts=1, run_folders=0, unfinished_files=0)
    assert read(files, claim.job_id, "kept.txt") == "kept"
    assert len(list(files.store.list_hashes())) == 1


def test_run_folders_of_ended_jobs_are_sealed_then_collected(
    services: Services, files: JobFiles, claim: JobClaim
) -> None:
    write(files, claim.job_id, LOG_NAME, "its worker was killed before it could seal this\n")
    strange = services.runs_dir / "not-a-job"
    strange.mkdir()
    deleted = files.run_dir(uuid.uuid4())
    age(services.runs_dir, 120)
    found = collect_garbage(services.database, services.jobs, files, grace_s=60)
    assert found.run_folders == 1  # the folder of the job that is not there any more
    assert not deleted.exists()
    assert strange.exists()
    assert files.log(claim.job_id, LOCAL).startswith(b"its worker")
    fail(services, claim)
    age(services.runs_dir, 120)
    assert collect_garbage(services.database, services.jobs, files, grace_s=60).run_folders == 0
    ended_ago(services, claim.job_id, 120)
    assert collect_garbage(services.database, services.jobs, files, grace_s=60).run_folders == 1
    assert list(services.runs_dir.iterdir()) == [strange]
    assert files.names(claim.job_id, LOCAL)[0].sha256
    assert files.log(claim.job_id, LOCAL).startswith(b"its worker")


def test_the_folder_of_a_completed_job_is_collected_at_once(
    services: Services, files: JobFiles, claim: JobClaim
) -> None:
    files.run_dir(claim.job_id)
    services.jobs.complete(claim, JobOutcome())  # on another machine than the attempt before
    assert collect_garbage(services.database, services.jobs, files).run_folders == 1
    assert list(services.runs_dir.iterdir()) == []
