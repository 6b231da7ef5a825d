"""What a space of candidates is."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from pydantic import BaseModel

from nanoos.structures import Structure


@runtime_checkable
class SpacePoint(Protocol):
    """One candidate: a name that never changes and the structure behind it. Immutable."""

    @property
    def key(self) -> str:
        """Stable name of the point, unique in its space, the same in every process."""
        ...

    @property
    def parameters(self) -> Mapping[str, str | float]:
        """What distinguishes the point, JSON types."""
        ...

    @property
    def prototype(self) -> str | None:
        """The prototype it was built from, None where it was not built from one."""
        ...

    @property
    def composition(self) -> Mapping[str, int]:
        """Element to number of atoms in the cell."""
        ...

    @property
    def volume_per_atom(self) -> float:
        """Å^3, of the starting structure, without building it where that is possible."""
        ...

    @property
    def nearest_neighbor(self) -> float:
        """Å, the shortest distance between two atoms of the starting structure."""
        ...

    @property
    def coordination(self) -> float:
        """Mean number of neighbours in the first shell of the starting structure."""
        ...

    @property
    def bonds(self) -> Mapping[tuple[str, str], float]:
        """Pair of elements to the share of the shortest bonds (within 5 %) that join them."""
        ...

    def structure(self) -> Structure:
        """The starting structure."""
        ...


class Space(Protocol):
    """A finite set of candidates in a fixed order.

    Iteration order and keys are the same in every process for the same configuration: a
    campaign that resumes relies on it. A space is immutable and safe to share between threads.
    """

    Config: ClassVar[type[BaseModel]]
    """Closed (``extra="forbid"``) description of the space, as it stands in a campaign file."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | BaseModel) -> Self:
        """Build the space.

        Raises:
            ConfigError: the description cannot be used, and what would do.
        """
        ...

    @property
    def raw_size(self) -> int:
        """Number of combinations before constraints, computed without enumerating them."""
        ...

    @property
    def size(self) -> int:
        """Number of points, counted without building structures where that is possible."""
        ...

    @property
    def excluded(self) -> Mapping[str, int]:
        """Reason to number of combinations it removed; they and ``size`` sum to ``raw_size``."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[SpacePoint]: ...

    def point(self, key: str) -> SpacePoint:
        """The point called ``key``.

        Raises:
            NotFoundError: not a point of this space.
        """
        ...
