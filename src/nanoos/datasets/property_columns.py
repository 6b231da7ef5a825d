"""Which column is which property, and in which unit: guessed where the name is well known."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from nanoos.core.errors import InvalidInputError

PROPERTY_UNITS: Final[Mapping[str, str]] = {
    "bandgap": "eV",
    "formation_energy": "eV/atom",
    "fermi_energy": "eV",
    "is_metal": "1",
    "e_above_hull": "eV/atom",
    "e_above_hull_subset": "eV/atom",
    "bulk_modulus": "GPa",
    "shear_modulus": "GPa",
    "poisson_ratio": "1",
    "refractive_index": "1",
    "last_phonon_peak": "cm^-1",
    "energy_per_atom": "eV/atom",
    "stability_score": "1",
    "max_force": "eV/Å",
}
"""The platform's own properties with the unit that each is kept in."""

_ALIASES: Final[Mapping[str, str]] = {
    "band_gap": "bandgap",
    "gap_pbe": "bandgap",
    "formation_energy_peratom": "formation_energy",
    "e_form_per_atom": "formation_energy",
    "efermi": "fermi_energy",
    "energy_above_hull": "e_above_hull",
    "ehull": "e_above_hull",
    "k_vrh": "bulk_modulus",
    "bulk_modulus_vrh": "bulk_modulus",
    "g_vrh": "shear_modulus",
    "shear_modulus_vrh": "shear_modulus",
    "poisson": "poisson_ratio",
    "homogeneous_poisson": "poisson_ratio",
    "refractive_index_n": "refractive_index",
    "last_phdos_peak": "last_phonon_peak",
    "energy_ev_per_atom": "energy_per_atom",
    "final_energy_per_atom": "energy_per_atom",
}
"""Other people's names, in lower case with underscores and without unit."""

_PER_ATOM: Final = ("formation_energy", "e_above_hull", "e_above_hull_subset")
"""``formation_energy_eV`` may be of the cell: only a name that says per atom is taken for these."""

_UNIT_SUFFIXES: Final[tuple[tuple[str, str], ...]] = (
    ("_mev_per_atom", "meV/atom"),
    ("_mev_atom", "meV/atom"),
    ("_ev_per_atom", "eV/atom"),
    ("_ev_atom", "eV/atom"),
    ("_kj_per_mol", "kJ/mol"),
    ("_ev_per_a", "eV/Å"),
    ("_per_atom", "eV/atom"),
    ("_mev", "meV"),
    ("_ev", "eV"),
    ("_gpa", "GPa"),
    ("_mpa", "MPa"),
    ("_cm_1", "cm^-1"),
    ("_thz", "THz"),
    ("_mub", "μB"),
    ("_a3", "Å^3"),
    ("_a", "Å"),
    ("_k", "K"),
)

_FACTORS: Final[Mapping[tuple[str, str], float]] = {
    ("meV", "eV"): 1e-3,
    ("meV/atom", "eV/atom"): 1e-3,
    ("MPa", "GPa"): 1e-3,
    ("THz", "cm^-1"): 33.35640951981521,
}
"""(given, kept): number to multiply by."""

_WORDS: Final[Mapping[str, float]] = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
_NOTHING: Final = frozenset({"", "na", "n/a", "nan", "none", "null", "-"})

LOG10: Final = "log10"
"""Prefix of the unit of a column that holds logarithms: ``log10(GPa)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetColumn:
    """A column that becomes a target.

    Attributes:
        target: Property name.
        column: The source's own name.
        unit: Unit that the numbers are kept in.
        factor: Column times this is in ``unit``.
        log10: Whether the column holds logarithms to base 10 (before the factor).
    """

    target: str
    column: str
    unit: str
    factor: float = 1.0
    log10: bool = False

    def value(self, cell: object) -> float | None:
        """The number of a cell in ``unit``; None where the cell is empty or says so (``na``).

        Raises:
            InvalidInputError: it is something else than a number.
        """
        number = read_number(cell, self.column)
        if number is None:
            return None
        return (10.0**number if self.log10 else number) * self.factor


def read_number(cell: object, column: str) -> float | None:
    """A cell as a number; None where it is empty, NaN or says that there is none.

    Raises:
        InvalidInputError: it is something else, or infinite (``not_a_number``).
    """
    if cell is None:
        return None
    if isinstance(cell, bool):
        return float(cell)
    if isinstance(cell, str):
        word = cell.strip().casefold()
        if word in _NOTHING:
            return None
        if word in _WORDS:
            return _WORDS[word]
    try:
        number = float(cell)  # type: ignore[arg-type] # whatever it is, it is tried
    except (TypeError, ValueError):
        number = float("inf")
    if number in {float("inf"), float("-inf")}:
        raise InvalidInputError(
            f"{column} is {str(cell)[:40]!r}, which is no number.",
            hint="Correct the cell, or leave it empty where the value is not known.",
            details={"column": column},
            code="not_a_number",
        )
    return None if number != number else number  # noqa: PLR0124 - NaN


def normal_name(column: str) -> str:
    """A column's name in lower case, everything but letters and digits as one underscore."""
    return re.sub(r"[^a-z0-9]+", "_", column.casefold()).strip("_")


