"""Records as JSON documents.

``--json`` prints the fields of the service's record under their own names: what they mean, and
in which unit, stands in the record's docstring and in the API document, once.
"""

import dataclasses
import json
import sys
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

_JSON_TYPES = (str, int, float, bool, type(None))


def to_document(value: Any) -> Any:
    """``value`` in JSON types: records by field, ids as text, times as UTC ISO 8601.

    Numbers that JSON does not know (NaN, infinity) become null.
    """
    if isinstance(value, float):
        return value if value - value == 0.0 else None
    if isinstance(value, _JSON_TYPES):
        return value
    as_dict = getattr(value, "as_dict", None)
    if as_dict is not None:
        return to_document(as_dict())
    return _composite(value)


def _composite(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = (f.name for f in dataclasses.fields(value))
        return {name: to_document(getattr(value, name)) for name in fields if name[0] != "_"}
    if isinstance(value, Mapping):
        return {str(key): to_document(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value) if isinstance(value, (set, frozenset)) else value
        return [to_document(item) for item in items]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Enum):
        return to_document(value.value)
    if isinstance(value, (uuid.UUID, Path)):
        return str(value)
    if hasattr(value, "tolist"):  # numpy arrays and numbers
        return to_document(value.tolist())
    raise TypeError(f"{type(value).__name__} has no JSON form.")


def print_document(value: Any) -> None:
    """Print one JSON document on one line of standard output, at once."""
    sys.stdout.write(json.dumps(to_document(value), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def page_document(page: Any, convert: Callable[[Any], Any] = to_document) -> dict[str, Any]:
    """A page as the API shows it: ``items``, ``total``, ``next``."""
    return {
        "items": [convert(item) for item in page.items],
        "total": page.total,
        "next": page.next,
    }
