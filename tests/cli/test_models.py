"""``nanoos models``: list, show, pull, add, remove, calibrate."""

import hashlib
import io
import json
import urllib.error
from pathlib import Path

import pytest
from stored_models import add_model

from nanoos.models import published_check, store
from nanoos.potentials import published_weights
from nanoos.potentials.installed_weights import set_weights_folder
from nanoos.potentials.published_weights import PublishedWeights
from nanoos.structures.generate import build_prototype

BYTES = b"numbers that somebody published"
CATIONS = ("Li", "Na", "K", "Mg", "Ca", "Sr", "Ba", "Ti", "Zr")
PARTS = ("train", "val", "val", "test", "val")


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A published set of one file, recognised by its content, and a folder to keep weights in."""
    known = PublishedWeights(
        name="Made-Up-1",
        family="made-up",
        files={"made-up.pt": hashlib.sha256(BYTES).hexdigest()},
        urls={"made-up.pt": "https://example.org/made-up.pt"},
        license="MIT",
        source="a test",
        gives=("MadeUp",),
    )
    monkeypatch.setitem(published_weights.PUBLISHED, known.name, known)
    monkeypatch.setitem(published_check.CHECKS, "made-up", lambda _name, _folder: None)
    monkeypatch.setenv("NANO_OS_MODELS_DIR", str(tmp_path / "models"))
    set_weights_folder(tmp_path / "models")
    yield known
    set_weights_folder(None)


def test_weights_are_pulled_listed_and_removed(run, weights, monkeypatch):
    monkeypatch.setattr(store.urllib.request, "urlopen", lambda *_, **__: io.BytesIO(BYTES))
    pulled = run("models", "pull", "MadeUp", "--json")
    assert pulled.code == 0, pulled.err
    (found,) = pulled.document
    assert (found["name"], found["license"]) == ("Made-Up-1", "MIT")
    assert (Path(found["folder"]) / "made-up.pt").read_bytes() == BYTES
    rows = {row["name"]: row for row in run("models", "list", "--json").document["weights"]}
    assert rows["Made-Up-1"]["installed"] is True
    assert rows["CGCNN-2018"]["command"] == "nanoos models pull CGCNN-2018"
    assert run("models", "pull", "Made-Up-1").code == 6
    kept = run("models", "remove", "made-up-1", stdin="n\n")
    assert kept.code == 1
    assert Path(found["folder"]).is_dir()
    assert run("models", "remove", "made-up-1", "--yes").code == 0
    assert not Path(found["folder"]).exists()
    assert run("models", "remove", "made-up-1", "--yes").code == 5


def test_other_bytes_or_no_network_add_nothing(run, weights, monkeypatch):
    monkeypatch.setattr(store.urllib.request, "urlopen", lambda *_, **__: io.BytesIO(b"other"))
    changed = run("models", "pull", "MadeUp", "--json")
    assert changed.code == 8
    assert "weights_changed" in changed.err + changed.out

    def unreachable(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(store.urllib.request, "urlopen", unreachable)
    alone = run("models", "pull", "MadeUp")
    assert alone.code == 8
    assert "nanoos models add FOLDER" in alone.err


def test_weights_on_a_disk_are_recognised_by_content(run, weights, tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    (folder / "renamed.pt").write_bytes(BYTES)
    added = run("models", "add", folder)
    assert added.code == 0, added.err
    assert "Made-Up-1 is on this machine (MIT; a test" in added.err
    (folder / "renamed.pt").write_bytes(b"something else")
    unknown = run("models", "add", folder)
    assert unknown.code == 2
    assert "No published weights were recognised" in unknown.err


def test_a_pickle_is_not_read_without_consent(run, weights, tmp_path):
    (tmp_path / "mace.model").write_bytes(b"a pickle")
    ran = run("models", "add", tmp_path / "mace.model", "--as", "MACE", "--json")
    assert ran.code == 2
    assert "not_confirmed" in ran.err + ran.out
    asked = run("models", "add", tmp_path / "mace.model", "--as", "MACE", stdin="n\n")
    assert asked.code == 1
    assert "Nothing was done." in asked.err


def test_a_shipped_model_shows_data_split_error_domain_license_and_hash(run):
    shown = run("models", "show", "CGCNN")
    assert shown.code == 0, shown.err
    for words in (
        "training data: cgcnn_mp",
        "26,504 rows",
        "composition, as the source gives it",
        "95 % interval",
        "coverage: bandgap",
        "domain: cgcnn_mp",
        "weights, SHA-256",
        "license",
    ):
        assert words in shown.out, words
    document = run("models", "show", "CGCNN", "--json").document
    crystals = next(one for one in document["checkpoints"] if one["name"] == "cgcnn_mp")
    assert crystals["dataset"]["rows"] == 26504
    assert crystals["domain_checked"] is True
    assert len(crystals["sha256"]) == 64
    card = run("models", "show", "CGCNN", "--card")
    assert "# cgcnn_mp, version 1" in card.out
    assert run("models", "show", "CHGNet", "--card").code == 5


def test_published_weights_say_what_they_have_seen(run):
    shown = run("models", "show", "CGCNN-2018")
    assert "seen in training" in shown.out
    assert "to get it" in shown.out or "available  " in shown.out
    assert "our crystals are seen in training" in shown.out


def test_trained_models_are_listed_and_shown(lab, services, networks_dir):
    add_model(services, networks_dir, targets=("bandgap",), name="mine", version="3")
    listed = lab("models", "list", "--json").document
    (mine,) = listed["trained"]
    assert (mine["name"], mine["version"], mine["is_active"]) == ("mine_bandgap", "3", True)
    assert "mine_bandgap" in lab("models", "list").out
    shown = lab("models", "show", "mine_bandgap")
    assert shown.code == 0, shown.err
    assert "coverage: bandgap" in shown.out
    unknown = lab("models", "show", "nope")
    assert unknown.code == 5


@pytest.fixture
def networks_dir(tmp_path, no_shipped_models):
    del no_shipped_models
    return tmp_path / "networks"


def test_a_trained_network_is_calibrated(lab, tmp_path, crystals, no_shipped_models):
    pairs = [(a, x) for a in CATIONS for x in ("O", "S", "Se", "F", "Cl", "N")]
    rows = [
        (build_prototype(prototype, {"A": a, "X": x}), PARTS[place % len(PARTS)])
        for prototype in ("rocksalt", "zincblende", "cscl", "nias", "wc", "wurtzite")
        for place, (a, x) in enumerate(pairs)
    ]
    lines = [
        {"structure": row.as_dict(), "band_gap_eV": row.volume / row.n_sites / 9, "split": part}
        for row, part in rows
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    path = tmp_path / "train.yaml"
    path.write_text(
        "name: gaps\ndataset: rows.jsonl\ntargets: bandgap\nmodel: CGCNN\nmin_rows: 10\n"
        "epochs: 2\nbatch_size: 64\nhidden_dim: 8\nnum_layers: 1\n"
        "split: given\n"
        "parameters: {max_neighbors: 6, cutoff: 6.0, head_dim: 8}\n"
    )
    trained = lab("train", path, "--json")
    assert trained.code == 0, trained.err
    assert lab("models", "activate", "gaps").code == 0
    before = lab("models", "show", "gaps")
    assert "no interval" in before.out
    assert "not checked: nothing is flagged" in before.out
    ran = lab("models", "calibrate", "gaps", "--json")
    assert ran.code == 0, ran.err
    (row,) = ran.document
    assert (row["name"], row["version"], row["is_active"]) == ("gaps", "2", True)
    assert 0.5 <= row["metrics"]["coverage"]["0.9"] <= 1.0
    assert row["metrics"]["mae_interval"]
    line = lab("predict", crystals / "a_MgO.cif", "-m", "gaps", "--json").document
    gap = line["properties"]["bandgap"]
    assert gap["lower"] <= gap["value"] <= gap["upper"]
    assert gap["sigma"] > 0
    assert gap["confidence"] is not None
    assert gap["out_of_domain"] in {True, False}
    assert line["model_version"] == "2"


def test_what_cannot_be_calibrated_says_why(lab, services, networks_dir):
    add_model(services, networks_dir, targets=("bandgap",), name="mine")
    ran = lab("models", "calibrate", "mine_bandgap")
    assert ran.code == 2
    assert "held out" in ran.err
    assert lab("models", "calibrate", "nope").code == 5
