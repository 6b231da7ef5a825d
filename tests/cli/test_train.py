"""``nanoos train`` and ``nanoos models activate``."""

import json
from pathlib import Path

import pytest

from nanoos.structures.generate import build_prototype


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration beside its data."""
    rows = [
        build_prototype("rocksalt", {"A": a, "X": x})
        for a in ("Li", "Na", "Mg", "Ca", "K")
        for x in ("O", "S", "F", "Cl", "N")
    ]
    (tmp_path / "rows.jsonl").write_text(
        "\n".join(
            json.dumps({"structure": row.as_dict(), "band_gap_eV": row.volume / 50}) for row in rows
        )
    )
    path = tmp_path / "train.yaml"
    path.write_text(
        "name: gaps\ndataset: rows.jsonl\ntargets: bandgap\nmodel: RandomForest\n"
        "min_rows: 10\nparameters: {n_trees: 3}\n"
    )
    return path


def test_a_model_is_trained_and_activated(lab, file):
    ran = lab("train", file, "--json")
    assert ran.code == 0, ran.err
    assert ran.document["state"] == "completed"
    assert ran.document["names"] == ["gaps"]
    assert ran.document["result"]["metrics"]["bandgap"]["n"] > 0
    chosen = lab("models", "activate", "gaps", "--json")
    assert chosen.code == 0
    assert chosen.document["is_active"]
    again = lab("train", file, "--json")
    assert again.code == 6
    assert "model_exists" in again.err + again.out


def test_it_can_only_be_queued(lab, file):
    ran = lab("train", file, "--submit", "--json")
    assert ran.code == 0
    assert ran.document["state"] == "queued"
    assert lab("jobs", "list", "--kind", "training", "--json").document["total"] == 1


def test_a_mistake_names_its_key(lab, file):
    file.write_text(file.read_text() + "epoch: 3\n")
    ran = lab("train", file)
    assert ran.code == 2
    assert "epoch" in ran.err
    assert "'epochs'" in ran.err