def guess_target(column: str) -> TargetColumn | None:
    """The property that a column's name clearly means, None where it means none of ours.

    ``band_gap_eV`` is ``bandgap`` in eV, ``last phdos peak`` is ``last_phonon_peak`` in cm^-1,
    ``log10(K_VRH)`` is ``bulk_modulus``; an energy that may be of the cell is nothing.
    """
    name = normal_name(column)
    log10 = name.startswith(f"{LOG10}_")
    name = name.removeprefix(f"{LOG10}_")
    bare, unit = _split_unit(name)
    target = _property(name) or _property(bare)
    if target is None:
        return None
    if target in _PER_ATOM and unit is not None and not unit.endswith("/atom"):
        return None
    given = unit or PROPERTY_UNITS[target]
    kept = PROPERTY_UNITS[target]
    known = given == kept or (given, kept) in _FACTORS
    return _converted(target, column, given, log10=log10) if known else None


def _property(name: str) -> str | None:
    found = _ALIASES.get(name, name)
    return found if found in PROPERTY_UNITS else None


def _split_unit(name: str) -> tuple[str, str | None]:
    for suffix, unit in _UNIT_SUFFIXES:
        if name.endswith(suffix) and len(name) > len(suffix):
            return name.removesuffix(suffix), unit
    return name, None


def _converted(target: str, column: str, given: str, *, log10: bool = False) -> TargetColumn:
    kept = PROPERTY_UNITS.get(target, given)
    factor = 1.0 if given == kept else _FACTORS.get((given, kept))
    if factor is None:
        raise InvalidInputError(
            f"The column {column!r} is in {given}, {target} is kept in {kept}.",
            hint="Give it another target name (for example --target NAME=COLUMN), or convert it.",
            code="unlike_unit",
        )
    return TargetColumn(target=target, column=column, unit=kept, factor=factor, log10=log10)


def choose_targets(
    columns: Sequence[str], wanted: Mapping[str, str], units: Mapping[str, str]
) -> list[TargetColumn]:
    """Which columns become targets.

    Args:
        columns: All columns of the source.
        wanted: Target name to column; empty: every column whose name is well known.
        units: Target name to unit of its column, where the name does not say or is wrong;
            ``log10(GPa)`` for logarithms.

    Raises:
        InvalidInputError: no such column, a unit that nobody knows, two columns for one
            property, or nothing to take.
    """
    stray = sorted(set(units) - set(wanted)) if wanted else []
    if stray:
        raise InvalidInputError(
            f"A unit is given for {stray[0]!r}, which is no target.",
            hint=f"Targets: {', '.join(sorted(wanted))}.",
        )
    if wanted:
        return [_wanted(name, column, columns, units) for name, column in wanted.items()]
    return _guessed(columns, units)


def _wanted(
    target: str, column: str, columns: Sequence[str], units: Mapping[str, str]
) -> TargetColumn:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,59}", target):
        raise InvalidInputError(
            f"{target!r} is no name for a target.",
            hint="Use small letters, digits and underscores: bandgap, formation_energy.",
        )
    if column not in columns:
        raise InvalidInputError(f"There is no column {column!r}.", hint=_known(columns))
    if target in units:
        given = units[target]
        log10 = given.startswith(f"{LOG10}(") and given.endswith(")")
        return _converted(target, column, given[6:-1] if log10 else given, log10=log10)
    guess = guess_target(column)
    if guess is not None and guess.target == target:
        return guess
    unit = _split_unit(normal_name(column))[1] or PROPERTY_UNITS.get(target)
    if unit is None:
        raise InvalidInputError(
            f"The unit of {target} (column {column!r}) is not known.",
            hint=f"Give it: --unit {target}=UNIT ('1' for a number without unit).",
            code="unknown_unit",
        )
    return _converted(target, column, unit)


def _guessed(columns: Sequence[str], units: Mapping[str, str]) -> list[TargetColumn]:
    found: dict[str, TargetColumn] = {}
    for column in columns:
        guess = guess_target(column)
        if guess is None:
            continue
        if guess.target in found:
            raise InvalidInputError(
                f"Both {found[guess.target].column!r} and {column!r} could be {guess.target}.",
                hint=f"Say which: --target {guess.target}=COLUMN.",
                code="ambiguous_columns",
            )
        found[guess.target] = guess
    for target, unit in units.items():
        if target not in found:
            raise InvalidInputError(
                f"A unit is given for {target!r}, which no column is.", hint=_known(columns)
            )
        found[target] = _wanted(target, found[target].column, columns, {target: unit})
    if not found:
        raise InvalidInputError(
            "No column has a name that means one of our properties.",
            hint=f"Say which: --target bandgap=COLUMN. {_known(columns)}",
            code="no_target",
        )
    return list(found.values())


def _known(columns: Iterable[str]) -> str:
    names = list(columns)
    return f"Columns: {', '.join(names[:40])}{', ...' if len(names) > 40 else ''}."  # noqa: PLR2004


def some_values(values: dict[str, float]) -> dict[str, float]:
    """``values``, of which there must be one. Raises InvalidInputError (``no_target_value``)."""
    if not values:
        raise InvalidInputError(
            "The row has no number for any of the targets.",
            hint="Fill in a cell, or leave the row out.",
            code="no_target_value",
        )
    return values


ReadCells = Callable[[Mapping[str, object]], dict[str, float]]


def cell_reader(targets: Sequence[TargetColumn]) -> ReadCells:
    """A function from the cells of a row to its targets; unknown ones are left out."""

    def read(cells: Mapping[str, object]) -> dict[str, float]:
        values = {one.target: one.value(cells.get(one.column)) for one in targets}
        return {target: value for target, value in values.items() if value is not None}

    return read
