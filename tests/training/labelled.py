"""Real crystals with a label that a network can learn in seconds."""

from collections.abc import Sequence

import numpy as np

from nanoos.datasets import Dataset
from nanoos.datasets.rows import RowSource
from nanoos.structures.generate import build_prototype
from nanoos.training.config import TrainingConfig, parse_training_config

CATIONS = ("Li", "Na", "K", "Mg", "Ca", "Sr", "Ba", "Ti", "Zr")
ANIONS = ("O", "S", "Se", "F", "Cl", "N")


def labelled_crystals(prototypes: Sequence[str] = ("rocksalt", "zincblende")) -> Dataset:
    """Volume per atom (Å^3) of each, and whether it is large; every tenth volume is missing."""
    structures = [
        build_prototype(prototype, {"A": a, "X": x})
        for prototype in prototypes
        for a in CATIONS
        for x in ANIONS
    ]
    volumes = np.array([s.volume / s.n_sites for s in structures])
    targets = {"volume": volumes.copy(), "is_metal": (volumes > np.median(volumes)).astype(float)}
    targets["volume"][::10] = np.nan
    return Dataset(
        name="prototypes",
        structures=structures,
        ids=tuple(f"row-{i}" for i in range(len(structures))),
        targets=targets,
        units={"volume": "Å^3", "is_metal": "1"},
        sources=[RowSource(kind="test", name="prototypes") for _ in structures],
        reduced_formulas=tuple(s.formula for s in structures),
    )


def small_config(**changes: object) -> TrainingConfig:
    """A network that trains in a second."""
    document = {
        "name": "small",
        "dataset": "prototypes",
        "targets": ["volume", "is_metal"],
        "epochs": 4,
        "batch_size": 16,
        "hidden_dim": 16,
        "num_layers": 2,
        "min_rows": 10,
        "parameters": {"max_neighbors": 8, "cutoff": 6.0, "head_dim": 16},
    }
    return parse_training_config(document | changes)
