"""Campaigns over HTTP, from the first request to the files."""

import csv
import io

import pytest

BASE = "/api/v1/design/campaigns"

CONFIG = {
    "name": "over http",
    "target_property": "energy",
    "goal": "min",
    "constraints": [{"quantity": "volume_per_atom", "op": ">=", "bound": 1.0}],
    "parameter_space": {
        "type": "prototypes",
        "prototypes": {"zincblende": {"A": ["Mg", "Ca", "Zn", "Cd"], "X": ["O", "S", "Se"]}},
    },
    "simulation": {"engine": "LJ", "workflow": "equation_of_state"},
    "bo_config": {"n_initial_random": 4, "batch_size": 2},
    "simulation_budget": 6,
}


@pytest.fixture
def made(ann):
    answer = ann.client.post(f"{BASE}/bo", json=CONFIG)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_from_the_first_step_to_the_files(ann, made, services, drain):
    url = f"{BASE}/{made['id']}"
    assert made["state"] == "created"
    assert ann.client.post(f"{url}/step").json()["state"] == "running"
    drain(services)
    assert ann.client.get(url).json()["state"] == "paused"

    selection = ann.client.post(
        f"{url}/select_for_simulation", json={"strategy": "expected_improvement", "budget": 2}
    ).json()
    assert selection["selected_count"] == 2
    assert selection["total_candidates"] == 8
    chosen = selection["selected"][0]
    assert {"structure_id", "predicted_value", "uncertainty", "acquisition_score", "reason"} <= set(
        chosen
    )

    assert ann.client.post(f"{url}/run").status_code == 200
    drain(services)
    done = ann.client.get(url).json()
    assert (done["state"], done["simulations_used"]) == ("completed", 6)

    trajectory = ann.client.get(f"{url}/trajectory").json()
    assert len(trajectory["best"]) == len(trajectory["baseline"]) == 6
    assert trajectory["best"][-1] == done["best_value"]
    candidates = ann.client.get(f"{url}/candidates").json()
    assert candidates["total"] == 6
    assert all(item["value_source"] == "simulated" for item in candidates["items"])

    table = ann.client.get(f"{url}/export", params={"format": "csv"})
    assert table.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert len(rows) == 6
    assert any("eV/atom" in name for name in rows[0])
    winners = ann.client.get(f"{url}/export", params={"format": "extxyz"})
    assert winners.text.count("Lattice=") == 6
    document = ann.client.get(f"{url}/export", params={"format": "json"}).json()
    assert document["config"]["name"] == "over http"

    again = ann.client.post(f"{url}/run")
    assert again.status_code == 409
    assert again.json()["error"]["code"] == "conflict"
    assert ann.client.delete(url).status_code == 204
    assert ann.client.get(url).status_code == 404


def test_pausing_and_listing(ann, made):
    url = f"{BASE}/{made['id']}"
    ann.client.post(f"{url}/run")
    assert ann.client.post(f"{url}/pause").json()["state"] == "paused"
    listed = ann.client.get(BASE).json()
    assert (listed["total"], listed["next"]) == (1, None)


def test_nothing_can_be_selected_before_anything_was_simulated(ann, made):
    answer = ann.client.post(
        f"{BASE}/{made['id']}/select_for_simulation", json={"strategy": "uncertainty", "budget": 2}
    )
    assert answer.status_code == 409


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"goal": "most"}, 422),
        ({"budget": 4}, 422),
        ({"target_property": "hardness"}, 422),
        ({"simulation": {"engine": "VASSP"}}, 404),
        ({"simulation": {"engine": "LJ", "workflow": "dance"}}, 422),
        ({"parameter_space": {"type": "structures", "paths": ["/etc"]}}, 403),
        ({"parameter_space": {"type": "nothing"}}, 404),
        ({"parameter_space": {"type": "prototypes", "prototypes": {}}}, 422),
        ({"constraints": ["volume_per_atom around 3"]}, 422),
    ],
)
def test_what_cannot_run_is_refused(ann, changes, status):
    answer = ann.client.post(f"{BASE}/bo", json=CONFIG | changes)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
    assert ann.client.get(BASE).json()["total"] == 0
