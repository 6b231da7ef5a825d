"""Closed shells: whether a crystal is a metal, by its elements alone."""

from collections.abc import Mapping
from typing import Final

GAP_OF_AN_INSULATOR_EV: Final = 0.3
"""A smaller expected gap is treated as that of a metal."""
ANIONS: Final[Mapping[str, int]] = {
    "F": -1, "Cl": -1, "Br": -1, "I": -1, "O": -2, "S": -2, "Se": -2, "Te": -2, "N": -3, "P": -3,
    "As": -3,
}  # fmt: skip
_CATIONS: Final[Mapping[str, int]] = {
    "H": 1, "Li": 1, "Na": 1, "K": 1, "Rb": 1, "Cs": 1, "Ag": 1, "Be": 2, "Mg": 2, "Ca": 2,
    "Sr": 2, "Ba": 2, "Zn": 2, "Cd": 2, "B": 3, "Al": 3, "Ga": 3, "In": 3, "Sc": 3, "Y": 3,
    "La": 3, "Lu": 3, "C": 4, "Si": 4, "Ge": 4, "Ti": 4, "Zr": 4, "Hf": 4, "Nb": 5, "Ta": 5,
    "Mo": 6, "W": 6,
}  # fmt: skip
"""Charge with closed shells, or with an empty d shell."""
NONMETALS: Final = frozenset(
    (
        "H", "He", "B", "C", "N", "O", "F", "Ne", "Si", "P", "S", "Cl", "Ar", "Ge", "As", "Se", "Br",
        "Kr", "Te", "I", "Xe", "At", "Rn",
    )
)  # fmt: skip


def metal_or_insulator(
    composition: Mapping[str, int], expected_gap_ev: float | None
) -> tuple[bool, str]:
    """Whether to treat a crystal as a metal, and why."""
    if expected_gap_ev is not None:
        metal = expected_gap_ev < GAP_OF_AN_INSULATOR_EV
        return metal, f"a gap of {expected_gap_ev:g} eV is expected"
    if NONMETALS.issuperset(composition):
        return False, "all elements are nonmetals"
    charge = 0
    for symbol, count in composition.items():
        state = ANIONS.get(symbol, _CATIONS.get(symbol))
        if state is None:
            return True, f"{symbol} has no single closed-shell charge"
        charge += state * count
    if charge == 0 and any(symbol in ANIONS for symbol in composition):
        return False, "the closed-shell charges of its ions balance"
    return True, "the closed-shell charges of its elements do not balance"
