"""Many structures in a few flat arrays: a tenth of the memory of as many objects."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, overload

import numpy as np
import numpy.typing as npt

from nanoos.structures import Structure
from nanoos.structures.elements import SYMBOLS

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedStructures(Sequence[Structure]):
    """A sequence of structures that are built when they are asked for.

    Attributes:
        lattices: (n, 3, 3), rows are lattice vectors, Å.
        offsets: (n + 1,), where the sites of each structure begin.
        numbers: (n_sites_in_all,), atomic numbers.
        frac_coords: (n_sites_in_all, 3), fractional.
        charges: (n_sites_in_all,), units of e, NaN where a structure has none; or None.
        spins: (n_sites_in_all,), Bohr magnetons, NaN where a structure has none; or None.
    """

    lattices: FloatArray
    offsets: IntArray
    numbers: npt.NDArray[np.uint8]
    frac_coords: FloatArray
    charges: FloatArray | None = None
    spins: FloatArray | None = None

    @classmethod
    def from_structures(cls, structures: Iterable[Structure]) -> Self:
        """Pack structures one after another; labels are not kept."""
        builder = StructurePacker()
        for structure in structures:
            builder.add(structure)
        return cls(**builder.take())

    def __len__(self) -> int:
        return len(self.lattices)

    @overload
    def __getitem__(self, index: int) -> Structure: ...
    @overload
    def __getitem__(self, index: slice) -> "PackedStructures": ...
    def __getitem__(self, index: int | slice) -> "Structure | PackedStructures":
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        position = range(len(self))[index]  # raises IndexError, understands negative ones
        start, stop = self.offsets[position], self.offsets[position + 1]
        return Structure(
            lattice=self.lattices[position],
            species=tuple(SYMBOLS[z] for z in self.numbers[start:stop]),
            frac_coords=self.frac_coords[start:stop],
            charges=_of_one(self.charges, start, stop),
            spins=_of_one(self.spins, start, stop),
        )

    def __iter__(self) -> Iterator[Structure]:
        return (self[index] for index in range(len(self)))

    @cached_property
    def n_sites(self) -> IntArray:
        """(n,), number of sites of each structure."""
        return np.diff(self.offsets)

    def select(self, indices: npt.ArrayLike) -> "PackedStructures":
        """The structures at ``indices``, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        sizes = self.n_sites[chosen]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        sites = np.repeat(self.offsets[chosen] - offsets[:-1], sizes) + np.arange(offsets[-1])
        return PackedStructures(
            lattices=self.lattices[chosen],
            offsets=offsets,
            numbers=self.numbers[sites],
            frac_coords=self.frac_coords[sites],
            charges=None if self.charges is None else self.charges[sites],
            spins=None if self.spins is None else self.spins[sites],
        )


def _of_one(values: FloatArray | None, start: int, stop: int) -> tuple[float, ...] | None:
    if values is None or np.isnan(values[start:stop]).all():
        return None
    return tuple(values[start:stop].tolist())


class StructurePacker:
    """Collects structures as arrays while they stream in."""

    def __init__(self) -> None:
        self._empty()

    def _empty(self) -> None:
        self._lattices: list[FloatArray] = []
        self._numbers: list[npt.NDArray[np.uint8]] = []
        self._coords: list[FloatArray] = []
        self._charges: list[FloatArray] = []
        self._spins: list[FloatArray] = []

    def __len__(self) -> int:
        return len(self._lattices)

    def add(self, structure: Structure) -> None:
        """Append one."""
        self._lattices.append(structure.lattice)
        self._numbers.append(structure.atomic_numbers.astype(np.uint8))
        self._coords.append(structure.frac_coords)
        for values, kept in ((structure.charges, self._charges), (structure.spins, self._spins)):
            kept.append(
                np.full(structure.n_sites, np.nan) if values is None else np.array(values, float)
            )

    def take(self) -> dict[str, Any]:
        """The fields of :class:`PackedStructures`, of all structures added since the last call."""
        sizes = [len(numbers) for numbers in self._numbers]
        found: dict[str, Any] = {
            "lattices": np.array(self._lattices, dtype=np.float64).reshape(-1, 3, 3),
            "offsets": np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            "numbers": np.concatenate(self._numbers or [np.zeros(0, np.uint8)]),
            "frac_coords": np.concatenate(self._coords or [np.zeros((0, 3))]),
        }
        for name, kept in (("charges", self._charges), ("spins", self._spins)):
            values = np.concatenate(kept) if kept else np.zeros(0)
            if not np.isnan(values).all():
                found[name] = values
        self._empty()
        return found
