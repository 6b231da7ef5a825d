"""What a simulation result says of the properties that models predict, and what it means."""

from collections.abc import Mapping
from typing import Any, Final

from nanoos.core.records import LevelOfTheory, PropertyValue
from nanoos.datasets.property_columns import guess_target

STATED: Final = "level_of_theory"
"""Key of a result's provenance parameters: an engine without a potential (DFT) says there what
its numbers mean: ``{"functional", "corrections", "reference"}``."""

LEVEL_KEYS: Final = ("functional", "corrections", "reference")

_RELATIVE: Final = (
    "formation_energy",
    "e_above_hull",
    "e_above_hull_subset",
    "stability_score",
    "energy_per_atom",  # total energies of two sets of pseudopotentials are not comparable
    "fermi_energy",  # each code, and each set of pseudopotentials, has a zero of its own
)


def simulated_properties(
    values: Mapping[str, Any], provenance: Mapping[str, Any]
) -> dict[str, PropertyValue]:
    """Property name to number, unit and level of theory, for every value with a well-known name.

    Args:
        values: Of the result, the unit in the name (``bulk_modulus_gpa``).
        provenance: Of the result.
    """
    stated = dict(provenance.get("parameters") or {}).get(STATED) or {}
    maker = {key: str(provenance.get(key) or "") for key in ("producer", "version")}
    maker |= {key: str(text) for key, text in stated.items()}
    found: dict[str, PropertyValue] = {}
    for name, given in values.items():
        column = guess_target(name)
        number = None if column is None else column.value(given)
        if column is None or number is None:
            continue
        level = level_of_result(maker, column.target)
        found[column.target] = PropertyValue(value=number, unit=column.unit, level_of_theory=level)
    return found


def level_of_result(maker: Mapping[str, str], target: str) -> LevelOfTheory | None:
    """What a number of a result means.

    Args:
        maker: ``producer`` and ``version`` of the result's provenance and, where the result states
            its level of theory, ``functional``, ``corrections`` and ``reference``.
        target: Property.

    Returns:
        None where nothing is stated and the producer is no potential that is known here.
    """
    if maker.get("functional"):
        stated = LevelOfTheory(**{key: maker[key] for key in LEVEL_KEYS})
        return _of_property(stated, target)
    return _of_potential(maker, target)


def _of_potential(maker: Mapping[str, str], target: str) -> LevelOfTheory | None:
    """What a number of a potential means; formation energies have a reference of their own."""
    from nanoos.models.formation_energy import PotentialFormationEnergy
    from nanoos.potentials import POTENTIALS

    potential = maker["producer"].rpartition("/")[2]
    if potential not in POTENTIALS:
        return None
    level: LevelOfTheory = POTENTIALS.get(potential).level_of_theory  # type: ignore[assignment]
    if target != "formation_energy":
        return level
    for model in PotentialFormationEnergy.__subclasses__():
        if model.potential_name == potential:
            return model.level_of_theory
    version = maker["version"].rpartition("/")[2]
    return LevelOfTheory(
        functional=level.functional,
        corrections=level.corrections,
        reference=f"{potential} {version} elements",
    )


def _of_property(level: LevelOfTheory, target: str) -> LevelOfTheory:
    """Only energies relative to something have a reference."""
    if target in _RELATIVE:
        return level
    return LevelOfTheory(
        functional=level.functional, corrections=level.corrections, reference="none"
    )
