"""CampaignService: being written."""

from typing import Any


class CampaignService:
    """CampaignService."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
