"""Features over HTTP: computed, answered again, listed, downloaded, queued."""

import io
import uuid

import numpy as np
import pytest
from people import Person, add_structure

from nanoos.features import crystal_graph
from nanoos.testing.crystals import rocksalt

BASE = "/api/v1/ml/features"


@pytest.fixture
def salt(ann: Person) -> str:
    return add_structure(ann, "Na", "Cl")


def test_features_are_computed_then_cached_then_listed(ann: Person, salt: str) -> None:
    url = f"{BASE}/structure/{salt}"
    assert ann.client.get(url).json() == {"structure_id": salt, "features": [], "count": 0}
    first = ann.client.post(url)
    assert first.status_code == 200, first.text
    body = first.json()
    assert body["parameters"] == {"cutoff_radius": 5.0, "max_neighbors": None}
    assert (body["n_atoms"], body["cached"]) == (2, False)
    assert body["scalars"]["element_fractions"] == {"Na": 0.5, "Cl": 0.5}
    again = ann.client.post(url, json={"cutoff_radius": 5}).json()
    assert again == {**body, "cached": True}
    forced = ann.client.post(url, json={"force_recompute": True}).json()
    assert (forced["id"], forced["cached"]) == (body["id"], False)
    other = ann.client.post(url, json={"cutoff_radius": 8, "max_neighbors": 12}).json()
    assert other["n_bonds"] == 24
    listed = ann.client.get(url).json()
    assert [one["id"] for one in listed["features"]] == [other["id"], body["id"]]


def test_a_structure_says_whether_it_has_features(ann: Person, salt: str) -> None:
    url = f"/api/v1/structures/{salt}"
    bare = add_structure(ann, "Mg", "O")
    assert ann.client.get(url).json()["features"] is False
    ann.client.post(f"{BASE}/structure/{salt}")
    assert ann.client.get(url).json()["features"] is True
    listed = {
        one["id"]: one["features"] for one in ann.client.get("/api/v1/structures").json()["items"]
    }
    assert listed == {salt: True, bare: False}
    document = ann.client.get(url).json()["structure"]
    again = ann.client.post("/api/v1/structures", json={"structure": document}).json()
    assert (again["duplicate"], again["features"]) == (True, True)


def test_the_download_is_the_graph(ann: Person, salt: str) -> None:
    url = f"{BASE}/structure/{salt}"
    missing = ann.client.get(f"{url}/npz")
    assert missing.status_code == 404
    ann.client.post(url, json={"cutoff_radius": 4.5})
    answer = ann.client.get(f"{url}/npz", params={"cutoff_radius": 4.5})
    assert answer.status_code == 200
    graph = crystal_graph(rocksalt(5.64, "Na", "Cl"), 4.5)
    with np.load(io.BytesIO(answer.content), allow_pickle=False) as arrays:
        assert np.array_equal(arrays["targets"], graph.targets)
        assert arrays["vectors"] == pytest.approx(graph.vectors, abs=1e-5)


def test_batch_has_one_error_for_each_that_failed(ann: Person, salt: str) -> None:
    missing = str(uuid.uuid4())
    asked = {"structure_ids": [missing, salt]}
    body = ann.client.post(f"{BASE}/batch", json=asked).json()
    assert (body["total"], body["cached"], body["new"]) == (2, 0, 1)
    assert body["features"][0]["structure_id"] == salt
    assert [(e["structure_id"], e["code"]) for e in body["errors"]] == [(missing, "not_found")]
    good = ann.client.post(f"{BASE}/batch", json={"structure_ids": [salt]}).json()
    assert (good["cached"], good["errors"]) == (1, None)
    for count in (0, 101):
        wrong = ann.client.post(f"{BASE}/batch", json={"structure_ids": [salt] * count})
        assert wrong.status_code == 422


def test_a_job_is_queued(ann: Person, bob: Person, salt: str) -> None:
    answer = ann.client.post(f"{BASE}/jobs", json={"max_neighbors": 12, "cutoff_radius": 8})
    assert answer.status_code == 202, answer.text
    assert (answer.json()["kind"], answer.json()["state"]) == ("features", "queued")
    refused = bob.client.post(f"{BASE}/jobs", json={"structure_ids": [salt]})
    assert refused.status_code == 404, "bob does not see it"


@pytest.mark.parametrize(
    "wrong",
    [{"cutoff_radius": 0}, {"cutoff_radius": 21}, {"max_neighbors": 0}, {"cutof_radius": 5}],
    ids=["zero", "too-long", "no-neighbours", "misspelt"],
)
def test_wrong_parameters_are_refused(ann: Person, salt: str, wrong: dict[str, object]) -> None:
    answer = ann.client.post(f"{BASE}/structure/{salt}", json=wrong)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "malformed_request"


def test_others_do_not_see_the_features(ann: Person, bob: Person, salt: str) -> None:
    url = f"{BASE}/structure/{salt}"
    ann.client.post(url)
    for answer in (bob.client.get(url), bob.client.post(url), bob.client.get(f"{url}/npz")):
        assert answer.status_code == 404
    gone = ann.client.delete(f"/api/v1/structures/{salt}")
    assert gone.status_code == 204
    assert ann.client.get(url).status_code == 404
