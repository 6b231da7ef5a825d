"""The tools there are."""

from nanoos.core.registry import Registry
from nanoos.tools.spec import ToolSpec

TOOLS: Registry[ToolSpec] = Registry(
    "nanoos.tools", {"MACE": "nanoos.tools.mace:MACE", "QE": "nanoos.tools.qe:QE"}
)
"""Name to specification."""
