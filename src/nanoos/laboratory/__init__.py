"""The laboratory object for notebooks and scripts."""

from nanoos.laboratory.crystals import StoredStructure, as_structure
from nanoos.laboratory.findings import PredictionView, SimulationRun
from nanoos.laboratory.laboratory import Laboratory
from nanoos.laboratory.showing import Listing

__all__ = [
    "Laboratory",
    "Listing",
    "PredictionView",
    "SimulationRun",
    "StoredStructure",
    "as_structure",
]
