"""The space of prototypes with element choices."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nanoos.core.errors import ConfigError, NanoosError, NotFoundError
from nanoos.design.spaces.errors import config_error
from nanoos.structures import Structure
from nanoos.structures.generate import build_prototype, geometry, get_prototype, lattice_constant
from nanoos.structures.prototypes import PROTOTYPES
from nanoos.structures.radii import element_radii, neutral_oxidation_states

MAX_RAW_SIZE = 2_000_000
"""More combinations than this are refused: a surrogate could not score them in a session."""


class PrototypeSpaceConfig(BaseModel):
    """Prototypes and the elements that may fill their roles."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["prototypes"] = "prototypes"
    prototypes: dict[str, dict[str, list[str]]] = Field(min_length=1)
    """Prototype to role to element symbols."""
    charge_neutral: bool | list[str] = True
    """True: prototypes flagged ionic must have neutral oxidation states; a list: exactly the
    prototypes named; False: none."""
    exclude_elements: list[str] = Field(default_factory=list)
    """Elements that may not appear anywhere."""
    allow_repeats: bool = False
    """Whether one element may fill two roles of the same crystal."""

    @model_validator(mode="after")
    def _known_names(self) -> Self:
        try:
            for name, roles in self.prototypes.items():
                prototype = get_prototype(name)
                if set(roles) != set(prototype.roles):
                    raise ConfigError(
                        f"{name} has the roles {', '.join(prototype.roles)}, "
                        f"not {', '.join(roles) or 'none'}."
                    )
                for role, symbols in roles.items():
                    self._check_symbols(f"{name}, role {role}", symbols)
            for name in self.charge_neutral if isinstance(self.charge_neutral, list) else ():
                get_prototype(name)
                if name not in self.prototypes:
                    raise ConfigError(f"charge_neutral names {name}, which is not in the space.")
        except NanoosError as error:
            raise ValueError(f"{error.message} {error.hint or ''}".strip()) from error
        return self

    @staticmethod
    def _check_symbols(where: str, symbols: list[str]) -> None:
        if not symbols:
            raise ConfigError(f"{where}: no elements.")
        repeated = [s for s, n in Counter(symbols).items() if n > 1]
        if repeated:
            raise ConfigError(f"{where}: {repeated[0]} is listed twice.")
        for symbol in symbols:
            element_radii(symbol)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrototypePoint:
    """A prototype filled with elements.

    Attributes:
        prototype: Name of the prototype.
        elements: Role to symbol, in the order of the prototype's roles.
    """

    prototype: str
    elements: Mapping[str, str] = field(hash=False)

    @property
    def key(self) -> str:
        """For example ``rocksalt:A=Ti,X=C``."""
        return point_key(self.prototype, self.elements)

    @property
    def parameters(self) -> Mapping[str, str | float]:
        """The prototype and the element of each role."""
        return {"prototype": self.prototype, **self.elements}

    @property
    def composition(self) -> Mapping[str, int]:
        """Element to number of atoms in the primitive cell."""
        counts: Counter[str] = Counter()
        for role, number in get_prototype(self.prototype).counts.items():
            counts[self.elements[role]] += number
        return counts

    @property
    def volume_per_atom(self) -> float:
        """Å^3, from tabulated radii."""
        a = lattice_constant(self.prototype, self.elements)
        n_sites = len(get_prototype(self.prototype).sites)
        return geometry(self.prototype).volume * a**3 / n_sites

    @property
    def nearest_neighbor(self) -> float:
        """Å, from tabulated radii."""
        a = lattice_constant(self.prototype, self.elements)
        return geometry(self.prototype).nearest * a

    @property
    def coordination(self) -> float:
        """Mean over the atoms."""
        counts = get_prototype(self.prototype).counts
        shells = geometry(self.prototype).coordination
        return sum(shells[role] * n for role, n in counts.items()) / sum(counts.values())

    @property
    def bonds(self) -> Mapping[tuple[str, str], float]:
        """Pair of elements to their share of the shortest bonds."""
        shares: dict[tuple[str, str], float] = {}
        for (first, second), share in geometry(self.prototype).bonds.items():
            one, other = sorted((self.elements[first], self.elements[second]))
            shares[one, other] = shares.get((one, other), 0.0) + share
        return shares

    def structure(self) -> Structure:
        """The primitive cell, started from tabulated radii."""
        return build_prototype(self.prototype, self.elements)


def point_key(prototype: str, elements: Mapping[str, str]) -> str:
    """The stable key of a filled prototype: ``rocksalt:A=Ti,X=C``."""
    return f"{prototype}:" + ",".join(f"{role}={symbol}" for role, symbol in elements.items())


