"""The order in which predicted properties are shown: the one place that says it."""

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

Value = TypeVar("Value")

PROPERTIES: Final = (
    "bandgap",
    "formation_energy",
    "e_above_hull_subset",
    "stability_score",
    "is_metal",
    "fermi_energy",
    "bulk_modulus",
    "shear_modulus",
    "poisson_ratio",
    "refractive_index",
    "last_phonon_peak",
)
"""What people ask for first comes first."""

_PLACES: Final = {name: place for place, name in enumerate(PROPERTIES)}


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """``names`` as they are shown; those that are not listed follow by name."""
    return tuple(sorted(names, key=lambda name: (_PLACES.get(name, len(_PLACES)), name)))


def ordered(found: Mapping[str, Value]) -> dict[str, Value]:
    """What ``found`` holds for each property, in the order of :func:`in_order`."""
    return {name: found[name] for name in in_order(found)}
