"""A data set: structures with known properties, as a frozen value."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError, NotFoundError
from nanoos.core.records import LevelOfTheory
from nanoos.datasets.packed_structures import FloatArray, IntArray, PackedStructures
from nanoos.datasets.rows import RowSource
from nanoos.structures import Structure

SPLIT_NAMES: Final = ("train", "val", "test")
QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStatistics:
    """What the numbers of one target look like; NaN rows count as missing only.

    Attributes:
        count: How many there are.
        missing: Rows without one.
        mean: In ``unit``; None without any number, as all that follow.
        std: Sample standard deviation (n - 1); 0 for a single number.
        min: Smallest.
        max: Largest.
        quantiles: Level in (0, 1) to value.
        unit: Of all these.
    """

    count: int
    missing: int
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    quantiles: Mapping[float, float]
    unit: str

    def as_dict(self) -> dict[str, Any]:
        """JSON types; the levels of the quantiles as text."""
        return {
            "count": self.count,
            "missing": self.missing,
            "mean": self.mean,
            "std": self.std,
            "min": self.min,
            "max": self.max,
            "quantiles": {f"{level:g}": value for level, value in self.quantiles.items()},
            "unit": self.unit,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Structures, numbers known of them, and where every row came from.

    Attributes:
        name: For people.
        structures: One for each row.
        ids: The source's own id of each row, or ``name-row``.
        targets: Property name to (n_rows,) numbers, NaN where a row has none.
        units: Unit of each target.
        sources: Provenance of each row.
        level_of_theory: What the numbers of a target mean; absent where the source does not say.
        reduced_formulas: One for each row.
        given_split: ``train``, ``val``, ``test`` or an empty text for each row, None where the
            source has no split.

    Raises:
        InvalidInputError: the parts have different lengths, or a target has no unit.
    """

    name: str
    structures: Sequence[Structure]
    ids: tuple[str, ...]
    targets: Mapping[str, FloatArray]
    units: Mapping[str, str]
    sources: Sequence[RowSource]
    level_of_theory: Mapping[str, LevelOfTheory] = field(default_factory=dict)
    reduced_formulas: tuple[str, ...]
    given_split: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        n_rows = len(self.structures)
        parts: dict[str, Any] = {
            "ids": self.ids,
            "sources": self.sources,
            "reduced_formulas": self.reduced_formulas,
            "given_split": self.given_split,
            **self.targets,
        }
        for name, part in parts.items():
            if part is not None and len(part) != n_rows:
                raise InvalidInputError(
                    f"{n_rows} structures but {len(part)} values of {name}.",
                    hint="Every part of a data set has one value for each row.",
                )
        without = sorted(set(self.targets) - set(self.units))
        if without:
            raise InvalidInputError(f"The target {without[0]} has no unit.")
        frozen = {}
        for name, values in self.targets.items():
            array = np.array(values, dtype=np.float64)
            array.flags.writeable = False
            frozen[name] = array
        object.__setattr__(self, "targets", frozen)

    def __len__(self) -> int:
        return len(self.structures)

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, {len(self)} rows, {', '.join(self.targets)})"

    def target(self, name: str) -> FloatArray:
        """(n_rows,) numbers of a target, NaN where a row has none.

        Raises:
            NotFoundError: no such target.
        """
        if name not in self.targets:
            raise NotFoundError(
                f"The data set {self.name!r} has no target {name!r}.",
                hint=f"Targets: {', '.join(sorted(self.targets)) or 'none'}.",
            )
        return self.targets[name]

    def select(self, indices: npt.ArrayLike) -> "Dataset":
        """The rows at ``indices`` (integers), in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        rows = chosen.tolist()
        packed = self.structures
        return Dataset(
            name=self.name,
            structures=packed.select(chosen)
            if isinstance(packed, PackedStructures)
            else [packed[row] for row in rows],
            ids=tuple(self.ids[row] for row in rows),
            targets={name: values[chosen] for name, values in self.targets.items()},
            units=self.units,
            sources=[self.sources[row] for row in rows],
            level_of_theory=self.level_of_theory,
            reduced_formulas=tuple(self.reduced_formulas[row] for row in rows),
            given_split=None
            if self.given_split is None
            else tuple(self.given_split[row] for row in rows),
        )

    def statistics(self) -> dict[str, TargetStatistics]:
        """Count, mean, spread, extremes, quantiles and number missing of each target."""
        return {
            name: target_statistics(values, unit=self.units[name])
            for name, values in self.targets.items()
        }

    @cached_property
    def content_hashes(self) -> tuple[str, ...]:
        """Content hash of the structure of each row."""
        return tuple(structure.content_hash for structure in self.structures)

    @cached_property
    def sha256(self) -> str:
        """Hash over structures, targets and units, in the order of the rows.

        Names, ids and provenance are not part of it; the order of the targets is not either.
        The same rows give the same hash in every process.
        """
        digest = hashlib.sha256()
        for content_hash in self.content_hashes:
            digest.update(bytes.fromhex(content_hash))
        hash_targets(digest, self.targets, self.units)
        return digest.hexdigest()

    def element_counts(self) -> dict[str, int]:
        """Element to number of rows that contain it, most frequent first."""
        counts: Counter[str] = Counter()
        for structure in self.structures:
            counts.update(set(structure.species))
        return dict(counts.most_common())

    def duplicates(self) -> list[tuple[int, ...]]:
        """Rows with the same structure, as groups of at least two indices."""
        groups: dict[str, list[int]] = {}
        for row, content_hash in enumerate(self.content_hashes):
            groups.setdefault(content_hash, []).append(row)
        return [tuple(rows) for rows in groups.values() if len(rows) > 1]

    def given_indices(self, part: str) -> IntArray:
        """Rows that the source gives to ``train``, ``val`` or ``test``.

        Raises:
            NotFoundError: the source has no split.
        """
        if self.given_split is None:
            raise NotFoundError(
                f"The data set {self.name!r} comes without a split.",
                hint="Use the split by composition.",
            )
        return np.flatnonzero(np.array(self.given_split, dtype=object) == part).astype(np.int64)


def target_statistics(values: npt.ArrayLike, *, unit: str) -> TargetStatistics:
    """Statistics of the numbers among ``values`` (n_rows,)."""
    everything = np.asarray(values, dtype=np.float64)
    known = everything[np.isfinite(everything)]
    if not known.size:
        return TargetStatistics(
            count=0,
            missing=len(everything),
            mean=None,
            std=None,
            min=None,
            max=None,
            quantiles={},
            unit=unit,
        )
    return TargetStatistics(
        count=known.size,
        missing=len(everything) - known.size,
        mean=float(known.mean()),
        std=float(known.std(ddof=1)) if known.size > 1 else 0.0,
        min=float(known.min()),
        max=float(known.max()),
        quantiles=dict(zip(QUANTILES, np.quantile(known, QUANTILES).tolist(), strict=True)),
        unit=unit,
    )


def hash_targets(digest: Any, targets: Mapping[str, FloatArray], units: Mapping[str, str]) -> None:
    """Add names, units and numbers of targets to a hash over content hashes, by name."""
    for name in sorted(targets):
        digest.update(json.dumps([name, units[name]]).encode())
        values = targets[name] + 0.0  # -0.0 is 0.0
        values[np.isnan(values)] = np.nan  # one bit pattern for all of them
        digest.update(values.astype("<f8").tobytes())
