"""Spaces of candidates: finite, ordered, every point a real structure."""

from nanoos.design.spaces.base import Space, SpacePoint
from nanoos.design.spaces.registry import SPACES, build_space

__all__ = ["SPACES", "Space", "SpacePoint", "build_space"]
