"""Properties that a crystal predicted to be a metal does not have."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from nanoos.core.records import OUTSIDE_NOTE, PropertyValue

_LIKELY_METAL: Final = 0.5


def without_index_of_metals(
    found: Mapping[str, PropertyValue],
) -> tuple[dict[str, PropertyValue], tuple[str, ...]]:
    """The refractive index of a likely metal, marked as outside the domain.

    Args:
        found: Name to value; where ``is_metal`` or ``refractive_index`` is missing, nothing changes.

    Returns:
        The properties, and the note that says why one is marked, if one is.
    """
    metal, index = found.get("is_metal"), found.get("refractive_index")
    if metal is None or metal.value is None or metal.value < _LIKELY_METAL or index is None:
        return dict(found), ()
    marked = replace(index, out_of_domain=True)
    reason = "this is likely a metal, and indices were learnt from insulators"
    return {**found, "refractive_index": marked}, (f"{OUTSIDE_NOTE} (refractive index): {reason}.",)
