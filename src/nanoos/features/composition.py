"""Descriptors of a candidate for a surrogate: composition statistics and a few scalars.

Cheap on purpose (thousands a second): nothing is relaxed and no graph is built. Element data
come from pymatgen's tables; statistics follow Ward et al., DOI 10.1038/npjcompumats.2016.28.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.structures.elements import ATOMIC_MASSES, ATOMIC_NUMBERS, ELECTRONEGATIVITY

FloatArray = npt.NDArray[np.float64]

ELEMENT_PROPERTIES: Final[tuple[str, ...]] = (
    "electronegativity",
    "mass_u",
    "atomic_radius_a",
    "group",
    "period",
    "melting_point_k",
    "valence_s",
    "valence_p",
    "valence_d",
    "valence_f",
    "valence",
)
"""Columns of the element table. Valence electrons are those outside the noble-gas core, filled
d and f shells of p-block elements not counted."""

STATISTICS: Final[tuple[str, ...]] = ("mean", "range", "std")
"""Over the atoms: weighted mean, largest minus smallest, weighted standard deviation."""

BOND_PROPERTIES: Final[tuple[str, ...]] = ("electronegativity", "atomic_radius_a", "valence")
"""Properties whose mean and difference over the shortest bonds are descriptors: they tell two
crystals apart in which the same elements have exchanged their sites."""

_MAX_Z: Final = 103
_P_BLOCK_GROUP: Final = 13
_D_BLOCK_GROUP: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateDescription:
    """What the descriptors of one candidate are computed from.

    Attributes:
        composition: Element to number of atoms.
        prototype: Name of its prototype, None where there is none.
        volume_per_atom: Å^3, of the starting structure.
        nearest_neighbor: Å.
        coordination: Mean number of nearest neighbours.
        bonds: Pair of elements to the share of the shortest bonds that join them.
    """

    composition: Mapping[str, int]
    prototype: str | None
    volume_per_atom: float
    nearest_neighbor: float
    coordination: float
    bonds: Mapping[tuple[str, str], float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DescriptorTable:
    """Descriptors of many candidates.

    Attributes:
        names: (n_columns,), one name for each column.
        values: (n_candidates, n_columns), float64, in the units the names state.
    """

    names: tuple[str, ...]
    values: FloatArray


@cache
def element_table() -> Mapping[str, FloatArray]:
    """Element to (len(ELEMENT_PROPERTIES),); elements up to Lr, missing entries filled.

    A missing electronegativity (He, Ne, Ar) is 0, a missing radius or melting point the median
    of the table: no such element can be built from a prototype, but a given structure may
    hold one.
    """
    from pymatgen.core.periodic_table import Element

    rows: dict[str, FloatArray] = {}
    with warnings.catch_warnings():  # pymatgen warns for each missing entry of its tables
        warnings.simplefilter("ignore", UserWarning)
        for symbol, number in ATOMIC_NUMBERS.items():
            if number > _MAX_Z:
                break
            element = Element(symbol)
            radius, melting = element.atomic_radius, element.melting_point
            rows[symbol] = np.array(
                [
                    ELECTRONEGATIVITY.get(symbol, 0.0),
                    ATOMIC_MASSES[symbol],
                    np.nan if radius is None else float(radius),
                    element.group,
                    element.row,
                    np.nan if melting is None else float(melting),
                    *_valence(element.full_electronic_structure, element.group, element.row),
                ]
            )
    medians = np.nanmedian(np.array(list(rows.values())), axis=0)
    return {symbol: np.where(np.isnan(row), medians, row) for symbol, row in rows.items()}


def _valence(shells: Sequence[tuple[int, str, int]], group: int, outer: int) -> list[float]:
    """Electrons outside the closed core in s, p, d, f shells, and their sum."""
    counts = dict.fromkeys("spdf", 0.0)
    for n, letter, electrons in shells:
        open_d = letter == "d" and n == outer - 1 and group < _P_BLOCK_GROUP
        open_f = letter == "f" and n == outer - 2 and group == _D_BLOCK_GROUP
        if (n == outer and letter in "sp") or open_d or open_f:
            counts[letter] += electrons
    return [*counts.values(), sum(counts.values())]


def composition_statistics(compositions: Sequence[Mapping[str, int]]) -> DescriptorTable:
    """Mean, range and standard deviation of element properties over the atoms.

    Args:
        compositions: Element to number of atoms, one for each candidate.

    Returns:
        (n_candidates, 3 * len(ELEMENT_PROPERTIES)), names like ``mean_electronegativity``.

    Raises:
        InvalidInputError: an element beyond Lr or unknown, or an empty composition.
    """
    table = element_table()
    width = len(ELEMENT_PROPERTIES)
    values = np.empty((len(compositions), len(STATISTICS) * width))
    for i, composition in enumerate(compositions):
        try:
            data = np.array([table[symbol] for symbol in composition])
        except KeyError as error:
            raise InvalidInputError(
                f"There are no descriptors for the element {error.args[0]!r}.",
                hint="Descriptors cover H to Lr.",
                code="unknown_element",
            ) from error
        if not len(data):
            raise InvalidInputError("A composition without atoms has no descriptors.")
        weights = np.fromiter(composition.values(), dtype=np.float64)
        weights /= weights.sum()
        mean = weights @ data
        values[i, :width] = mean
        values[i, width : 2 * width] = np.ptp(data, axis=0)
        values[i, 2 * width :] = np.sqrt(weights @ (data - mean) ** 2)
    names = tuple(f"{stat}_{prop}" for stat in STATISTICS for prop in ELEMENT_PROPERTIES)
    return DescriptorTable(names=names, values=values)


def bond_statistics(bonds: Sequence[Mapping[tuple[str, str], float]]) -> DescriptorTable:
    """Mean and mean absolute difference of element properties over the shortest bonds.

    Args:
        bonds: Pair of elements to its share, one mapping for each candidate.

    Returns:
        (n_candidates, 2 * len(BOND_PROPERTIES)).
    """
    table = element_table()
    columns = [ELEMENT_PROPERTIES.index(name) for name in BOND_PROPERTIES]
    values = np.empty((len(bonds), 2 * len(columns)))
    for i, shares in enumerate(bonds):
        ends = np.array([[table[a][columns], table[b][columns]] for a, b in shares])
        weights = np.fromiter(shares.values(), dtype=np.float64)
        weights /= weights.sum()
        values[i, : len(columns)] = weights @ ends.mean(axis=1)
        values[i, len(columns) :] = weights @ np.abs(ends[:, 0] - ends[:, 1])
    names = tuple(
        f"bond_{stat}_{prop}" for stat in ("mean", "difference") for prop in BOND_PROPERTIES
    )
    return DescriptorTable(names=names, values=values)


def candidate_descriptors(candidates: Sequence[CandidateDescription]) -> DescriptorTable:
    """The descriptors of a set of candidates.

    Composition statistics; statistics over the shortest bonds; one column for each prototype present (sorted by name) that is 1
    for its candidates; volume per atom, nearest-neighbour distance and coordination number of
    the starting structures. Not standardised: that belongs to the surrogate.

    Args:
        candidates: All candidates of a campaign; the prototype columns depend on them.

    Returns:
        (n_candidates, n_columns), the same for the same candidates in every process.
    """
    statistics = composition_statistics([c.composition for c in candidates])
    bonds = bond_statistics([c.bonds for c in candidates])
    prototypes = sorted({c.prototype for c in candidates if c.prototype is not None})
    one_hot = np.array(
        [[float(c.prototype == name) for name in prototypes] for c in candidates]
    ).reshape(len(candidates), len(prototypes))
    scalars = np.array(
        [[c.volume_per_atom, c.nearest_neighbor, c.coordination] for c in candidates]
    ).reshape(len(candidates), 3)
    return DescriptorTable(
        names=(
            *statistics.names,
            *bonds.names,
            *(f"is_{name}" for name in prototypes),
            "volume_per_atom_a3",
            "nearest_neighbor_a",
            "coordination",
        ),
        values=np.hstack([statistics.values, bonds.values, one_hot, scalars]),
    )
