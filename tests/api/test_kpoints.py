"""The mesh of a stored structure or of a file; models and their measured coverage."""

from math import pi

import pytest
from people import Person, add_structure, poscar

PREDICT = "/api/v1/kpoints/predict"


def test_a_stored_structure_and_its_file_have_the_same_mesh(ann: Person) -> None:
    identifier = add_structure(ann)
    stored = ann.client.post(PREDICT, json={"structure_id": identifier})
    assert stored.status_code == 200, stored.text
    uploaded = ann.client.post(PREDICT, files={"file": ("POSCAR", poscar())})
    assert uploaded.json() == stored.json()
    answer = stored.json()
    assert answer["formula"] == "NaCl"
    assert answer["model"] == "RF"
    assert answer["level"] == 0.95
    assert answer["kdist_lower"] <= answer["kdist"] <= answer["kdist_upper"]
    assert answer["mesh"]["shift"] == [0, 0, 0]
    n = answer["mesh"]["divisions"][0]
    step = 2 * pi * 3**0.5 / 5.64 / n
    assert step <= answer["kdist_lower"] * (1 + 1e-9)


def test_confidence_costs_points(ann: Person) -> None:
    said = [
        ann.client.post(
            PREDICT, files={"file": ("POSCAR", poscar())}, data={"confidence": str(level)}
        ).json()
        for level in (0.85, 0.95)
    ]
    assert said[0]["mesh"]["n_points"] <= said[1]["mesh"]["n_points"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"confidence": 0.5}, 422),
        ({"confidence": 2}, 422),
        ({"model": "nothing"}, 404),
        ({"unknown": 1}, 422),
        ({"structure_id": "00000000-0000-0000-0000-000000000000"}, 404),
    ],
    ids=["not calibrated", "no level", "no model", "unknown field", "no structure"],
)
def test_bad_questions(ann: Person, fields: dict, status: int) -> None:
    body = {"structure_id": add_structure(ann), **fields}
    answer = ann.client.post(PREDICT, json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


def test_of_two_files_none_is_passed_over(ann: Person) -> None:
    files = [("file", (name, poscar())) for name in ("POSCAR", "POSCAR_other")]
    answer = ann.client.post(PREDICT, files=files)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "several_files"


def test_another_user_sees_no_mesh_of_a_private_structure(ann: Person, make_person) -> None:
    identifier = add_structure(ann)
    bob = make_person("bob")
    assert bob.client.post(PREDICT, json={"structure_id": identifier}).status_code == 404


def test_models_say_what_their_labels_mean(ann: Person) -> None:
    answer = ann.client.get("/api/v1/kpoints/models").json()
    assert answer["count"] == len(answer["models"]) >= 2
    forest = answer["models"][0]
    assert forest["name"] == "RF"
    assert forest["available"]
    assert "JARVIS" in forest["label_code"]
    assert forest["weights"] == "kpoints_rf"
    assert forest["dataset"]["rows"] > 10_000
    assert "composition" in forest["split"]["method"]
    assert forest["training"]
    for one in forest["coverage"]:
        assert one["expected"][0] <= one["observed"] <= one["expected"][1]


def test_an_input_without_its_pseudopotentials_says_how_to_get_them(ann: Person) -> None:
    answer = ann.client.post(
        "/api/v1/kpoints/input", json={"structure_id": add_structure(ann), "family": "absent"}
    )
    assert answer.status_code == 404
    assert "absent" in answer.json()["error"]["message"]
