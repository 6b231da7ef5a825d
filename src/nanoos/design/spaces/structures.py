"""A user's own candidates: the structures of a folder, or a list of them."""

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nanoos.core.errors import ConfigError, NotFoundError
from nanoos.design.spaces.errors import config_error
from nanoos.structures import Structure

_SHELL_TOLERANCE = 1.05


class StructureSpaceConfig(BaseModel):
    """Structure files that are the candidates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["structures"] = "structures"
    paths: list[str] = Field(min_length=1)
    """Structure files, or folders whose structure files are taken (not their sub-folders)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shell:
    nearest: float
    coordination: float
    bonds: Mapping[tuple[str, str], float]


@dataclass(frozen=True, kw_only=True)
class StructurePoint:
    """One given structure.

    Attributes:
        key: Its name, from the file.
        given: The structure as it was read.
    """

    key: str
    given: Structure

    @property
    def parameters(self) -> Mapping[str, str | float]:
        """The name and formula."""
        return {"name": self.key, "formula": self.given.formula}

    @property
    def prototype(self) -> None:
        """Not built from a prototype."""
        return

    @property
    def composition(self) -> Mapping[str, int]:
        """Element to number of atoms in the cell."""
        return self.given.composition

    @property
    def volume_per_atom(self) -> float:
        """Å^3."""
        return self.given.volume / self.given.n_sites

    @cached_property
    def _shell(self) -> _Shell:
        from ase.neighborlist import neighbor_list

        atoms = self.given.to_ase()
        cutoff = 2.0 * self.volume_per_atom ** (1 / 3)
        nearest = np.full(self.given.n_sites, np.inf)
        while not np.isfinite(nearest).all():  # a slab or a molecule may need a longer look
            i, j, d = neighbor_list("ijd", atoms, cutoff)
            np.minimum.at(nearest, i, d)
            cutoff *= 1.5
        inside = d <= _SHELL_TOLERANCE * nearest[i]
        counts = np.bincount(i[inside], minlength=self.given.n_sites)
        shortest = d <= _SHELL_TOLERANCE * nearest.min()
        species = self.given.species
        pairs = Counter(
            tuple(sorted((species[a], species[b])))
            for a, b in zip(i[shortest], j[shortest], strict=True)
        )
        return _Shell(
            nearest=float(nearest.min()),
            coordination=float(counts.mean()),
            bonds={(a, b): n / pairs.total() for (a, b), n in pairs.items()},
        )

    @property
    def nearest_neighbor(self) -> float:
        """Å."""
        return self._shell.nearest

    @property
    def coordination(self) -> float:
        """Neighbours within 5 % of the shortest distance of each atom, mean over the atoms."""
        return self._shell.coordination

    @property
    def bonds(self) -> Mapping[tuple[str, str], float]:
        """Pair of elements to their share of the shortest bonds."""
        return self._shell.bonds

    def structure(self) -> Structure:
        """The structure as given."""
        return self.given


def _read(paths: Sequence[str]) -> dict[str, Structure]:
    """Name to structure; the file name, with ``#index`` in a file of several."""
    from nanoos.structures.io import iter_paths

    outcomes = list(iter_paths(paths))
    refused = [outcome for outcome in outcomes if outcome.error is not None]
    if refused:
        problems = [f"{outcome.file}: {outcome.error}" for outcome in refused]
        raise ConfigError(
            f"{len(refused)} of {len(outcomes)} candidates cannot be used: {problems[0]}",
            hint="Repair or remove them before the campaign starts.",
            details={"problems": problems},
        )
    frames = Counter(outcome.file for outcome in outcomes)
    names = Counter(Path(file).name for file in frames)
    structures: dict[str, Structure] = {}
    for outcome in outcomes:
        short = Path(outcome.file).name
        name = short if names[short] == 1 else outcome.file
        if frames[outcome.file] > 1:
            name = f"{name}#{outcome.index}"
        if outcome.structure is not None:
            structures[name] = outcome.structure
    return structures


class StructureSpace:
    """Given structures as candidates; structures with the same content are taken once.

    Args:
        structures: Name to structure; the order is kept.
    """

    Config: ClassVar[type[BaseModel]] = StructureSpaceConfig

    def __init__(self, structures: Mapping[str, Structure]) -> None:
        if not structures:
            raise ConfigError("The space has no structures.", hint="Give at least one structure.")
        distinct: dict[str, StructurePoint] = {}
        for name, structure in structures.items():
            point = StructurePoint(key=name, given=structure.validated())
            distinct.setdefault(structure.content_hash, point)
        self._points = {point.key: point for point in distinct.values()}
        self._raw_size = len(structures)

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | BaseModel) -> Self:
        """Read the files.

        Raises:
            ConfigError: a path does not exist, or a file cannot be read.
        """
        if not isinstance(config, StructureSpaceConfig):
            try:
                config = StructureSpaceConfig.model_validate(config)
            except ValidationError as error:
                known = tuple(StructureSpaceConfig.model_fields)
                raise config_error("structures", error, known=known) from error
        return cls(_read(config.paths))

    @property
    def raw_size(self) -> int:
        """Number of structures given."""
        return self._raw_size

    @property
    def size(self) -> int:
        """Number of different structures."""
        return len(self._points)

    @property
    def excluded(self) -> Mapping[str, int]:
        """``same_crystal``: structures with the content of an earlier one."""
        removed = self._raw_size - len(self._points)
        return MappingProxyType({"same_crystal": removed} if removed else {})

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[StructurePoint]:
        return iter(self._points.values())

    def point(self, key: str) -> StructurePoint:
        """The structure called ``key``.

        Raises:
            NotFoundError: not a point of this space.
        """
        found = self._points.get(key)
        if found is None:
            near = difflib.get_close_matches(key, self._points, n=1)
            raise NotFoundError(
                f"{key!r} is not a point of this space.",
                hint=f"Did you mean {near[0]!r}?" if near else None,
            )
        return found
