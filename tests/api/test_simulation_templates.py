"""Templates over HTTP."""

import uuid

from people import Person, add_structure

PATH = "/api/v1/simulations/templates"
MINE = {"name": "soft-start", "engine": "LJ", "workflow": "relax", "parameters": {"fmax": 0.02}}


def test_those_of_nanoos_are_listed_shown_and_stay(ann: Person):
    listed = ann.client.get(PATH).json()
    assert listed["total"] == 3
    assert all(item["owner_id"] is None for item in listed["items"])
    shown = ann.client.get(f"{PATH}/MD_ANNEAL_LAMMPS").json()
    assert shown["parameters"]["anneal_temperature"] == 1000
    assert ann.client.get(f"{PATH}/{shown['id']}").json() == shown
    assert ann.client.delete(f"{PATH}/MD_ANNEAL_LAMMPS").status_code == 403
    assert ann.client.get(f"{PATH}/MD_DANCE").status_code == 404


def test_a_template_of_ones_own_is_made_run_and_deleted(ann: Person, bob: Person):
    made = ann.client.post(PATH, json=MINE)
    assert made.status_code == 201, made.text
    assert ann.client.post(PATH, json=MINE).status_code == 409
    assert bob.client.get(f"{PATH}/soft-start").status_code == 404
    structure = add_structure(ann)
    body = {"structure_id": structure, "parameters": {"max_steps": 7}}
    ran = ann.client.post(f"{PATH}/soft-start/run", json=body)
    assert ran.status_code == 202, ran.text
    assert ran.json()["parameters"]["fmax"] == 0.02
    assert ran.json()["parameters"]["max_steps"] == 7
    assert bob.client.post(f"{PATH}/soft-start/run", json=body).status_code == 404
    bad = {**body, "parameters": {"fmx": 1}}
    refused = ann.client.post(f"{PATH}/soft-start/run", json=bad)
    assert refused.status_code == 422
    assert "fmax" in refused.json()["error"]["hint"]
    body["structure_id"] = str(uuid.uuid4())
    assert ann.client.post(f"{PATH}/soft-start/run", json=body).status_code == 404
    assert ann.client.delete(f"{PATH}/soft-start").status_code == 204
    assert ann.client.get(f"{PATH}/soft-start").status_code == 404
    assert ann.client.get(f"/api/v1/simulations/{ran.json()['id']}").status_code == 200


def test_malformed_ones_are_refused(ann: Person):
    for changes in ({"name": "a b"}, {"workflow": "dance"}, {"colour": "red"}):
        assert ann.client.post(PATH, json=MINE | changes).status_code == 422
    assert ann.client.post(PATH, json=MINE | {"engine": "MLPI"}).status_code == 404
