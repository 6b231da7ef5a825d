"""Simulations over HTTP."""

from people import Person, add_structure

PATH = "/api/v1/simulations"


def test_a_number_that_is_not_finite_is_refused(ann: Person) -> None:
    body = (
        f'{{"structure_id": "{add_structure(ann)}", "engine": "LJ", "workflow": "md", '
        '"parameters": {"thermostat_damping": 1e400}}'
    )
    refused = ann.client.post(PATH, content=body, headers={"Content-Type": "application/json"})
    assert refused.status_code == 422
    assert "thermostat_damping" in refused.json()["error"]["message"]
    assert ann.client.get("/api/v1/jobs").json()["total"] == 0
