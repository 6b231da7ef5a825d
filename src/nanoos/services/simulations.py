"""SimulationService: being written."""

from typing import Any


class SimulationService:
    """SimulationService."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
