"""Structures in and out: files, JSON, bulk imports, predictions of them."""

import io
import json
import zipfile

import pytest
from people import Person, add_structure, poscar

from nanoos.structures import Structure


def test_a_file_then_the_same_crystal_again(ann: Person) -> None:
    first = ann.client.post("/api/v1/structures", files={"file": ("NaCl.vasp", poscar())})
    again = ann.client.post("/api/v1/structures", files={"file": ("copy.vasp", poscar())})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["duplicate"] is False
    assert again.json()["duplicate"] is True
    assert again.json()["id"] == first.json()["id"]
    assert first.json()["source"] == {"kind": "upload", "file": "NaCl.vasp"}


def test_another_cell_is_stored_where_it_is_asked_for(ann: Person) -> None:
    first = ann.client.post("/api/v1/structures", files={"file": ("NaCl.vasp", poscar())}).json()
    cell = Structure.from_dict(first["structure"])
    double = Structure.from_ase(cell.to_ase() * (2, 1, 1)).as_dict()
    for given, twice in ((False, False), (True, True), (True, True)):
        answer = ann.client.post(
            "/api/v1/structures", json={"structure": double, "as_given": given}
        ).json()
        assert (answer["n_sites"] == 2 * cell.n_sites) == twice
    assert answer["duplicate"] is True


def test_json_of_a_structure_comes_back_the_same(ann: Person) -> None:
    identifier = add_structure(ann)
    document = ann.client.get(f"/api/v1/structures/{identifier}").json()["structure"]
    again = ann.client.post("/api/v1/structures", json={"structure": document})
    assert again.status_code == 200, again.text
    assert again.json()["id"] == identifier


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.cif", b"", "empty_file"),
        ("../../etc/passwd", b"\x00\x01\x02" * 100, "binary_file"),
        ("POSCAR", poscar("Xx", "Cl").encode(), None),
    ],
)
def test_bad_files_are_refused(ann: Person, name: str, content: bytes, code: str | None) -> None:
    answer = ann.client.post("/api/v1/structures", files={"file": (name, content)})
    assert answer.status_code == 422
    assert code is None or answer.json()["error"]["code"] == code
    assert ann.client.get("/api/v1/structures").json()["total"] == 0


@pytest.mark.parametrize(
    "form",
    [
        {"data": {"shared": "true"}},
        {"files": {"other": ("POSCAR", poscar())}},
        {"files": {"file": ("POSCAR", poscar())}, "data": {"shraed": "true"}},
        {"files": {"file": ("POSCAR", poscar())}, "data": {"material_id": "x"}},
        {"content": b"plain", "headers": {"Content-Type": "text/plain"}},
        {"json": {"structure": {}}},
        {"json": {"structure": []}},
    ],
)
def test_bad_forms_are_422(ann: Person, form: dict) -> None:
    assert ann.client.post("/api/v1/structures", **form).status_code == 422


def test_a_field_of_another_name_is_answered_with_the_right_one(ann: Person) -> None:
    answer = ann.client.post("/api/v1/structures/import", files={"file": ("a.vasp", poscar())})
    assert answer.status_code == 422
    assert "-F files=@FILE" in answer.json()["error"]["hint"]


def test_an_import_answers_for_each_structure(ann: Person) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("MgO.vasp", poscar("Mg", "O", 2.1))
        file.writestr("broken.cif", "data_x\n")
    answer = ann.client.post(
        "/api/v1/structures/import",
        files=[
            ("files", ("NaCl.vasp", poscar())),
            ("files", ("more.zip", archive.getvalue())),
            ("files", ("again.vasp", poscar())),
        ],
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [line["status"] for line in body["items"]] == [
        "imported",
        "imported",
        "refused",
        "duplicate",
    ]
    assert (body["imported"], body["duplicate"], body["refused"]) == (2, 1, 1)
    assert body["items"][2]["error"]["message"]
    assert body["items"][1]["file"] == "more.zip/MgO.vasp"


def test_lists_filter_and_page(ann: Person) -> None:
    for elements in (("Na", "Cl"), ("Mg", "O"), ("K", "Cl")):
        add_structure(ann, *elements)
    found = ann.client.get("/api/v1/structures?elements=Cl&limit=1").json()
    assert found["total"] == 2
    following = ann.client.get(
        "/api/v1/structures", params={"elements": "Cl", "limit": 1, "cursor": found["next"]}
    ).json()
    formulas = {found["items"][0]["formula"], following["items"][0]["formula"]}
    assert formulas == {"NaCl", "KCl"}
    assert following["next"] is None
    assert ann.client.get("/api/v1/structures?nsites=3").json()["total"] == 0


def test_export_is_an_attachment(ann: Person) -> None:
    identifier = add_structure(ann)
    answer = ann.client.get(f"/api/v1/structures/{identifier}/export?format=json")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert json.loads(answer.content)


def test_predictions_are_stored_served_and_deleted(ann: Person, admin: Person) -> None:
    identifier = add_structure(ann)
    body = {"structure_id": identifier, "model_name": "STUB", "level": 0.8}
    first = ann.client.post("/api/v1/ml/properties", json=body).json()
    again = ann.client.post("/api/v1/ml/properties", json=body).json()
    assert (first["cached"], again["cached"]) == (False, True)
    assert again["id"] == first["id"]
    assert first["intervals"]["bandgap"]["level"] == 0.8
    fresh = ann.client.post("/api/v1/ml/properties", json={**body, "force_recompute": True}).json()
    assert fresh["id"] != first["id"]
    path = f"/api/v1/ml/properties/{identifier}"
    assert ann.client.get(path).json()["id"] == fresh["id"]
    assert ann.client.get(f"{path}?model_name=CHGNet").status_code == 404
    history = ann.client.get(f"{path}/history").json()
    assert (history["count"], history["models_used"]) == (2, ["STUB"])
    assert ann.client.delete(f"/api/v1/ml/properties/{fresh['id']}").status_code == 403
    for one in (first, fresh):
        assert admin.client.delete(f"/api/v1/ml/properties/{one['id']}").status_code == 204
    assert ann.client.get(path).status_code == 404


def test_models_say_what_they_are(ann: Person) -> None:
    models = ann.client.get("/api/v1/ml/models").json()
    stub = next(model for model in models["models"] if model["name"] == "STUB")
    assert models["count"] == len(models["models"])
    assert stub["not_for_decisions"] is True
    wrong = ann.client.get("/api/v1/ml/models/00000000-0000-4000-8000-00000000dead")
    assert wrong.status_code == 404
