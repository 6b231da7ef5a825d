"""Which elements a potential covers, answered without loading it."""

from collections.abc import Iterable
from typing import Final

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.structures.elements import SYMBOLS

MPTRJ_ELEMENTS: Final = frozenset(SYMBOLS[1:95]) - {"Po", "At", "Rn", "Fr", "Ra"}
"""The 89 elements of the MPtrj set; a network trained on it answers for others, wrongly."""

CORDERO_ELEMENTS: Final = frozenset(SYMBOLS[1:97])
"""Elements with a tabulated covalent radius, hydrogen to curium."""

_LIGHT: Final = {
    "CHGNet": MPTRJ_ELEMENTS,
    "LJ": CORDERO_ELEMENTS,
    "M3GNET": MPTRJ_ELEMENTS,
    "M3GNET-MatPES-PBE": MPTRJ_ELEMENTS,
    "M3GNET-MatPES-r2SCAN": MPTRJ_ELEMENTS,
    "SevenNet": MPTRJ_ELEMENTS,
    "TensorNet-MatPES-PBE": MPTRJ_ELEMENTS,
    "TensorNet-MatPES-r2SCAN": MPTRJ_ELEMENTS,
}
"""Known here so that a refusal does not load torch; a plug-in's class says its own."""


def covered_elements(name: str) -> frozenset[str]:
    """Symbols that the potential ``name`` (any case) covers.

    Raises:
        NotFoundError: no such potential.
        UnavailableError: a plug-in's package is missing.
    """
    from nanoos.potentials.registry import POTENTIALS, get_potential

    canonical = POTENTIALS.canonical_name(name)
    if canonical in _LIGHT:
        return _LIGHT[canonical]
    declared = getattr(POTENTIALS.get(canonical), "ELEMENTS", None)
    return declared if declared is not None else get_potential(canonical).elements


def potentials_covering(elements: Iterable[str]) -> list[str]:
    """Potentials that can run here, the reference member excepted, and cover all ``elements``."""
    from nanoos.potentials.registry import POTENTIALS, REFERENCE_POTENTIAL, check_potential

    wanted = set(elements)
    found = []
    for name in POTENTIALS.names():
        try:
            check_potential(name)
            covered = covered_elements(name)
        except UnavailableError:
            continue
        if name != REFERENCE_POTENTIAL and wanted <= covered:
            found.append(name)
    return found


def check_elements(name: str, elements: Iterable[str]) -> None:
    """Refuse elements that the potential ``name`` does not know.

    Raises:
        InvalidInputError: code ``uncovered_element``; names the elements and the potentials
            that cover all of them.
    """
    wanted = set(elements)
    missing = sorted(wanted - covered_elements(name))
    if not missing:
        return
    others = potentials_covering(wanted)
    hint = f"Covered by: {', '.join(others)}." if others else "No installed potential covers it."
    raise InvalidInputError(
        f"{name} does not cover {', '.join(missing)}.",
        hint=hint,
        details={"elements": missing, "potential": name, "covered_by": others},
        code="uncovered_element",
    )
