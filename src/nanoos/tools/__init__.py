"""Programs that cannot share the main environment: installed beside it, driven over a pipe."""

from nanoos.tools.environments import ToolEnvironments, ToolState, tool_environments
from nanoos.tools.process import Answer, ToolError, ToolProcess, tool_process
from nanoos.tools.registry import TOOLS
from nanoos.tools.spec import ToolSpec

__all__ = [
    "TOOLS",
    "Answer",
    "ToolEnvironments",
    "ToolError",
    "ToolProcess",
    "ToolSpec",
    "ToolState",
    "tool_environments",
    "tool_process",
]
