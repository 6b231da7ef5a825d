"""PredictionService: being written."""

from typing import Any


class PredictionService:
    """PredictionService."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
