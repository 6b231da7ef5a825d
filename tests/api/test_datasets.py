"""``/api/v1/datasets``: small files at once, large ones as jobs, and files out again."""

import json

import pytest

from nanoos.datasets.export import structure_text
from nanoos.testing.crystals import rocksalt

URL = "/api/v1/datasets"


def rows(n_rows=4):
    lines = [
        json.dumps({"id": n, "structure": structure_text(rocksalt(4.2 + n / 100)), "gap": n / 2})
        for n in range(n_rows)
    ]
    return ("\n".join(lines) + "\n").encode()


OPTIONS = json.dumps({"targets": {"bandgap": "gap"}, "functional": "PBE"})


def upload(person, name="gaps", options=OPTIONS, file="rows.jsonl", **more):
    return person.client.post(
        URL, files={"file": (file, rows())}, data={"name": name, "options": options, **more}
    )


def test_a_small_file_is_there_at_once(ann):
    answer = upload(ann)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["n_rows"], made["targets"], made["units"]) == (4, ["bandgap"], {"bandgap": "eV"})
    assert ann.client.get(f"{URL}/{made['id']}").json() == made
    assert ann.client.get(URL).json() == {"items": [made], "total": 1, "next": None}
    again = upload(ann)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "name_taken")


def test_a_large_file_becomes_a_job(ann, services, drain, monkeypatch):
    monkeypatch.setattr("nanoos.api.routes.datasets.SMALL_BYTES", 10)
    answer = upload(ann)
    assert answer.status_code == 202
    drain(services)
    job = ann.client.get(f"/api/v1/jobs/{answer.json()['job_id']}").json()
    assert job["state"] == "completed"
    assert ann.client.get(f"{URL}/{job['result']['dataset_id']}").json()["n_rows"] == 4


@pytest.mark.parametrize(
    ("name", "options"),
    [("a b", "{}"), ("a", "{"), ("a", '{"target": {}}'), ("a", '{"reference": "x"}')],
    ids=["name", "json", "unknown", "incomplete"],
)
def test_malformed_fields_are_422(ann, name, options):
    assert upload(ann, name, options).status_code == 422


def test_an_unusable_file_says_why(ann):
    answer = upload(ann, options="{}")
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "no_target"
    assert upload(ann, file="rows.txt").json()["error"]["code"] == "unknown_format"


def test_an_upload_cannot_name_files_of_the_server(ann, tmp_path):
    (tmp_path / "s.cif").write_text("data_x")
    body = json.dumps({"structure": str(tmp_path / "s.cif"), "gap": 1}).encode()
    answer = ann.client.post(
        URL, files={"file": ("a.jsonl", body)}, data={"name": "a", "options": OPTIONS}
    )
    assert answer.json()["error"]["code"] == "no_rows"


def test_json_takes_simulations_or_a_database(ann, services):
    none = ann.client.post(URL, json={"name": "a"})
    assert none.status_code == 422
    empty = ann.client.post(URL, json={"name": "a", "simulations": {}})
    assert (empty.status_code, empty.json()["error"]["code"]) == (422, "no_rows")
    queued = ann.client.post(URL, json={"name": "a", "database": "matbench:phonons"})
    assert queued.status_code == 202
    assert services.jobs.page(ann.who).items[0].kind == "dataset_import"


@pytest.mark.parametrize("kind", ["parquet", "csv", "extxyz"])
def test_export_and_picture(ann, kind):
    made = upload(ann).json()
    file = ann.client.get(f"{URL}/{made['id']}/export", params={"format": kind})
    assert file.status_code == 200
    assert f"gaps.{kind}" in file.headers["content-disposition"]
    assert len(file.content) > 100
    if kind == "csv":
        picture = ann.client.get(f"{URL}/{made['id']}/plot.png")
        assert picture.headers["content-type"] == "image/png"
        assert picture.content.startswith(b"\x89PNG")


def test_only_an_admin_deletes_and_others_see_nothing(ann, bob, admin):
    made = upload(ann).json()
    url = f"{URL}/{made['id']}"
    for path in (url, f"{url}/export", f"{url}/plot.png"):
        assert bob.client.get(path).status_code == 404
    assert ann.client.delete(url).status_code == 403
    assert admin.client.delete(url).status_code == 204
    assert ann.client.get(url).status_code == 404
