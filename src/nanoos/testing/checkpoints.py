"""Small checkpoints of untrained networks, calibrated: everything a shipped one has, in a second."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np

from nanoos.core.records import LevelOfTheory
from nanoos.features.packed import PackedGraphs
from nanoos.models.calibrating import LabelledGraphs, calibrate, with_domain
from nanoos.models.checkpoints import Checkpoint, Header, Target, new_network, save_checkpoint
from nanoos.structures import Structure
from nanoos.testing.crystals import rocksalt

PBE: Final = LevelOfTheory(functional="PBE", corrections="none", reference="none")
ELEMENTS: Final = LevelOfTheory(functional="PBE", corrections="none", reference="elements")

_UNITS: Final[Mapping[str, tuple[str, LevelOfTheory]]] = {
    "bandgap": ("eV", PBE),
    "formation_energy": ("eV/atom", ELEMENTS),
    "fermi_energy": ("eV", PBE),
    "is_metal": ("1", PBE),
    "e_above_hull_subset": ("eV/atom", ELEMENTS),
    "bulk_modulus": ("GPa", PBE),
    "shear_modulus": ("GPa", PBE),
}
_LOG10: Final = frozenset({"bulk_modulus", "shear_modulus"})
_PARAMETERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "CGCNN": {"hidden_dim": 8, "num_layers": 1, "head_dim": 8, "dropout": 0.2},
    "ALIGNN": {
        "hidden_dim": 8,
        "angle_dim": 4,
        "alignn_layers": 1,
        "gcn_layers": 1,
        "head_dim": 8,
        "dropout": 0.2,
    },
}
_CATIONS: Final = ("Li", "Na", "K", "Mg", "Ca", "Sr", "Ti", "V", "Mn", "Fe", "Ni", "Zr")
_ANIONS: Final = ("O", "S", "Se", "F", "Cl", "N", "C")


def tiny_checkpoint(
    path: Path,
    *,
    family: str = "CGCNN",
    targets: Sequence[str] = ("bandgap", "formation_energy"),
    name: str = "tiny",
    version: str = "1",
    n_members: int = 2,
    dropout: float = 0.2,
    seed: int = 0,
    calibrated: bool = True,
    domain: bool = False,
    mae: float = 0.1,
    arrays: Mapping[str, Any] | None = None,
) -> str:
    """Write a checkpoint of untrained networks; returns its SHA-256.

    Args:
        path: The file.
        family: ``CGCNN`` or ``ALIGNN``.
        targets: Some of the platform's properties.
        name: Of the checkpoint.
        version: Of the weights.
        n_members: Networks in it.
        dropout: In the read-outs.
        seed: Of the weights and of the noise on the labels that it is calibrated with.
        calibrated: With sigma, intervals and confidence for each regression.
        domain: With a check of the domain, which takes some seconds to make.
        mae: Mean absolute error on its card, in the unit of each target.
        arrays: More arrays to put into the file.
    """
    import torch

    parameters = {**_PARAMETERS[family], "dropout": dropout}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        states = [new_network(family, parameters, targets).state_dict() for _ in range(n_members)]
    metrics = {
        target: {"mae": mae, "mae_interval": [0.9 * mae, 1.1 * mae], "n": 500, "source": "a test"}
        for target in targets
    }
    header = Header(
        family=family,
        name=name,
        version=version,
        parameters={**parameters, "max_neighbors": 12, "cutoff": 8.0},
        targets=tuple(_target(target) for target in targets),
        n_members=n_members,
        metrics=metrics,
        notes=(f"{name} is untrained: for tests.",),
        code_version="0",
        created="2026-01-01",
    )
    checkpoint = Checkpoint(header=header, members=tuple(states), arrays=dict(arrays or {}))
    crystals = _crystals()
    packed = PackedGraphs.from_structures(crystals)
    if domain:
        checkpoint = _with_domain(checkpoint, packed, crystals)
    if calibrated:
        checkpoint = _calibrated(checkpoint, packed, crystals, seed)
        for target in metrics.values():
            target["coverage"] = {"0.8": 0.81, "0.9": 0.91, "0.95": 0.95}
            target["uncertainty"] = {"spearman": 0.5, "n_calibration": 80}
        checkpoint = Checkpoint(
            header=replace(checkpoint.header, metrics=metrics),
            members=checkpoint.members,
            arrays=checkpoint.arrays,
        )
    return save_checkpoint(path, checkpoint)


def _target(name: str) -> Target:
    unit, level = _UNITS[name]
    return Target(
        name=name,
        unit=unit,
        kind="classification" if name == "is_metal" else "regression",
        mean=1.0,
        log10=name in _LOG10,
        lower=0.0 if name in ("bandgap", "e_above_hull_subset") else None,
        level_of_theory=level,
    )


def _crystals() -> list[Structure]:
    """One for each pair of elements and two edges."""
    return [
        rocksalt(edge, cation, anion)
        for cation, anion in product(_CATIONS, _ANIONS)
        for edge in (4.2, 5.2)
    ]


def _with_domain(
    checkpoint: Checkpoint, packed: PackedGraphs, crystals: Sequence[Structure]
) -> Checkpoint:
    from nanoos.models.domain import DomainModel, fragments, shaken
    from nanoos.models.graph_outputs import GraphRunner

    pooled = GraphRunner(checkpoint).run(packed).pooled
    distorted = PackedGraphs.from_structures([*shaken(crystals, 0), *fragments(crystals[::4], 0)])
    fitted = DomainModel.fit(
        packed, distorted, packed, embeddings=pooled, ordinary_embeddings=pooled
    )
    return with_domain(checkpoint, fitted)


def _calibrated(
    checkpoint: Checkpoint, packed: PackedGraphs, crystals: Sequence[Structure], seed: int
) -> Checkpoint:
    """Labels are what the networks say plus noise; the two halves share no formula."""
    from nanoos.models.graph_outputs import GraphRunner

    outputs = GraphRunner(checkpoint).run(packed)
    rng = np.random.default_rng(seed)
    labels = {}
    for target in checkpoint.header.targets:
        value = outputs.value(target)
        noise = rng.normal(scale=0.1 * max(1.0, float(np.abs(value).mean())), size=len(value))
        labels[target.name] = np.maximum(value + noise, 0.01)
    halves = []
    for rows in (np.arange(len(crystals)) // 2 % 2 == 0, np.arange(len(crystals)) // 2 % 2 == 1):
        chosen = np.flatnonzero(rows)
        halves.append(
            LabelledGraphs(
                graphs=packed.select(chosen),
                targets={name: column[chosen] for name, column in labels.items()},
                formulas=[crystals[i].formula for i in chosen.tolist()],
                groups={},
            )
        )
    return calibrate(checkpoint, halves[0], halves[1])
