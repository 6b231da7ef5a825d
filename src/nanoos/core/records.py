"""Frozen records that travel between the parts: predictions, results and where they come from."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from nanoos.core.properties import ordered
from nanoos.core.units import GPA_PER_EV_A3

if TYPE_CHECKING:
    from nanoos.structures import Structure

QUANTILE_LEVELS: tuple[float, ...] = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99)
"""Two-sided interval levels stored with a calibrated prediction; others are interpolated."""

MIXED_PBE: Final = "PBE/PBE+U"
_U_METALS: Final = frozenset({"Co", "Cr", "Fe", "Mn", "Mo", "Ni", "V", "W"})
_U_ANIONS: Final = frozenset({"O", "F"})


OUTSIDE_NOTE: Final = "Outside the domain"
"""How a note of a prediction begins that says why a number is not to be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What produced a value, exactly enough to produce it again.

    Attributes:
        producer: Model, potential or engine name.
        version: Its version.
        weights_sha256: Hash over all weights used, None where there are none.
        parameters: The parameters that shaped the value (JSON types).
        software: Package name to version.
        command: The command that repeats a run by hand, where there is one.
        inputs_sha256: File name to hash of each input file.
    """

    producer: str
    version: str
    weights_sha256: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    software: Mapping[str, str] = field(default_factory=dict)
    command: str | None = None
    inputs_sha256: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelOfTheory:
    """What a number means: two values are comparable only where all three agree.

    Attributes:
        functional: For example ``"PBE/PBE+U"``.
        corrections: For example ``"MP2020"`` or ``"none"``.
        reference: What a formation energy is measured from, ``"none"`` for other properties.
    """

    functional: str
    corrections: str
    reference: str

    def for_elements(self, elements: Collection[str]) -> "LevelOfTheory":
        """What it means for a crystal of these elements.

        ``PBE/PBE+U`` is what Materials Project mixes: U for oxides and fluorides of eight
        transition metals (DOI 10.1103/PhysRevB.84.045115), plain PBE for everything else.
        """
        if self.functional != MIXED_PBE:
            return self
        with_u = bool(_U_METALS & set(elements)) and bool(_U_ANIONS & set(elements))
        return replace(self, functional="PBE+U" if with_u else "PBE")


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyValue:
    """One predicted number.

    Attributes:
        value: In ``unit``; None where the model cannot say.
        unit: ``eV``, ``eV/atom``, ``GPa``, ``1``.
        sigma: One standard deviation, same unit; None where the model has no measured one.
        quantiles: Level to (lower, upper) of the calibrated central interval; empty where the
            model is not calibrated.
        confidence: Calibrated probability that the true value lies in the "good" band; None
            for an uncalibrated model, never invented.
        out_of_domain: None where it cannot be judged.
        level_of_theory: What the number means.
    """

    value: float | None
    unit: str
    sigma: float | None = None
    quantiles: Mapping[float, tuple[float, float]] = field(default_factory=dict)
    confidence: float | None = None
    out_of_domain: bool | None = None
    level_of_theory: LevelOfTheory | None = None

    def interval(self, level: float) -> tuple[float, float] | None:
        """The calibrated interval at ``level`` in (0, 1), interpolated between stored levels.

        Returns None where the model is not calibrated or the level lies outside what was
        measured: an interval is never extrapolated.
        """
        levels = sorted(self.quantiles)
        if not levels or not levels[0] <= level <= levels[-1]:
            return None
        upper_index = next(i for i, stored in enumerate(levels) if stored >= level)
        high = levels[upper_index]
        if high == level:
            return self.quantiles[high]
        low = levels[upper_index - 1]
        weight = (level - low) / (high - low)
        (l0, u0), (l1, u1) = self.quantiles[low], self.quantiles[high]
        return l0 + weight * (l1 - l0), u0 + weight * (u1 - u0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a model says of one structure. A prediction is never a result.

    Attributes:
        properties: Property name (``formation_energy``) to its value; put into the order of
            ``nanoos.core.properties``.
        provenance: Which model and weights.
        notes: Sentences a person must read beside the numbers.
        not_for_decisions: True for reference members such as STUB.
    """

    properties: Mapping[str, PropertyValue]
    provenance: Provenance
    notes: tuple[str, ...] = ()
    not_for_decisions: bool = False

    def __post_init__(self) -> None:
        """Put the properties into the order in which they are shown."""
        object.__setattr__(self, "properties", ordered(self.properties))


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineResult:
    """What a simulation gave. A result always comes from an engine.

    Attributes:
        success: False only in records of failed runs; engines raise instead of returning it.
        workflow: ``single_point``, ``relax``, ``equation_of_state``, ...
        energy_ev: Total energy of the final structure, eV for the cell.
        values: Name with unit to number: ``bulk_modulus_gpa``, ``energy_ev_per_atom``.
        structure: Final structure.
        forces: (n_sites, 3), eV/Å, of the final structure.
        stress: (3, 3), eV/Å^3, tension positive, of the final structure.
        magmoms: (n_sites,), Bohr magnetons, where the potential gives them.
        series: Name with unit to numbers against step or volume.
        labels: Name to text: ``space_group_before``, ``space_group_after``.
        warnings: Sentences about the quality of the run.
        files: Names of the files of the run folder worth keeping.
        provenance: Engine, potential, versions, hashes, command.
        wall_time_s: Seconds the run took.
        resources: ``requested`` and ``used``, each name with unit to number; empty where nobody
            measured.
    """

    success: bool
    workflow: str
    energy_ev: float
    values: Mapping[str, float]
    structure: "Structure | None"
    provenance: Provenance
    forces: tuple[tuple[float, float, float], ...] | None = None
    stress: tuple[tuple[float, float, float], ...] | None = None
    magmoms: tuple[float, ...] | None = None
    series: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    wall_time_s: float = 0.0
    resources: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def stress_gpa(self) -> "Triples | None":
        """(3, 3), GPa, tension positive, of the final structure."""
        return None if self.stress is None else in_gpa(self.stress)

    def as_dict(self) -> dict[str, Any]:
        """JSON types, every field; ``nanoos.engines.result_from_dict`` gives it back."""
        return {
            "success": self.success,
            "workflow": self.workflow,
            "energy_ev": self.energy_ev,
            "values": dict(self.values),
            "structure": self.structure.as_dict() if self.structure else None,
            "provenance": {
                "producer": self.provenance.producer,
                "version": self.provenance.version,
                "weights_sha256": self.provenance.weights_sha256,
                "parameters": dict(self.provenance.parameters),
                "software": dict(self.provenance.software),
                "command": self.provenance.command,
                "inputs_sha256": dict(self.provenance.inputs_sha256),
            },
            "forces": _lists(self.forces),
            "stress": _lists(self.stress),
            "magmoms": list(self.magmoms) if self.magmoms is not None else None,
            "series": {name: list(numbers) for name, numbers in self.series.items()},
            "labels": dict(self.labels),
            "warnings": list(self.warnings),
            "files": list(self.files),
            "wall_time_s": self.wall_time_s,
            "resources": {name: dict(numbers) for name, numbers in self.resources.items()},
        }


Triples = tuple[tuple[float, float, float], ...]


def _lists(rows: Triples | None) -> list[list[float]] | None:
    return None if rows is None else [list(row) for row in rows]


def in_gpa(stress: Iterable[Sequence[float]]) -> Triples:
    """A stress in eV/Å^3 in GPa, of the same sign."""
    return triples([[GPA_PER_EV_A3 * value for value in row] for row in stress])


def triples(rows: Iterable[Sequence[float]]) -> Triples:
    """Rows of three numbers as the immutable tuples that records hold."""
    return tuple((row[0], row[1], row[2]) for row in rows)