class PrototypeSpace:
    """Prototypes × elements, less what the constraints remove.

    Points come prototype by prototype in the order of the configuration, the last role changing
    fastest. Of two assignments that are the same crystal (Ti and C exchanged in rock salt) the
    first is kept.
    """

    Config: ClassVar[type[BaseModel]] = PrototypeSpaceConfig

    def __init__(self, config: PrototypeSpaceConfig) -> None:
        self.config = config
        banned = set(config.exclude_elements)
        self._choices: dict[str, dict[str, list[str]]] = {
            name: {
                role: [s for s in roles[role] if s not in banned] for role in PROTOTYPES[name].roles
            }
            for name, roles in config.prototypes.items()
        }
        self._raw_size = sum(
            math.prod(len(symbols) for symbols in roles.values())
            for roles in config.prototypes.values()
        )
        if self._raw_size > MAX_RAW_SIZE:
            raise ConfigError(
                f"The space has {self._raw_size:,} combinations; the limit is {MAX_RAW_SIZE:,}.",
                hint="Fewer elements in a role, or fewer prototypes.",
                code="space_too_large",
            )

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | BaseModel) -> Self:
        """Build the space from a mapping or a :class:`PrototypeSpaceConfig`.

        Raises:
            ConfigError: unknown prototype, role or element, or too many combinations.
        """
        if isinstance(config, PrototypeSpaceConfig):
            return cls(config)
        try:
            return cls(PrototypeSpaceConfig.model_validate(config))
        except ValidationError as error:
            known = tuple(PrototypeSpaceConfig.model_fields)
            raise config_error("prototypes", error, known=known) from error

    @property
    def raw_size(self) -> int:
        """Product of the numbers of choices, summed over the prototypes."""
        return self._raw_size

    @cached_property
    def _enumerated(self) -> tuple[tuple[PrototypePoint, ...], Mapping[str, int]]:
        points: list[PrototypePoint] = []
        reasons: Counter[str] = Counter()
        for name, roles in self._choices.items():
            allowed = math.prod(len(symbols) for symbols in roles.values())
            listed = math.prod(len(symbols) for symbols in self.config.prototypes[name].values())
            reasons["excluded_element"] += listed - allowed
            for combination in itertools.product(*roles.values()):
                elements = dict(zip(roles, combination, strict=True))
                reason = self._refusal(name, elements)
                if reason is None and self._comes_later(name, elements):
                    reason = "same_crystal"
                if reason is None:
                    frozen = MappingProxyType(elements)
                    points.append(PrototypePoint(prototype=name, elements=frozen))
                else:
                    reasons[reason] += 1
        return tuple(points), MappingProxyType({k: n for k, n in reasons.items() if n})

    def _refusal(self, name: str, elements: Mapping[str, str]) -> str | None:
        """Why this combination is not a point, None where it is one."""
        if not self.config.allow_repeats and len(set(elements.values())) < len(elements):
            return "repeated_element"
        wanted = self.config.charge_neutral
        prototype = PROTOTYPES[name]
        neutral = name in wanted if isinstance(wanted, list) else (wanted and prototype.ionic)
        if neutral:
            counts = prototype.counts
            states = neutral_oxidation_states(
                tuple(elements[role] for role in counts), tuple(counts.values())
            )
            if states is None:
                return "not_neutral"
        return None

    def _comes_later(self, name: str, elements: Mapping[str, str]) -> bool:
        """Whether the same crystal, roles exchanged, stands earlier in this space."""
        roles = self._choices[name]
        for group in PROTOTYPES[name].equivalent:
            for order in itertools.permutations(group):
                other = dict(elements)
                for role, source in zip(group, order, strict=True):
                    other[role] = elements[source]
                if any(symbol not in roles[role] for role, symbol in other.items()):
                    continue
                earlier = self._rank(name, other) < self._rank(name, elements)
                if earlier and self._refusal(name, other) is None:
                    return True
        return False

    def _rank(self, name: str, elements: Mapping[str, str]) -> tuple[int, ...]:
        return tuple(choices.index(elements[role]) for role, choices in self._choices[name].items())

    @property
    def size(self) -> int:
        """Number of points; no structure is built to count them."""
        return len(self._enumerated[0])

    @property
    def excluded(self) -> Mapping[str, int]:
        """Reason to number of combinations it removed.

        Reasons: ``excluded_element``, ``repeated_element``, ``not_neutral``, ``same_crystal``.
        """
        return self._enumerated[1]

    @cached_property
    def _by_key(self) -> Mapping[str, PrototypePoint]:
        return {point.key: point for point in self._enumerated[0]}

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[PrototypePoint]:
        return iter(self._enumerated[0])

    def point(self, key: str) -> PrototypePoint:
        """The point called ``key``.

        Raises:
            NotFoundError: not a point of this space.
        """
        found = self._by_key.get(key)
        if found is None:
            raise NotFoundError(
                f"{key!r} is not a point of this space.",
                hint="Keys look like rocksalt:A=Ti,X=C, roles in the order of the prototype.",
            )
        return found
