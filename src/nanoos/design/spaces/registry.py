"""The kinds of spaces there are."""

from collections.abc import Mapping
from typing import Any

from nanoos.core.errors import ConfigError
from nanoos.core.registry import Registry
from nanoos.design.spaces.base import Space

SPACES: Registry[type[Space]] = Registry(
    "nanoos.spaces",
    {
        "prototypes": "nanoos.design.spaces.prototypes:PrototypeSpace",
        "structures": "nanoos.design.spaces.structures:StructureSpace",
    },
    extra="design",
)
"""Name to class."""


def build_space(config: Mapping[str, Any]) -> Space:
    """The space a configuration describes; its ``type`` names the kind.

    Raises:
        ConfigError: no ``type``, or the description cannot be used.
        NotFoundError: no such kind; the hint gives the nearest name.
    """
    kind = config.get("type")
    if not isinstance(kind, str):
        raise ConfigError(
            "The space has no type.", hint="Set type to one of: " + ", ".join(SPACES.names()) + "."
        )
    return SPACES.get(kind).from_config(config)
