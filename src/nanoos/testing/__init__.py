"""Contract suites: a plug-in's test class inherits one and gets its tests.

``class TestMyPotential(PotentialContract): name = "MyPotential"`` in a test file is all that a
new potential, model or engine needs. These modules import pytest, so nothing else imports them.
"""

from nanoos.testing.engines import EngineContract
from nanoos.testing.models import ModelContract
from nanoos.testing.potentials import PotentialContract
from nanoos.testing.space import SpaceContract

__all__ = ["EngineContract", "ModelContract", "PotentialContract", "SpaceContract"]
