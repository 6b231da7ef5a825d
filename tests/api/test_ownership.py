"""Another's object is not there; a shared one can be read and not changed."""

import uuid

import pytest
from people import Person, add_structure, poscar

from nanoos.services.container import Services


@pytest.fixture
def own(ann: Person, services: Services) -> dict[str, str]:
    """One object of each kind, all of ann's."""
    structure = add_structure(ann)
    material = ann.client.get(f"/api/v1/structures/{structure}").json()["material_id"]
    ann.client.post(
        "/api/v1/ml/properties", json={"structure_id": structure, "model_name": "STUB"}
    ).raise_for_status()
    with services.database.write() as session:
        job = services.jobs.enqueue(session, "probe", {}, owner_id=ann.who.user_id)
    campaign = ann.client.post("/api/v1/design/campaigns/bo", json=CAMPAIGN)
    assert campaign.status_code == 201, campaign.text
    simulation = ann.client.post(
        "/api/v1/simulations",
        json={"structure_id": structure, "engine": "LJ", "workflow": "single_point"},
    )
    assert simulation.status_code == 202, simulation.text
    return {
        "structure": structure,
        "material": material,
        "job": str(job),
        "campaign": campaign.json()["id"],
        "simulation": simulation.json()["id"],
    }


CAMPAIGN = {
    "name": "stiff",
    "target_property": "bulk_modulus",
    "goal": "max",
    "parameter_space": {
        "type": "prototypes",
        "prototypes": {"rocksalt": {"A": ["Mg", "Ca"], "X": ["O", "S"]}},
    },
    "simulation_budget": 4,
}

ROUTES = [
    ("GET", "/structures/{structure}"),
    ("GET", "/structures/{structure}/export?format=cif"),
    ("GET", "/structures/{structure}/simulations"),
    ("DELETE", "/structures/{structure}"),
    ("GET", "/materials/{material}"),
    ("PATCH", "/materials/{material}"),
    ("DELETE", "/materials/{material}"),
    ("GET", "/ml/properties/{structure}"),
    ("GET", "/ml/properties/{structure}/history"),
    ("POST", "/ml/properties"),
    ("POST", "/simulations"),
    ("GET", "/simulations/{simulation}"),
    ("GET", "/jobs/{job}"),
    ("POST", "/jobs/{job}/cancel"),
    ("POST", "/jobs/{job}/retry"),
    ("GET", "/jobs/{job}/events"),
    ("GET", "/jobs/{job}/log"),
    ("GET", "/jobs/{job}/files"),
    ("GET", "/jobs/{job}/files/log.txt"),
    ("GET", "/design/campaigns/{campaign}"),
    ("GET", "/design/campaigns/{campaign}/trajectory"),
    ("GET", "/design/campaigns/{campaign}/candidates"),
    ("GET", "/design/campaigns/{campaign}/export"),
    ("POST", "/design/campaigns/{campaign}/step"),
    ("POST", "/design/campaigns/{campaign}/run"),
    ("POST", "/design/campaigns/{campaign}/pause"),
    ("POST", "/design/campaigns/{campaign}/select_for_simulation"),
    ("DELETE", "/design/campaigns/{campaign}"),
]


def body_of(method: str, path: str, own: dict[str, str]) -> dict | None:
    if path == "/ml/properties":
        return {"structure_id": own["structure"], "model_name": "STUB"}
    if path == "/simulations":
        return {"structure_id": own["structure"], "engine": "LJ", "workflow": "single_point"}
    if path.endswith("select_for_simulation"):
        return {"strategy": "uncertainty", "budget": 1}
    return {"notes": "mine now"} if method == "PATCH" else None


def test_anothers_objects_are_not_there(bob: Person, own: dict[str, str]) -> None:
    for method, path in ROUTES:
        answer = bob.client.request(
            method, "/api/v1" + path.format(**own), json=body_of(method, path, own)
        )
        assert answer.status_code == 404, f"{method} {path}: {answer.status_code} {answer.text}"


def test_lists_hold_ones_own(ann: Person, bob: Person, own: dict[str, str]) -> None:
    for path in ("structures", "materials", "jobs", "design/campaigns"):
        assert ann.client.get(f"/api/v1/{path}").json()["total"] >= 1, path
        assert bob.client.get(f"/api/v1/{path}").json() == {"items": [], "total": 0, "next": None}


def test_an_administrator_sees_all(admin: Person, own: dict[str, str]) -> None:
    for method, path in ROUTES:
        if method == "GET" and not path.endswith(("events", "log.txt")):
            answer = admin.client.get("/api/v1" + path.format(**own))
            assert answer.status_code == 200, f"{path}: {answer.text}"


def test_unknown_ids_are_404(ann: Person) -> None:
    unknown = dict.fromkeys(("structure", "material", "job", "campaign", "simulation"))
    ids = {name: str(uuid.uuid4()) for name in unknown}
    for method, path in ROUTES:
        answer = ann.client.request(
            method, "/api/v1" + path.format(**ids), json=body_of(method, path, ids)
        )
        assert answer.status_code == 404, f"{method} {path}: {answer.status_code}"


def test_batches_answer_for_each_structure(bob: Person, own: dict[str, str]) -> None:
    mine = add_structure(bob, "Mg", "O")
    ids = [mine, own["structure"]]
    predicted = bob.client.post(
        "/api/v1/ml/properties/batch", json={"structure_ids": ids, "model_name": "STUB"}
    ).json()
    assert (predicted["total"], predicted["new"], predicted["cached"]) == (2, 1, 0)
    assert predicted["predictions"][0]["structure_id"] == mine
    assert predicted["errors"][0]["structure_id"] == own["structure"]
    assert predicted["errors"][0]["code"] == "not_found"
    submitted = bob.client.post(
        "/api/v1/simulations/batch",
        json={"structure_ids": ids, "engine": "LJ", "workflow": "single_point"},
    )
    assert submitted.status_code == 202
    assert submitted.json()["errors"] == 1
    assert submitted.json()["items"][1]["error"]["code"] == "not_found"


def test_a_shared_structure_is_read_and_not_deleted(ann: Person, bob: Person) -> None:

    made = ann.client.post(
        "/api/v1/structures",
        files={"file": ("POSCAR", poscar("K", "Br"))},
        data={"shared": "true"},
    ).json()
    path = f"/api/v1/structures/{made['id']}"
    assert bob.client.get(path).status_code == 200
    assert bob.client.delete(path).status_code == 403
    assert ann.client.delete(path).status_code == 204
    assert bob.client.get(path).status_code == 404
