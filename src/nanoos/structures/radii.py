"""Tabulated radii and oxidation states, and the neutral assignments that follow from them."""

import itertools
import warnings
from dataclasses import dataclass
from functools import cache

from nanoos.core.errors import InvalidInputError
from nanoos.structures.elements import ATOMIC_NUMBERS, ELECTRONEGATIVITY


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementRadii:
    """Radii of one element, Å, and its oxidation states, from pymatgen's tables.

    Attributes:
        atomic_a: Slater's empirical radius, DOI 10.1063/1.1725697.
        metallic_a: Twelve-coordinate metallic radius; Slater's where there is none.
        ionic_a: Oxidation state to Shannon crystal radius, DOI 10.1107/S0567739476001551.
        common_states: The usual oxidation states.
        states: All states seen in the ICSD, and the usual ones.
    """

    atomic_a: float
    metallic_a: float
    ionic_a: dict[int, float]
    common_states: frozenset[int]
    states: tuple[int, ...]


@cache
def element_radii(symbol: str) -> ElementRadii:
    """The tabulated radii of ``symbol``.

    Raises:
        InvalidInputError: unknown element, or one without a radius (noble gases and elements
            that were never made in weighable amounts).
    """
    from pymatgen.core.periodic_table import Element

    if symbol not in ATOMIC_NUMBERS:
        raise InvalidInputError(
            f"{symbol!r} is not an element.",
            hint="Use chemical symbols: Ti, C, Sr.",
            code="unknown_element",
        )
    with warnings.catch_warnings():  # pymatgen warns for each missing entry of its tables
        warnings.simplefilter("ignore", UserWarning)
        element = Element(symbol)
        atomic, metallic = element.atomic_radius, element.metallic_radius
        ionic = {int(q): float(r) for q, r in element.ionic_radii.items()}
        common = frozenset(int(q) for q in element.common_oxidation_states)
        seen = common | {int(q) for q in element.icsd_oxidation_states}
    if atomic is None:
        raise InvalidInputError(
            f"There is no tabulated atomic radius for {symbol}.",
            hint=f"Leave {symbol} out of the space.",
            code="unknown_radius",
        )
    return ElementRadii(
        atomic_a=float(atomic),
        metallic_a=float(metallic) if metallic is not None else float(atomic),
        ionic_a=ionic,
        common_states=common,
        states=tuple(sorted(seen - {0})),
    )


@cache
def neutral_oxidation_states(
    elements: tuple[str, ...], counts: tuple[int, ...]
) -> tuple[int, ...] | None:
    """One oxidation state for each element such that the formula is neutral, or None.

    Every element takes one state on all its sites, and every cation is less electronegative
    than every anion. Among several assignments the one with the most usual states is taken,
    then the one with the smallest charges.

    Args:
        elements: Symbols; repeats are allowed and treated as separate sites.
        counts: How many atoms of each, same length.
    """
    choices = [element_radii(symbol).states for symbol in elements]
    best: tuple[tuple[int, int, tuple[int, ...]], tuple[int, ...]] | None = None
    for states in itertools.product(*choices):
        if sum(q * n for q, n in zip(states, counts, strict=True)) != 0:
            continue
        chi = [ELECTRONEGATIVITY.get(symbol, 0.0) for symbol in elements]
        cations = [x for x, q in zip(chi, states, strict=True) if q > 0]
        anions = [x for x, q in zip(chi, states, strict=True) if q < 0]
        if not cations or not anions or max(cations) >= min(anions):
            continue
        unusual = sum(
            q not in element_radii(symbol).common_states
            for symbol, q in zip(elements, states, strict=True)
        )
        rank = (unusual, sum(abs(q) for q in states), states)
        if best is None or rank < best[0]:
            best = (rank, states)
    return best[1] if best else None
