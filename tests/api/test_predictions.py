"""Predictions over HTTP: what a new user does, and every route of the contract."""

import uuid
from pathlib import Path

import pytest
from people import Person, add_structure
from stored_models import TARGETS, add_model, add_result

from nanoos.core.properties import in_order
from nanoos.potentials.installed_weights import set_weights_folder
from nanoos.services.container import Services
from nanoos.testing.checkpoints import PBE

pytestmark = pytest.mark.usefixtures("no_shipped_models")

BASE = "/api/v1/ml"


@pytest.fixture
def salt(ann: Person) -> str:
    return add_structure(ann, "Na", "Cl")


@pytest.fixture
def networks(services: Services, tmp_path: Path) -> dict[str, uuid.UUID]:
    return add_model(services, tmp_path / "weights", targets=TARGETS)


def test_a_new_user_gets_gap_energy_stability_and_moduli_with_intervals(
    ann: Person, networks: dict[str, uuid.UUID]
) -> None:
    structure = add_structure(ann, "Mg", "O")
    answer = ann.client.post(f"{BASE}/properties", json={"structure_id": structure})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    wanted = {"bandgap", "formation_energy", "stability_score", "bulk_modulus", "shear_modulus"}
    assert wanted <= body["properties"].keys()
    for name in wanted:
        interval = body["intervals"][name]
        assert interval["level"] == 0.9
        assert interval["lower"] <= body["properties"][name] <= interval["upper"]
        assert interval["sigma"] > 0
        assert body["metadata"]["weights"][name]["sha256"]
        assert name in body["metadata"]["out_of_domain"]
    assert 0 <= body["confidence_scores"]["bandgap"] <= 1
    assert (body["cached"], body["explanations"]) == (False, None)
    again = ann.client.post(f"{BASE}/properties", json={"structure_id": structure, "level": 0.6})
    assert again.json()["id"] == body["id"]
    assert again.json()["cached"]
    narrow = again.json()["intervals"]["formation_energy"]
    wide = body["intervals"]["formation_energy"]
    assert narrow["upper"] - narrow["lower"] < wide["upper"] - wide["lower"]
    history = ann.client.get(f"{BASE}/properties/{structure}/history").json()
    assert (history["count"], history["models_used"]) == (1, [body["model_name"]])


def test_the_list_shows_the_figures_of_the_card(
    ann: Person, networks: dict[str, uuid.UUID]
) -> None:
    models = {model["name"]: model for model in ann.client.get(f"{BASE}/models").json()["models"]}
    gap = models["CGCNN"]["metrics"]["bandgap"]
    assert gap["test_error"][0]["mae"] == 0.1
    assert gap["test_error"][0]["mae_interval"] == pytest.approx([0.09, 0.11])
    assert gap["calibration"]["0.9"] == 0.91
    assert gap["sigma_rank_correlation"] == 0.5
    row = models["mine_bandgap"]
    assert (row["available"], row["is_active"]) == (True, True)
    one = ann.client.get(f"{BASE}/models/{row['id']}").json()
    assert (one["target"], one["metrics"]["mae"]) == ("bandgap", gap["test_error"][0]["mae"])


def test_the_list_says_what_was_seen_in_training_and_what_is_missing(ann: Person) -> None:
    models = {one["name"]: one for one in ann.client.get("/api/v1/ml/models").json()["models"]}
    assert "Materials Project" in models["CGCNN-2018"]["seen_in_training"]
    assert "Materials Project" in models["CHGNet"]["seen_in_training"]
    assert models["CGCNN"]["seen_in_training"] is None
    assert models["CHGNet"]["license"] == "BSD-3-Clause-LBNL"
    absent = [one for one in models.values() if not one["available"]]
    assert absent
    assert all(one["unavailable_reason"] for one in absent)
    assert "nanoos train" in models["RandomForest"]["install_command"]


