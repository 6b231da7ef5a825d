"""Between a training run and checkpoint files: where it starts, and what it leaves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import nanoos
from nanoos.core.errors import ConfigError
from nanoos.datasets.normalisation import TargetNormaliser
from nanoos.models.checkpoints import (
    Checkpoint,
    Header,
    NetworkState,
    Target,
    load_checkpoint,
    save_checkpoint,
)
from nanoos.training.config import TrainingConfig
from nanoos.training.network import Parameters, parameters_from
from nanoos.training.preparing import DividedRows

LOWEST: Final[Mapping[str, float]] = {
    "bandgap": 0.0,
    "bulk_modulus": 0.0,
    "e_above_hull_subset": 0.0,
    "is_metal": 0.0,
    "last_phonon_peak": 0.0,
    "refractive_index": 1.0,
    "shear_modulus": 0.0,
    "stability_score": 0.0,
}
"""Target to the smallest value that makes sense, in its unit."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StartingPoint:
    """A checkpoint to fine-tune from.

    Attributes:
        checkpoint: With the weights of each member.
        parameters: Hyper-parameters of its networks.
        normalisers: Target to the scale that its read-out speaks in; regression targets only.
    """

    checkpoint: Checkpoint
    parameters: Parameters
    normalisers: Mapping[str, TargetNormaliser]

    @property
    def targets(self) -> dict[str, Target]:
        """Its targets by name."""
        return {target.name: target for target in self.checkpoint.header.targets}

    def kept_heads(
        self, names: Sequence[str], normalisers: Sequence[TargetNormaliser | None]
    ) -> list[str]:
        """Those of ``names`` whose read-out can be gone on with: it speaks in the same scale."""
        theirs = self.targets
        return [
            name
            for name, normaliser in zip(names, normalisers, strict=True)
            if name in theirs
            and (theirs[name].kind == "classification") == (normaliser is None)
            and self.normalisers.get(name) == normaliser
        ]


def starting_point(path: Path, config: TrainingConfig) -> StartingPoint:
    """Read the checkpoint that ``config.init_from`` names.

    A target that it has keeps its read-out and its scale, unless the run learns a logarithm
    where the checkpoint does not, or the other way round.

    Raises:
        ConfigError: another architecture than the run's.
        InvalidInputError: not a checkpoint.
    """
    checkpoint = load_checkpoint(path)
    header = checkpoint.header
    if header.family != config.model:
        raise ConfigError(
            f"model: {header.name} is a {header.family}, not a {config.model}.",
            hint=f"Set model: {header.family}.",
        )
    return StartingPoint(
        checkpoint=checkpoint,
        parameters=parameters_from(header.family, header.parameters),
        normalisers={
            target.name: TargetNormaliser(mean=target.mean, std=target.std, log10=target.log10)
            for target in header.targets
            if target.kind == "regression" and target.log10 == (target.name in config.log_targets)
        },
    )


def write_checkpoint(
    path: Path,
    states: tuple[NetworkState, ...],
    *,
    config: TrainingConfig,
    parameters: Mapping[str, Any],
    rows: DividedRows,
    metrics: Mapping[str, Any],
    training: Mapping[str, Any],
) -> str:
    """Write a trained model as one checkpoint; returns its SHA-256.

    Args:
        path: The file.
        states: Final weights of each member.
        config: What was asked for.
        parameters: Hyper-parameters of each member.
        rows: What they were trained on.
        metrics: Target to what was measured.
        training: What else is to be said of the run.
    """
    header = Header(
        family=config.model,
        name=config.name,
        version=config.version,
        parameters=dict(parameters),
        targets=tuple(
            _target(name, normaliser, rows)
            for name, normaliser in zip(rows.dataset.targets, rows.normalisers, strict=True)
        ),
        n_members=len(states),
        dataset={key: rows.info[key] for key in ("name", "sha256", "n_rows", "report")},
        split={
            key: rows.info[key]
            for key in ("split", "seed", "split_sha256", "n_train", "n_val", "n_test")
        },
        training={"config": config.document(), **training},
        metrics=dict(metrics),
        code_version=nanoos.__version__,
        created=datetime.now(UTC).date().isoformat(),
    )
    return save_checkpoint(path, Checkpoint(header=header, members=states))


def _target(name: str, normaliser: TargetNormaliser | None, rows: DividedRows) -> Target:
    common: dict[str, Any] = {
        "name": name,
        "unit": rows.dataset.units[name],
        "lower": LOWEST.get(name),
        "level_of_theory": rows.dataset.level_of_theory.get(name),
    }
    if normaliser is None:
        return Target(kind="classification", **common)
    return Target(mean=normaliser.mean, std=normaliser.std, log10=normaliser.log10, **common)
