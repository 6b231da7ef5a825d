"""MaterialService: being written."""

from typing import Any


class MaterialService:
    """MaterialService."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
