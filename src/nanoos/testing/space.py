"""The contract of a space of candidates."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

from nanoos.core.errors import ConfigError, NotFoundError
from nanoos.design.descriptors import describe_points
from nanoos.design.spaces import SPACES, Space, SpacePoint

_SAMPLE = 25
"""Points whose structures are built; enough to meet every prototype of a small space."""


class SpaceContract:
    """Inherit it in a test class and set ``name`` and ``config``.

    Attributes:
        name: Of the space in :data:`~nanoos.design.spaces.SPACES`.
        config: A description of a small space. A class whose description needs files may
            override :meth:`space` instead.
    """

    name: ClassVar[str]
    config: ClassVar[Mapping[str, Any]]

    @pytest.fixture
    def space(self) -> Space:
        """A small space."""
        return SPACES.get(self.name).from_config(self.config)

    def sample(self, space: Space) -> list[SpacePoint]:
        """Points spread over the space."""
        points = list(space)
        return points[:: max(1, len(points) // _SAMPLE)]

    def test_size_is_the_number_of_points(self, space: Space) -> None:
        """The size is counted, and the exclusions account for the rest."""
        points = list(space)
        assert points
        assert space.size == len(space) == len(points)
        assert space.raw_size == space.size + sum(space.excluded.values())

    def test_keys_are_unique_and_lead_back(self, space: Space) -> None:
        """A point maps to a key and the key to the same point."""
        keys = [point.key for point in space]
        assert len(set(keys)) == len(keys)
        for point in self.sample(space):
            again = space.point(point.key)
            assert again.key == point.key
            assert again.parameters == point.parameters
            assert again.structure().content_hash == point.structure().content_hash

    def test_order_is_stable(self, space: Space) -> None:
        """Two iterations give the same keys in the same order."""
        assert [point.key for point in space] == [point.key for point in space]

    def test_every_structure_is_real_and_different(self, space: Space) -> None:
        """Structures pass the checks; no two points share one."""
        structures = [point.structure().validated() for point in self.sample(space)]
        assert len({structure.content_hash for structure in structures}) == len(structures)

    def test_what_a_point_says_is_true_of_its_structure(self, space: Space) -> None:
        """Composition, volume, distance and bonds agree with the structure."""
        for point in self.sample(space):
            structure = point.structure()
            assert dict(point.composition) == structure.composition
            assert point.volume_per_atom == pytest.approx(structure.volume / structure.n_sites)
            shortest = _shortest_distance(structure)
            assert point.nearest_neighbor == pytest.approx(shortest, rel=1e-6)
            assert sum(point.bonds.values()) == pytest.approx(1.0)
            assert {e for pair in point.bonds for e in pair} <= set(structure.species)

    def test_points_can_be_described(self, space: Space) -> None:
        """Descriptors are finite and tell different points apart."""
        points = self.sample(space)
        values = describe_points(points).values
        assert np.isfinite(values).all()
        assert len(np.unique(values.round(9), axis=0)) == len(points)

    def test_unknown_key_is_not_found(self, space: Space) -> None:
        """A key of another space is refused."""
        with pytest.raises(NotFoundError):
            space.point("no such point")

    def test_unknown_setting_is_refused(self) -> None:
        """The description is closed."""
        with pytest.raises(ConfigError):
            SPACES.get(self.name).from_config({"type": self.name, "no_such_setting": 1})


def _shortest_distance(structure: Any) -> float:
    """Å, between any two atoms or images, by brute force over the neighbouring cells."""
    images = np.array(np.meshgrid(*[(-2, -1, 0, 1, 2)] * 3)).reshape(3, -1).T
    delta = structure.frac_coords[None] - structure.frac_coords[:, None]
    distances = np.linalg.norm((delta[:, :, None] + images) @ structure.lattice, axis=-1)
    return float(distances[distances > 1e-6].min())
