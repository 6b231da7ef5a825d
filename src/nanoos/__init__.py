"""NANO-OS: an open platform for autonomous materials discovery.

``nanoos.open()`` gives a laboratory object for notebooks and scripts; everything else is
imported from the sub-packages. Importing this package loads neither torch nor pymatgen.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nanoos.bootstrap import open_laboratory as open  # noqa: A004

__all__ = ["__version__", "open"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load ``open`` on first use, so that ``import nanoos`` stays light."""
    if name == "open":
        return import_module("nanoos.bootstrap").open_laboratory
    msg = f"module 'nanoos' has no attribute {name!r}"
    raise AttributeError(msg)
