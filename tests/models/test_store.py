"""The folder of weights: whole sets only, recognised by content, killed without a trace."""

import json
import shutil
import signal
import subprocess
import sys
import urllib.error

import pytest

from nanoos.core.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from nanoos.models import store
from nanoos.models.store import NewWeights, add_from, add_weights, published, pull, remove
from nanoos.potentials.installed_weights import (
    find_weights,
    installed_weights,
    set_weights_folder,
)
from nanoos.potentials.published_weights import PUBLISHED


@pytest.fixture
def folder(tmp_path):
    set_weights_folder(tmp_path / "models")
    yield tmp_path / "models"
    set_weights_folder(None)


def made_up(tmp_path, *, check=lambda _: None, name="made-up"):
    source = tmp_path / "source.pt"
    source.write_bytes(b"numbers")
    return NewWeights(
        name=name,
        family="none",
        files={"weights.pt": source},
        license="MIT",
        source="a test",
        check=check,
    )


def test_what_was_added_is_found_with_its_hash_and_can_be_removed(folder, tmp_path):
    added = add_weights(made_up(tmp_path))
    assert installed_weights() == {"made-up": added}
    assert (added.folder / "weights.pt").read_bytes() == b"numbers"
    manifest = json.loads((folder / "made-up" / "manifest.json").read_text())
    assert manifest["license"] == "MIT"
    assert len(manifest["files"]["weights.pt"]) == 64
    with pytest.raises(ConflictError):
        add_weights(made_up(tmp_path))
    remove("MADE-UP")
    assert installed_weights() == {}
    assert list(folder.iterdir()) == []
    with pytest.raises(NotFoundError):
        remove("made-up")


def test_what_does_not_load_is_not_added(folder, tmp_path):
    def refuse(_):
        raise InvalidInputError("broken")

    with pytest.raises(InvalidInputError, match="broken"):
        add_weights(made_up(tmp_path, check=refuse))
    assert list(folder.iterdir()) == []


def test_a_changed_file_is_no_weights_of_that_name(folder, tmp_path):
    added = add_weights(made_up(tmp_path))
    (added.folder / "weights.pt").unlink()
    assert find_weights("made-up") is None


@pytest.mark.parametrize("moment", ["check", "settle"])
def test_killed_in_the_middle_nothing_is_half_added(folder, tmp_path, moment):
    source = tmp_path / "source.pt"
    source.write_bytes(b"numbers")
    code = f"""
import os, signal
from pathlib import Path
from nanoos.models import store
from nanoos.potentials.installed_weights import set_weights_folder
set_weights_folder(Path({str(folder)!r}))
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
if {moment!r} == "settle":
    store._settle = die
store.add_weights(store.NewWeights(name="made-up", family="none",
    files={{"weights.pt": Path({str(source)!r})}}, license="MIT", source="a test",
    check=die if {moment!r} == "check" else lambda _: None))
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert installed_weights() == {}
    (left,) = folder.iterdir()
    assert left.name.startswith(".")
    import os

    os.utime(left, (0, 0))  # long ago
    add_weights(made_up(tmp_path))
    assert [path.name for path in folder.iterdir()] == ["made-up"]


def test_a_folder_without_weights_says_what_is_known(folder, tmp_path):
    (tmp_path / "some.pt").write_bytes(b"no weights")
    with pytest.raises(InvalidInputError) as caught:
        add_from(tmp_path)
    assert caught.value.error_code == "weights_unknown"
    assert "CGCNN-2018" in caught.value.hint
    with pytest.raises(NotFoundError):
        add_from(tmp_path / "absent")


def test_an_incomplete_set_names_what_is_missing(folder, shared, tmp_path):
    source = shared / "weights" / "cgcnn"
    if not source.is_dir():
        pytest.skip("no published weights here")
    there = tmp_path / "partial"
    there.mkdir()
    shutil.copy(source / "band-gap.pth.tar", there)
    (there / "efermi.pth.tar").write_bytes(b"other bytes under the same name")
    with pytest.raises(InvalidInputError) as caught:
        add_from(there)
    assert caught.value.error_code == "weights_incomplete"
    assert "efermi.pth.tar" in caught.value.details["missing"]
    assert "band-gap.pth.tar" not in caught.value.details["missing"]


def test_a_published_set_under_any_name_is_recognised(folder, shared, tmp_path):
    source = shared / "weights" / "cgcnn"
    if not source.is_dir():
        pytest.skip("no published weights here")
    for path in source.iterdir():
        shutil.copyfile(path, tmp_path / f"renamed-{path.name}")
    (added,) = add_from(tmp_path)
    assert added.name == "CGCNN-2018"
    assert dict(added.files) == dict(PUBLISHED["CGCNN-2018"].files)
    with pytest.raises(ConflictError):
        add_from(tmp_path)


def test_pull_without_network_names_the_other_way(folder, monkeypatch):
    def unreachable(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(store.urllib.request, "urlopen", unreachable)
    with pytest.raises(UnavailableError) as caught:
        pull("CGCNN-2018")
    assert caught.value.error_code == "no_network"
    assert "nanoos models add FOLDER" in caught.value.hint
    assert list(folder.iterdir()) == []


def test_pull_takes_the_published_bytes_only(folder, shared, monkeypatch):
    source = shared / "weights" / "cgcnn"
    if not source.is_dir():
        pytest.skip("no published weights here")

    def served(url, **_):
        return (source / url.rpartition("/")[2]).open("rb")

    monkeypatch.setattr(store.urllib.request, "urlopen", served)
    assert pull("cgcnn-2018").name == "CGCNN-2018"
    remove("CGCNN-2018")
    monkeypatch.setattr(
        store.urllib.request, "urlopen", lambda *_, **__: (source / "LICENSE").open("rb")
    )
    with pytest.raises(UnavailableError) as caught:
        pull("CGCNN-2018")
    assert caught.value.error_code == "weights_changed"
    assert installed_weights() == {}


def test_names_of_models_and_of_what_does_not_run():
    assert published("m3gnet").name == "M3GNet-MP-2021.2.8-PES"
    with pytest.raises(InvalidInputError, match="MEGNet uses 2 published sets") as caught:
        published("megnet")
    for name in ("MEGNet-MP-2018.6.1-Eform", "MEGNet-MP-2019.4.1-BandGap-mfi"):
        assert name in caught.value.message
    assert published("MEGNet-HSE").name == "MEGNet-MP-2019.4.1-BandGap-mfi"
    with pytest.raises(NotFoundError, match="MEGNot"):
        published("MEGNot")
    with pytest.raises(UnavailableError, match=r"0\.007"):
        published("M3GNet-MP-2018.6.1-Eform")
