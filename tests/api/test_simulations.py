"""Simulations over HTTP."""

from people import Person, add_structure

PATH = "/api/v1/simulations"


def test_cancelled_work_asked_for_again_is_queued_again(ann: Person) -> None:
    body = {"structure_id": add_structure(ann), "engine": "LJ", "workflow": "relax"}
    key = {"Idempotency-Key": "first"}
    first = ann.client.post(PATH, json=body, headers=key).json()
    job = f"/api/v1/jobs/{first['job_id']}"
    assert ann.client.post(f"{job}/cancel").status_code == 200
    repeated = ann.client.post(PATH, json=body, headers=key)
    assert repeated.json() == first, "the answer to the same request"
    assert ann.client.get(job).json()["state"] == "cancelled"
    again = ann.client.post(PATH, json=body)
    assert again.status_code == 202
    assert (again.json()["id"], again.json()["state"]) == (first["id"], "queued")
    assert ann.client.get(job).json()["state"] == "queued"


def test_a_number_that_is_not_finite_is_refused(ann: Person) -> None:
    body = (
        f'{{"structure_id": "{add_structure(ann)}", "engine": "LJ", "workflow": "md", '
        '"parameters": {"thermostat_damping": 1e400}}'
    )
    refused = ann.client.post(PATH, content=body, headers={"Content-Type": "application/json"})
    assert refused.status_code == 422
    assert "thermostat_damping" in refused.json()["error"]["message"]
    assert ann.client.get("/api/v1/jobs").json()["total"] == 0
