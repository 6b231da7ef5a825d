"""Simulation engines: one interface, inputs and outputs in files."""

from nanoos.engines.base import Engine, EngineParameters, ExecuteOutcome
from nanoos.engines.registry import ENGINES, get_engine

__all__ = ["ENGINES", "Engine", "EngineParameters", "ExecuteOutcome", "get_engine"]