def test_the_functional_of_a_gap_is_chosen_by_name(
    ann: Person, salt: str, added_weights: Path
) -> None:
    set_weights_folder(added_weights)  # the laboratory has set its own since
    gaps, functionals = {}, {}
    for name in ("MEGNet", "MEGNet-GLLB", "MEGNet-HSE", "megnet-scan"):
        answer = ann.client.post(
            f"{BASE}/properties", json={"structure_id": salt, "model_name": name}
        )
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["model_name"].casefold() == name.casefold()
        gaps[name] = body["properties"]["bandgap"]
        functionals[name] = body["metadata"]["level_of_theory"]["bandgap"]["functional"]
    assert len(set(functionals.values())) == 4
    assert "HSE" in functionals["MEGNet-HSE"]
    assert gaps["MEGNet"] < min(gaps["MEGNet-GLLB"], gaps["MEGNet-HSE"])  # PBE is too low
    rows = ann.client.get(f"{BASE}/properties/{salt}/history").json()
    assert rows["count"] == 4  # none is another's answer from the cache


def test_explanations_on_request(ann: Person, salt: str, networks: dict[str, uuid.UUID]) -> None:
    asked = {"structure_id": salt, "model_name": "CGCNN", "explain": True}
    body = ann.client.post(f"{BASE}/properties", json=asked).json()
    gap = body["explanations"]["bandgap"]
    assert list(body["explanations"]) == list(in_order(body["explanations"]))
    assert list(body["properties"]) == list(in_order(body["properties"]))
    assert len(gap["atoms"]) == 2
    assert set(gap["elements"]) == {"Na", "Cl"}
    assert sum(gap["atoms"]) == pytest.approx(gap["value"] - gap["baseline"])
    refused = ann.client.post(f"{BASE}/properties", json={**asked, "model_name": "STUB"})
    assert refused.json()["error"]["code"] == "not_explainable"


def test_a_graph_network_with_the_spread_of_its_members(
    ann: Person, salt: str, networks: dict[str, uuid.UUID]
) -> None:
    asked = {"structure_id": salt, "gnn_model_name": "mine_formation_energy"}
    answer = ann.client.post(f"{BASE}/gnn/properties", json=asked)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body["prediction"]) == {"formation_energy"}
    assert body["uncertainty"]["formation_energy"] > 0
    interval = body["interval"]["formation_energy"]
    assert interval["lower"] < body["prediction"]["formation_energy"] < interval["upper"]
    assert (body["uncertainty_method"], body["n_samples"]) == ("ensemble", 2)
    assert 0 <= body["model_agreement"]["formation_energy"] <= 1
    assert (body["predictions_raw"], body["explanations"]) == (None, None)
    dropout = {**asked, "uncertainty_method": "mc_dropout", "n_samples": 9}
    body = ann.client.post(
        f"{BASE}/gnn/properties", json={**dropout, "return_predictions": True, "explain": True}
    ).json()
    assert len(body["predictions_raw"]["formation_energy"]) == 9
    assert body["model_agreement"] is None
    assert set(body["explanations"]) == {"formation_energy"}
    bare = ann.client.post(
        f"{BASE}/gnn/properties", json={**asked, "return_uncertainty": False}
    ).json()
    assert (bare["uncertainty"], bare["interval"], bare["n_samples"]) == (None, None, None)
    assert bare["prediction"] == body["prediction"]


def test_what_a_graph_network_cannot_be_asked(
    ann: Person, salt: str, services: Services, tmp_path: Path
) -> None:
    add_model(services, tmp_path / "w", targets=("bandgap",), name="one", n_members=1)
    codes = {}
    for name in ("one_bandgap", "CHGNet", "NOPE"):
        answer = ann.client.post(
            f"{BASE}/gnn/properties", json={"structure_id": salt, "gnn_model_name": name}
        )
        codes[name] = answer.json()["error"]["code"]
    assert codes == {
        "one_bandgap": "single_member",
        "CHGNet": "not_a_graph_network",
        "NOPE": "not_found",
    }
    other = {"structure_id": salt, "uncertainty_method": "guess"}
    assert ann.client.post(f"{BASE}/gnn/properties", json=other).status_code == 422


