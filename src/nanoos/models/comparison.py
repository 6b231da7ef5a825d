"""Predictions beside results: errors, calibration, and a verdict in words.

Only like quantities are compared: where functional, corrections or reference differ, an error
says so, because a difference of two conventions is not an error of a model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from nanoos.core.errors import InvalidInputError
from nanoos.core.records import QUANTILE_LEVELS, PropertyValue

QUALITIES: Final = ("excellent", "good", "fair", "poor")

BANDS: Final[Mapping[str, tuple[float, float, float]]] = {
    "bandgap": (0.1, 0.3, 0.5),
    "formation_energy": (0.1, 0.3, 0.5),
    "stability_score": (0.05, 0.1, 0.2),
}
"""Property to the absolute errors below which a prediction is excellent, good, fair."""

RELATIVE_BANDS: Final = (0.05, 0.1, 0.2)
"""The same as shares of the simulated value, for properties that :data:`BANDS` does not list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyComparison:
    """One property of one structure.

    Attributes:
        predicted: By the model.
        simulated: By the engine, same unit.
        error: Predicted minus simulated.
        absolute_error: Its size.
        percent_error: Of the simulated value; None where that is 0.
        inside_interval: Whether the simulated value lies in the interval at ``level``; None
            where the model gives none.
        level: Of that interval.
        unit: Of the numbers.
    """

    predicted: float
    simulated: float
    error: float
    absolute_error: float
    percent_error: float | None
    inside_interval: bool | None
    level: float
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertySummary:
    """One property over many structures; never over different units.

    Attributes:
        mean_absolute_error: In ``unit``.
        root_mean_squared_error: In ``unit``.
        n: Structures compared.
        unit: Of the errors.
        coverage: Nominal level to the observed share of simulated values inside the interval;
            empty where nothing was calibrated.
    """

    mean_absolute_error: float
    root_mean_squared_error: float
    n: int
    unit: str
    coverage: Mapping[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What :func:`compare_ml_vs_simulation` and :func:`compare_batch` give.

    Attributes:
        comparisons: For each structure, property name to comparison.
        summary: Property name to summary.
    """

    comparisons: tuple[Mapping[str, PropertyComparison], ...]
    summary: Mapping[str, PropertySummary]


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyQuality:
    """The verdict on one property: one of :data:`QUALITIES`, and its absolute error."""

    quality: str
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """The verdict on a comparison.

    Attributes:
        overall_quality: The worst of the properties.
        property_quality: Property name to verdict, by mean absolute error.
        recommendations: What to do about it.
    """

    overall_quality: str
    property_quality: Mapping[str, PropertyQuality]
    recommendations: tuple[str, ...]


Values = Mapping[str, PropertyValue]


def compare_ml_vs_simulation(
    predicted: Values, simulated: Values, *, level: float = 0.9
) -> Comparison:
    """Compare the properties that both have, of one structure.

    Raises:
        InvalidInputError: code ``nothing_to_compare``, or ``unlike_quantities`` where unit or
            level of theory differ.
    """
    return compare_batch([(predicted, simulated)], level=level)


def compare_batch(pairs: Sequence[tuple[Values, Values]], *, level: float = 0.9) -> Comparison:
    """Compare many structures, each a pair (predicted, simulated).

    Raises:
        InvalidInputError: as :func:`compare_ml_vs_simulation`.
    """
    rows = [_row(predicted, simulated, level) for predicted, simulated in pairs]
    names = sorted({name for row in rows for name in row})
    if not names:
        raise InvalidInputError(
            "Prediction and simulation have no property in common.", code="nothing_to_compare"
        )
    summary = {
        name: _summary([row[name] for row in rows if name in row], name, pairs) for name in names
    }
    return Comparison(comparisons=tuple(rows), summary=summary)


def evaluate_prediction_quality(comparison: Comparison) -> QualityReport:
    """Judge each property by its mean absolute error, and the whole by the worst of them."""
    verdicts = {}
    for name, summary in comparison.summary.items():
        error = summary.mean_absolute_error
        bands = BANDS.get(name)
        if bands is None:
            values = [abs(row[name].simulated) for row in comparison.comparisons if name in row]
            scale = float(np.mean(values))
            low, middle, high = (share * scale for share in RELATIVE_BANDS)
            bands = (low, middle, high)
        # a band's edge belongs to the worse side
        index = int(np.searchsorted(bands, error, side="right"))
        verdicts[name] = PropertyQuality(quality=QUALITIES[index], error=error)
    worst = max((v.quality for v in verdicts.values()), key=QUALITIES.index)
    return QualityReport(
        overall_quality=worst,
        property_quality=verdicts,
        recommendations=_recommendations(verdicts, comparison.summary),
    )


def _row(predicted: Values, simulated: Values, level: float) -> dict[str, PropertyComparison]:
    found = {}
    for name in sorted(set(predicted) & set(simulated)):
        one, other = predicted[name], simulated[name]
        if one.value is None or other.value is None:
            continue
        _check_alike(name, one, other)
        error = one.value - other.value
        interval = one.interval(level)
        inside = None if interval is None else interval[0] <= other.value <= interval[1]
        found[name] = PropertyComparison(
            predicted=one.value,
            simulated=other.value,
            error=error,
            absolute_error=abs(error),
            percent_error=100 * error / abs(other.value) if other.value else None,
            inside_interval=inside,
            level=level,
            unit=one.unit,
        )
    return found


def _check_alike(name: str, one: PropertyValue, other: PropertyValue) -> None:
    """Refuse different units or levels of theory."""
    if one.unit != other.unit:
        what = f"units {one.unit} and {other.unit}"
    elif one.level_of_theory != other.level_of_theory:
        what = f"levels of theory {one.level_of_theory} and {other.level_of_theory}"
    else:
        return
    raise InvalidInputError(
        f"{name} cannot be compared across {what}.",
        hint="Compare with a simulation of the same functional, corrections and reference.",
        details={"property": name},
        code="unlike_quantities",
    )


def _summary(
    rows: Sequence[PropertyComparison], name: str, pairs: Sequence[tuple[Values, Values]]
) -> PropertySummary:
    units = {row.unit for row in rows}
    if len(units) > 1:
        raise InvalidInputError(
            f"{name} comes in the units {', '.join(sorted(units))}: they are not averaged.",
            code="unlike_quantities",
        )
    errors = np.array([row.error for row in rows])
    return PropertySummary(
        mean_absolute_error=float(np.abs(errors).mean()),
        root_mean_squared_error=float(np.sqrt((errors**2).mean())),
        n=len(rows),
        unit=units.pop(),
        coverage=_coverage(name, pairs),
    )


def _coverage(name: str, pairs: Sequence[tuple[Values, Values]]) -> dict[float, float]:
    """Observed share inside the interval for each stored level."""
    found = {}
    for level in QUANTILE_LEVELS:
        inside = []
        for predicted, simulated in pairs:
            one, other = predicted.get(name), simulated.get(name)
            interval = one.interval(level) if one is not None else None
            if interval is not None and other is not None and other.value is not None:
                inside.append(interval[0] <= other.value <= interval[1])
        if inside:
            found[level] = float(np.mean(inside))
    return found


def _recommendations(
    verdicts: Mapping[str, PropertyQuality], summary: Mapping[str, PropertySummary]
) -> tuple[str, ...]:
    found = []
    for name, verdict in verdicts.items():
        where = f"{name} (mean absolute error {verdict.error:.3g} {summary[name].unit})"
        if verdict.quality == "poor":
            found.append(f"Do not decide on {where}: simulate, or train on structures like these.")
        elif verdict.quality == "fair":
            found.append(f"Use {where} for ranking only, and simulate what is chosen.")
    if not found:
        found.append("The predictions are good enough to choose what to simulate.")
    return tuple(found)
