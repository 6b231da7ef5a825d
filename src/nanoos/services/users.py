"""UserService: being written."""

from typing import Any


class UserService:
    """UserService."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
