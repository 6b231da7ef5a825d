"""The OpenAPI document: complete, and true to what the server answers."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "schemathesis_run.py"


def test_every_route_documents_its_answers(app: FastAPI) -> None:
    document = app.openapi()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            statuses = set(operation["responses"])
            assert {"500"} <= statuses, where
            if path.startswith("/api/v1/"):
                assert {"401", "422", "503"} <= statuses, where
            if operation.get("security"):
                assert {"401", "403"} <= statuses, where
            if "{" in path:
                assert "404" in statuses, where
            if "requestBody" in operation:
                assert "413" in statuses, where
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema["$ref"].endswith("/ErrorAnswer"), where


def test_every_post_documents_its_idempotency_key(app: FastAPI) -> None:
    for path, operations in app.openapi()["paths"].items():
        if "post" in operations and not path.startswith("/api/v1/auth/"):
            names = [p["name"] for p in operations["post"]["parameters"]]
            assert "Idempotency-Key" in names, path
            assert "409" in operations["post"]["responses"], path


def test_every_reference_leads_somewhere(app: FastAPI) -> None:
    document = app.openapi()

    def references(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    found = set(references(document))
    assert found
    for reference in found:
        node = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in node, reference
            node = node[part]


def fuzz(*options: str) -> None:
    run = subprocess.run(
        [sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]


def test_answers_are_as_documented() -> None:
    fuzz("--max-examples=2", "--include=/(materials|jobs|users)$|^/health|^/ready")


@pytest.mark.slow
def test_answers_of_all_routes_are_as_documented() -> None:
    fuzz("--max-examples=50")
