"""What all models over our own checkpoints share: which file gives which property."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.core.records import LevelOfTheory, Prediction
from nanoos.models.base import ModelInfo, TestError, WeightsName
from nanoos.models.checkpoint_predictor import HULL, STABILITY
from nanoos.models.checkpoints import Header, Target, read_header, shipped_checkpoints
from nanoos.structures import Structure

CHUNK_ATOMS: Final = 20_000
"""Structures are predicted for about this many atoms at a time, so memory stays flat."""

_MAX_VERSION: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetWeights:
    """Where the weights of one property are.

    Attributes:
        path: The checkpoint.
        name: Of the weights, ``cgcnn_bandgap_v1``.
        version: Of the weights.
    """

    path: Path
    name: str
    version: str


class CheckpointModel:
    """A model over checkpoints, each of its properties from one of them.

    Args:
        files: Checkpoints; where two predict a property, the first does. None for those
            shipped in the package.
        targets: Property to its weights, instead of ``files``.
        name: Of the model, where it is not that of its family.
    """

    family: ClassVar[str]
    description: ClassVar[str]

    def __init__(
        self,
        files: Sequence[Path] | None = None,
        *,
        targets: Mapping[str, TargetWeights] | None = None,
        name: str | None = None,
    ) -> None:
        if targets is None:
            if files is None:
                files = [p for p in shipped_checkpoints() if known_header(p).family == self.family]
            targets = _targets_of(files)
        self.targets = dict(targets)
        self.name = name or self.family
        self.files = tuple(dict.fromkeys(weights.path for weights in self.targets.values()))

    @cached_property
    def headers(self) -> tuple[Header, ...]:
        """Of the checkpoints, in order."""
        return tuple(known_header(path) for path in self.files)

    @cached_property
    def weights_sha256(self) -> str:
        """Hash over which checkpoint gives which property."""
        parts = [f"{t} {file_sha256(w.path)}" for t, w in sorted(self.targets.items())]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @cached_property
    def version(self) -> str:
        """The version of the weights; several are joined, or hashed where that grows long."""
        versions = "+".join(dict.fromkeys(w.version for w in self.targets.values()))
        if len(versions) <= _MAX_VERSION:
            return versions
        return hashlib.sha256(versions.encode()).hexdigest()[:16]

    def assigned(self, path: Path) -> frozenset[str]:
        """The properties that the checkpoint in ``path`` gives."""
        names = {name for name, weights in self.targets.items() if weights.path == path}
        return frozenset(names | {STABILITY} if HULL in names else names)

    def narrowed(self, properties: Collection[str]) -> Self:
        """The same model with only the weights that ``properties`` need.

        Raises:
            InvalidInputError: it gives none of them.
        """
        wanted = {HULL if name == STABILITY else name for name in properties}
        kept = {name: weights for name, weights in self.targets.items() if name in wanted}
        if not kept:
            raise InvalidInputError(
                f"{self.name} gives none of {', '.join(sorted(properties))}.",
                hint=f"It gives {', '.join(self.properties)}.",
                code="unknown_target",
            )
        return type(self)(targets=kept, name=self.name)

    @property
    def properties(self) -> tuple[str, ...]:
        """What it predicts."""
        return (*self.targets, STABILITY) if HULL in self.targets else tuple(self.targets)

    def info(self) -> ModelInfo:
        """What the model is; reads headers only."""
        return self._info

    @cached_property
    def _info(self) -> ModelInfo:
        errors: dict[str, tuple[TestError, ...]] = {}
        calibration: dict[str, Mapping[float, float]] = {}
        ranks: dict[str, float] = {}
        levels: dict[str, LevelOfTheory] = {}
        for name, weights in self.targets.items():
            header = known_header(weights.path)
            target, measured = header.target(name), header.metrics.get(name, {})
            if target.level_of_theory is not None:
                levels[name] = target.level_of_theory
            if measured.get("mae") is not None:
                errors[name] = (_test_error(measured, target),)
            if name in header.calibration:
                calibration[name] = {
                    float(level): share for level, share in measured.get("coverage", {}).items()
                }
            if "spearman" in measured.get("uncertainty", {}):
                ranks[name] = measured["uncertainty"]["spearman"]
        if HULL in calibration:  # the score falls as the distance grows, so intervals hold alike
            calibration[STABILITY] = calibration[HULL]
        if HULL in levels:
            levels[STABILITY] = levels[HULL]
        available = bool(self.targets)
        return ModelInfo(
            name=self.name,
            version=self.version,
            available=available,
            description=self.description,
            supported_properties=self.properties,
            weights_sha256=self.weights_sha256 if available else None,
            test_error=errors,
            calibration=calibration,
            sigma_rank_correlation=ranks,
            weights={name: self._weights_name(name) for name in self.properties},
            level_of_theory=levels,
            notes=tuple(dict.fromkeys(note for h in self.headers for note in h.notes)),
            license=self.headers[0].license if available else None,
            unavailable_reason=None if available else "no checkpoint is on this machine",
            install_command=None if available else "nanoos train CONFIG.yaml",
        )

    def _weights_name(self, name: str) -> WeightsName:
        weights = self.targets[HULL if name == STABILITY else name]
        return WeightsName(
            name=weights.name, version=weights.version, sha256=file_sha256(weights.path)
        )

    def predict(
        self, structures: Sequence[Structure], *, ids: Sequence[str] | None = None
    ) -> list[Prediction]:
        """All properties of each structure as given, with intervals where calibrated.

        Raises:
            UnavailableError: it has no weights.
            InvalidInputError: an element that the weights do not know; code
                ``unknown_element``.
        """
        del ids
        if not self.targets:
            info = self.info()
            raise UnavailableError(
                f"{self.name} cannot predict: {info.unavailable_reason}.",
                hint=info.install_command,
                code="model_unavailable",
            )
        self.check(structures)
        predictions: list[Prediction] = []
        for chunk in _chunks(structures):
            predictions += self._predict_chunk(chunk)
        return predictions

    def check(self, structures: Sequence[Structure]) -> None:
        """Refuse structures that the weights cannot predict. Raises InvalidInputError."""
        raise NotImplementedError

    def _predict_chunk(self, structures: Sequence[Structure]) -> list[Prediction]:
        raise NotImplementedError


def is_shipped(path: Path) -> bool:
    """Whether a checkpoint comes with the package."""
    return path in shipped_checkpoints()


def file_sha256(path: Path) -> str:
    """SHA-256 of a checkpoint; read again only where the file changed."""
    return _sha256(path, *_stamp(path))


def known_header(path: Path) -> Header:
    """The header of a checkpoint; read again only where the file changed.

    Raises:
        InvalidInputError: not a checkpoint of ours.
    """
    return _header(path, *_stamp(path))


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise InvalidInputError(
            f"The checkpoint {path.name} cannot be read: {error.strerror}.",
            code="invalid_checkpoint",
        ) from error
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=256)
def _sha256(path: Path, _changed: int, _size: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@lru_cache(maxsize=64)
def _header(path: Path, _changed: int, _size: int) -> Header:
    return read_header(path)


def _targets_of(files: Sequence[Path]) -> dict[str, TargetWeights]:
    found: dict[str, TargetWeights] = {}
    for path in files:
        header = known_header(path)
        for target in header.targets:
            name = f"{header.family.lower()}_{target.name}_v{header.version}"
            weights = TargetWeights(path=path, name=name, version=header.version)
            found.setdefault(target.name, weights)
    return found


def _chunks(structures: Sequence[Structure]) -> list[list[Structure]]:
    chunks: list[list[Structure]] = [[]]
    atoms = 0
    for structure in structures:
        if atoms + structure.n_sites > CHUNK_ATOMS and chunks[-1]:
            chunks.append([])
            atoms = 0
        chunks[-1].append(structure)
        atoms += structure.n_sites
    return chunks if chunks[0] else []


def _test_error(measured: Mapping[str, Any], target: Target) -> TestError:
    interval = measured.get("mae_interval")
    return TestError(
        mae=measured["mae"],
        unit=target.unit,
        n=measured.get("n"),
        source=measured.get("source", "held-out compositions"),
        seen_in_training=False,
        mae_interval=None if interval is None else (interval[0], interval[1]),
    )
