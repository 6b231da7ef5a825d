"""Simulation engines: one interface, inputs and outputs in files."""

from nanoos.engines.base import Engine, EngineParameters, ExecuteOutcome, result_from_dict
from nanoos.engines.registry import ENGINES, get_engine

__all__ = [
    "ENGINES",
    "Engine",
    "EngineParameters",
    "ExecuteOutcome",
    "get_engine",
    "result_from_dict",
]