def test_activating_other_weights_takes_effect_without_a_restart(
    ann: Person, admin: Person, salt: str, services: Services, tmp_path: Path
) -> None:
    add_model(services, tmp_path / "a", targets=("bandgap",))
    other = add_model(
        services, tmp_path / "b", targets=("bandgap",), name="other", active=False, seed=5
    )
    asked = {"structure_id": salt, "model_name": "CGCNN"}
    first = ann.client.post(f"{BASE}/properties", json=asked).json()
    assert admin.client.post(f"{BASE}/models/{other['bandgap']}/activate").status_code == 200
    second = ann.client.post(f"{BASE}/properties", json=asked).json()
    assert second["id"] != first["id"]
    names = [one["metadata"]["weights"]["bandgap"]["name"] for one in (first, second)]
    assert names == ["mine_bandgap", "other_bandgap"]


def test_a_batch_with_one_that_is_missing(
    ann: Person, salt: str, networks: dict[str, uuid.UUID]
) -> None:
    missing = str(uuid.uuid4())
    asked = {"structure_ids": [missing, salt], "model_name": "CGCNN"}
    body = ann.client.post(f"{BASE}/properties/batch", json=asked).json()
    assert (body["total"], body["cached"], body["new"]) == (2, 0, 1)
    assert [error["structure_id"] for error in body["errors"]] == [missing]
    for count in (0, 101):
        many = {"structure_ids": [salt] * count}
        assert ann.client.post(f"{BASE}/properties/batch", json=many).status_code == 422


def test_deleting_takes_an_administrator(
    ann: Person, admin: Person, salt: str, networks: dict[str, uuid.UUID]
) -> None:
    asked = {"structure_id": salt, "model_name": "CGCNN"}
    made = ann.client.post(f"{BASE}/properties", json=asked).json()
    assert ann.client.delete(f"{BASE}/properties/{made['id']}").status_code == 403
    assert admin.client.delete(f"{BASE}/properties/{made['id']}").status_code == 204
    assert ann.client.get(f"{BASE}/properties/{salt}").status_code == 404


def test_a_prediction_beside_a_simulation(
    ann: Person, bob: Person, salt: str, services: Services, networks: dict[str, uuid.UUID]
) -> None:
    url = f"{BASE}/compare/{salt}"
    assert ann.client.get(url).status_code == 404
    asked = {"structure_id": salt, "model_name": "CGCNN"}
    made = ann.client.post(f"{BASE}/properties", json=asked).json()
    gap = made["properties"]["bandgap"]
    simulation = add_result(
        services, uuid.UUID(salt), {"band_gap_ev": gap + 2}, PBE, owner_id=ann.who.user_id
    )
    body = ann.client.get(url, params={"simulation_id": str(simulation)}).json()
    assert body["comparisons"]["bandgap"]["absolute_error"] == pytest.approx(2)
    assert body["comparisons"]["bandgap"]["inside_interval"] is False
    assert body["summary"]["bandgap"]["coverage"]["0.9"] == 0.0
    assert (body["overall_quality"], body["prediction_id"]) == ("poor", made["id"])
    assert "simulate" in body["recommendations"][0]
    assert bob.client.get(url).status_code == 404


def test_monitoring_of_a_model(ann: Person, networks: dict[str, uuid.UUID]) -> None:
    body = ann.client.get(f"{BASE}/models/{networks['bandgap']}/monitoring").json()
    assert (body["target"], body["figures"]["n"], body["problems"]) == ("bandgap", 0, [])
    assert body["figures"]["card_mae"] == 0.1
    assert ann.client.get(f"{BASE}/models/{uuid.uuid4()}/monitoring").status_code == 404
