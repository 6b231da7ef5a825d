"""Training and the model registry over HTTP."""

import json

import pytest

from nanoos.db import ModelTable
from nanoos.structures.generate import build_prototype

BODY = {
    "name": "gaps",
    "dataset": "mine",
    "targets": "bandgap",
    "model": "RandomForest",
    "min_rows": 10,
    "parameters": {"n_trees": 3},
}


NETWORK = {
    "model": "CGCNN",
    "epochs": 2,
    "hidden_dim": 8,
    "num_layers": 1,
    "parameters": {"max_neighbors": 4, "cutoff": 5.0, "head_dim": 8},
}
CATIONS = ("Li", "Na", "Mg", "Ca")


def add_dataset(services, person, folder, name, cations):
    path = folder / f"{name}.jsonl"
    rows = [
        build_prototype("rocksalt", {"A": a, "X": x})
        for a in cations
        for x in ("O", "S", "F", "Cl", "N")
    ]

    path.write_text(
        "\n".join(
            json.dumps({"structure": row.as_dict(), "band_gap_eV": row.volume / 50}) for row in rows
        )
    )
    services.datasets.import_file(path, person.who, name=name)


@pytest.fixture
def dataset(services, ann, tmp_path):
    add_dataset(services, ann, tmp_path, "mine", CATIONS)


def test_a_training_is_queued_once_for_a_key_and_ends_as_a_model(ann, dataset, services, drain):
    headers = {"Idempotency-Key": "once"}
    answers = [ann.client.post("/api/v1/ml/train", json=BODY, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["names"] == ["gaps"]
    assert drain(services) == 1
    models = ann.client.get("/api/v1/ml/models").json()["models"]
    model_id = next(model["id"] for model in models if model["name"] == "gaps")
    row = ann.client.get(f"/api/v1/ml/models/{model_id}").json()
    assert (row["target"], row["model_type"], row["is_active"]) == (
        "bandgap",
        "RandomForest",
        False,
    )
    assert {"mae", "mse", "r2", "coverage"} <= row["metrics"].keys()
    assert row["training_config"]["dataset"] == "mine"
    again = ann.client.post("/api/v1/ml/train", json=BODY)
    assert again.status_code == 409
    assert again.json()["error"]["code"] == "model_exists"


def test_a_network_is_trained_anew_once_there_are_enough_new_rows(
    ann, admin, dataset, services, drain, tmp_path
):
    add_dataset(services, admin, tmp_path, "more", (*CATIONS, "K", "Sr", "Ba", "Ti"))
    assert ann.client.post("/api/v1/ml/train", json=BODY | NETWORK).status_code == 202
    assert drain(services) == 1
    body = {"model_name": "gaps", "dataset": "more", "min_new": 20}
    assert ann.client.post("/api/v1/ml/retrain", json=body).status_code == 403
    few = admin.client.post("/api/v1/ml/retrain", json=body | {"min_new": 21})
    assert (few.status_code, few.json()) == (202, {"started": False, "training": None})
    started = admin.client.post("/api/v1/ml/retrain", json=body).json()
    assert started["started"]
    assert (started["training"]["names"], started["training"]["version"]) == (["gaps"], "2")
    assert drain(services) == 1
    job = admin.client.get(f"/api/v1/jobs/{started['training']['job_id']}").json()
    assert job["state"] == "completed", job["error"]
    models = ann.client.get("/api/v1/ml/models").json()["models"]
    versions = {one["version"]: one for one in models if one["name"] == "gaps"}
    rows = [ann.client.get(f"/api/v1/ml/models/{versions[v]['id']}").json() for v in ("1", "2")]
    old, new = (row["dataset_info"]["n_labelled"]["bandgap"] for row in rows)
    assert (old, new) == (20, 40)
    held = [services.models.held_out(services.models.find("gaps", v)) for v in ("1", "2")]
    assert json.loads(held[0]) == json.loads(held[1])  # both are measured on the same rows
    better = rows[1]["metrics"]["mae"] < rows[0]["metrics"]["mae"]
    assert rows[1]["is_active"] == better
    missing = admin.client.post("/api/v1/ml/retrain", json=body | {"dataset": "none"})
    assert missing.status_code == 404


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"epochs": -1}, 422),
        ({"colour": "blue"}, 422),
        ({"targets": "hardness"}, 404),
        ({"dataset": "/etc/passwd"}, 404),
        ({"model": "CGCNN", "parameters": {}, "init_from": "~nobody-of-this-name/m"}, 404),
        ({"min_rows": 1000}, 422),
        ({"freeze_trunk": True}, 422),
    ],
    ids=["range", "unknown_key", "target", "path", "home", "rows", "together"],
)
def test_what_cannot_work_is_refused(ann, dataset, changes, status):
    answer = ann.client.post("/api/v1/ml/train", json=BODY | changes)
    assert answer.status_code == status, answer.text


def test_the_data_set_of_another_is_not_there(bob, dataset):
    assert bob.client.post("/api/v1/ml/train", json=BODY).status_code == 404


def test_only_an_administrator_chooses_who_answers(ann, admin, services):
    with services.database.write() as session:
        row = ModelTable(
            name="a",
            version="1",
            target="bandgap",
            model_type="CGCNN",
            training_config={},
            metrics={},
            dataset_info={},
        )
        session.add(row)
        session.flush()
        path = f"/api/v1/ml/models/{row.id}/activate"
    assert ann.client.post(path).status_code == 403
    answer = admin.client.post(path)
    assert answer.status_code == 200
    assert answer.json()["is_active"]
    missing = admin.client.post("/api/v1/ml/models/00000000-0000-4000-8000-00000000dead/activate")
    assert missing.status_code == 404
