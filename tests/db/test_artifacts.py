"""The artifact store: sealed by content, whole or not at all."""

import hashlib
import resource
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nanoos.core.errors import NotFoundError, TransientError
from nanoos.db import ArtifactStore


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(f"file://{tmp_path / 'artifacts'}")


def stored_files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]


def test_content_comes_back_under_its_hash(store: ArtifactStore, tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(range(256)) * 9000)
    sha256, size = store.put_file(path)
    assert (sha256, size) == (hashlib.sha256(path.read_bytes()).hexdigest(), 256 * 9000)
    with store.open(sha256) as handle:
        assert handle.read() == path.read_bytes()
    assert list(store.list_hashes()) == [sha256]
    with pytest.raises(NotFoundError):
        store.open("0" * 64)


def test_the_same_content_from_many_threads_is_one_file(
    store: ArtifactStore, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{n}.txt" for n in range(8)]
    for path in paths:
        path.write_text("the same")
    threads = [threading.Thread(target=store.put_file, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stored_files(tmp_path)) == 1


def test_a_full_disk_leaves_nothing_behind(store: ArtifactStore, tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(b"x" * 100_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(TransientError) as caught:
            store.put_file(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.error_code == "artifacts_unavailable"
    assert caught.value.hint
    assert stored_files(tmp_path) == []
    store.put_file(path)


def test_what_is_young_or_sealed_again_is_not_collected(
    store: ArtifactStore, tmp_path: Path
) -> None:
    path = tmp_path / "data.txt"
    path.write_text("data")
    sha256, _ = store.put_file(path)
    now = datetime.now(UTC)
    assert not store.collect(sha256, older_than=now - timedelta(hours=1))
    store.put_file(path)
    assert not store.collect(sha256, older_than=now)
    assert store.collect(sha256, older_than=now + timedelta(hours=1))
    assert not store.collect(sha256, older_than=now + timedelta(hours=1))
    assert stored_files(tmp_path) == []


def test_what_a_killed_writer_left_is_collected(store: ArtifactStore, tmp_path: Path) -> None:
    left = tmp_path / "artifacts" / "abc.part"
    left.parent.mkdir()
    left.write_text("half")
    now = datetime.now(UTC)
    assert store.collect_unfinished(older_than=now - timedelta(hours=1)) == 0
    assert store.collect_unfinished(older_than=now + timedelta(hours=1)) == 1
    assert stored_files(tmp_path) == []
