"""The OpenAPI document as something to read: areas, routes, parameters, answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter or a field of a body."""

    name: str
    place: str
    kind: str
    required: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One route with one method."""

    method: str
    path: str
    summary: str
    public: bool
    parameters: Sequence[Parameter]
    answers: Sequence[tuple[str, str]]


def reference(document: Mapping[str, Any]) -> dict[str, list[Operation]]:
    """Operations by area, in the order of the document."""
    areas: dict[str, list[Operation]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            area = operation.get("tags", ["other"])[0]
            areas.setdefault(area, []).append(_operation(document, method, path, operation))
    return areas


def _operation(
    document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]
) -> Operation:
    parameters = [
        Parameter(
            name=entry["name"],
            place=entry["in"],
            kind=_kind(entry.get("schema", {})),
            required=entry.get("required", False),
            text=entry.get("description", ""),
        )
        for entry in operation.get("parameters", [])
    ]
    return Operation(
        method=method.upper(),
        path=path,
        summary=operation.get("description", operation.get("summary", "")),
        public=not operation.get("security"),
        parameters=[*parameters, *_body(document, operation)],
        answers=[
            (status, answer.get("description", ""))
            for status, answer in sorted(operation.get("responses", {}).items())
        ],
    )


def _body(document: Mapping[str, Any], operation: Mapping[str, Any]) -> list[Parameter]:
    found = []
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = _resolved(document, content.get("schema", {}))
        required = schema.get("required", [])
        for name, field in schema.get("properties", {}).items():
            found.append(
                Parameter(
                    name=name,
                    place="form" if "form" in media_type else "body",
                    kind=_kind(field),
                    required=name in required,
                    text=field.get("description", ""),
                )
            )
    return found


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return document["components"]["schemas"][name] if name else schema


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_kind(entry) for entry in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(str(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or schema.get("const") or "any")
