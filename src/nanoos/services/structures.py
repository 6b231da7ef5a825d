"""StructureService: being written."""

from typing import Any


class StructureService:
    """StructureService."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
