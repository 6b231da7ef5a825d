"""Real structures from a prototype and elements, the cell started from tabulated radii."""

import difflib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from nanoos.core.errors import InvalidInputError, NotFoundError
from nanoos.structures.prototypes import PROTOTYPES, Prototype
from nanoos.structures.radii import element_radii, neutral_oxidation_states
from nanoos.structures.structure import Structure

_SHELL_TOLERANCE = 1.05
"""Neighbours within this factor of the shortest distance belong to the first shell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Numbers of a prototype in units of its lattice constant ``a``.

    Attributes:
        volume: Cell volume, a^3.
        contacts: Shortest distance of each pair of roles in ``Prototype.contacts``, a.
        nearest: Shortest distance between any two sites, a.
        coordination: Role to number of neighbours in the first shell (any element, within 5 %
            of the shortest distance from that role).
        bonds: Pair of roles (sorted) to its share of the shortest bonds, within 5 %.
    """

    volume: float
    contacts: Mapping[tuple[str, str], float]
    nearest: float
    coordination: Mapping[str, float]
    bonds: Mapping[tuple[str, str], float]


def get_prototype(name: str) -> Prototype:
    """The prototype called ``name``.

    Raises:
        NotFoundError: no such prototype; the hint gives the nearest name.
    """
    found = PROTOTYPES.get(name)
    if found is None:
        near = difflib.get_close_matches(name.casefold(), PROTOTYPES, n=1)
        known = "Known: " + ", ".join(PROTOTYPES) + "."
        raise NotFoundError(
            f"There is no prototype named {name!r}.",
            hint=f"Did you mean {near[0]!r}? {known}" if near else known,
        )
    return found


@cache
def geometry(name: str) -> Geometry:
    """Distances and coordination numbers of a prototype."""
    prototype = get_prototype(name)
    lattice = np.array(prototype.lattice, dtype=np.float64)
    coords = np.array([c for _, c in prototype.sites], dtype=np.float64)
    roles = [role for role, _ in prototype.sites]
    images = np.array(list(itertools.product((-2, -1, 0, 1, 2), repeat=3)))
    between = (coords[None, :, None] - coords[:, None, None] + images) @ lattice
    distances = np.linalg.norm(between, axis=-1)  # (site, neighbour, image)
    distances[distances < 1e-9] = np.inf  # the site itself  # noqa: PLR2004

    def pair(first: str, second: str) -> float:
        rows = [i for i, role in enumerate(roles) if role == first]
        columns = [j for j, role in enumerate(roles) if role == second]
        return float(distances[np.ix_(rows, columns)].min())

    def coordination(role: str) -> float:
        rows = distances[[i for i, r in enumerate(roles) if r == role]].reshape(
            -1, distances[0].size
        )
        shell = rows <= _SHELL_TOLERANCE * rows.min(axis=1, keepdims=True)
        return float(shell.sum(axis=1).mean())

    shortest = (distances <= _SHELL_TOLERANCE * distances.min()).sum(axis=-1)
    bonds: dict[tuple[str, str], float] = {}
    for i, j in np.argwhere(shortest):
        one, other = sorted((roles[i], roles[j]))
        bonds[one, other] = bonds.get((one, other), 0.0) + shortest[i, j] / shortest.sum()

    return Geometry(
        volume=float(abs(np.linalg.det(lattice))),
        contacts={pair_: pair(*pair_) for pair_ in prototype.contacts},
        nearest=float(distances.min()),
        coordination={role: coordination(role) for role in prototype.roles},
        bonds=bonds,
    )


def _radii(prototype: Prototype, elements: Mapping[str, str]) -> tuple[dict[str, float], bool]:
    """Role to radius (Å), and whether they are ionic."""
    tables = {role: element_radii(elements[role]) for role in prototype.roles}
    if prototype.ionic_volume_factor is not None:
        states = neutral_oxidation_states(
            tuple(elements[role] for role in prototype.roles), tuple(prototype.counts.values())
        )
        if states is not None:
            ionic = {
                role: tables[role].ionic_a.get(q)
                for role, q in zip(prototype.roles, states, strict=True)
            }
            known = {role: radius for role, radius in ionic.items() if radius is not None}
            if len(known) == len(ionic):
                return known, True
    metal_share = {"atomic": 0.0, "metallic": 1.0, "mixed": 0.5}[prototype.radii]
    return {
        role: (1 - metal_share) * table.atomic_a + metal_share * table.metallic_a
        for role, table in tables.items()
    }, False


def lattice_constant(name: str, elements: Mapping[str, str]) -> float:
    """The starting lattice constant ``a`` in Å: radii fitted to the bonds of the prototype.

    Args:
        name: Prototype.
        elements: Role to symbol.

    Raises:
        InvalidInputError: a role is missing or unknown, or an element has no radius.
    """
    prototype = get_prototype(name)
    _check_roles(prototype, elements)
    radii, ionic = _radii(prototype, elements)
    lengths = [
        (radii[first] + radii[second]) / distance
        for (first, second), distance in geometry(name).contacts.items()
    ]
    # ions touch anions of the tightest site; other bonds share the strain
    largest = prototype.combine == "max" or ionic
    a = max(lengths) if largest else sum(lengths) / len(lengths)
    factor = prototype.volume_factor
    if ionic and prototype.ionic_volume_factor is not None:
        factor = prototype.ionic_volume_factor
    return float(a * factor ** (1 / 3))


def build_prototype(
    name: str, elements: Mapping[str, str], *, volume_scale: float = 1.0
) -> Structure:
    """The primitive cell of a prototype with the given elements.

    The volume is a start for a relaxation, not an equilibrium: over the crystals of the
    Materials Project of each type it is off by about 10 % on average.

    Args:
        name: A key of :data:`~nanoos.structures.prototypes.PROTOTYPES`.
        elements: Role to chemical symbol, every role exactly once.
        volume_scale: Factor on the volume.

    Raises:
        NotFoundError: no such prototype.
        InvalidInputError: roles or elements do not fit, or the scale is not positive.
    """
    if not volume_scale > 0:
        raise InvalidInputError(
            f"volume_scale is {volume_scale}, it must be positive.", hint="1.0 keeps the volume."
        )
    prototype = get_prototype(name)
    a = lattice_constant(name, elements) * volume_scale ** (1 / 3)
    return Structure(
        lattice=a * np.array(prototype.lattice, dtype=np.float64),
        species=tuple(elements[role] for role, _ in prototype.sites),
        frac_coords=np.array([c for _, c in prototype.sites], dtype=np.float64) % 1.0,
    ).validated()


def _check_roles(prototype: Prototype, elements: Mapping[str, str]) -> None:
    if set(elements) != set(prototype.roles):
        raise InvalidInputError(
            f"{prototype.name} has the roles {', '.join(prototype.roles)}; "
            f"elements were given for {', '.join(elements) or 'none'}.",
            hint=f"{prototype.title}. Give one element for each role.",
            code="wrong_roles",
        )
