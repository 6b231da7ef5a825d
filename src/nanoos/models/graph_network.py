"""CGCNN and ALIGNN as property models: networks, calibrated uncertainty, check of the domain."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from nanoos.core.errors import InvalidInputError
from nanoos.core.records import Prediction, PropertyValue, Provenance
from nanoos.features.packed import PackedGraphs
from nanoos.models.checkpoint_model import CheckpointModel, file_sha256
from nanoos.models.checkpoint_predictor import LOADED, CheckpointPredictor
from nanoos.models.checkpoints import ENSEMBLE
from nanoos.structures import Structure
from nanoos.structures.elements import ATOMIC_NUMBERS

MAX_ATOMIC_NUMBER: Final = 103


class GraphNetworkModel(CheckpointModel):
    """A family of networks, each of its properties from one checkpoint.

    The networks of a process are loaded once and kept, those used last, by their hash.
    """

    def predictor(self, path: Path) -> CheckpointPredictor:
        """The checkpoint in ``path``, loaded."""
        return LOADED.get(path, file_sha256(path))

    @property
    def predictors(self) -> tuple[CheckpointPredictor, ...]:
        """The checkpoints, loaded."""
        return tuple(self.predictor(path) for path in self.files)

    def check(self, structures: Sequence[Structure]) -> None:
        """Refuse elements beyond Lr. Raises InvalidInputError; code ``unknown_element``."""
        for structure in structures:
            check_elements(structure)

    @cached_property
    def _provenance(self) -> Provenance:
        return Provenance(
            producer=self.name, version=self.version, weights_sha256=self.weights_sha256
        )

    def _predict_chunk(self, structures: Sequence[Structure]) -> list[Prediction]:
        properties: list[dict[str, PropertyValue]] = [{} for _ in structures]
        outside: list[dict[str, None]] = [{} for _ in structures]
        graphs: dict[tuple[int, float], PackedGraphs] = {}
        for path in self.files:
            predictor, assigned = self.predictor(path), self.assigned(path)
            columns, reasons = predictor.predict(graphs_for(predictor, structures, graphs))
            for row, found in enumerate(properties):
                outside[row] |= dict.fromkeys(reasons[row])
                for column in columns:
                    if column.target.name in assigned:
                        found[column.target.name] = column.at(row)
        notes = self.info().notes
        return [
            Prediction(
                properties={name: found[name] for name in self.properties},
                provenance=self._provenance,
                notes=notes + tuple(f"Outside the domain: {reason}." for reason in reasons),
            )
            for found, reasons in zip(properties, outside, strict=True)
        ]


class CGCNNModel(GraphNetworkModel):
    """Our CGCNN checkpoints."""

    family = "CGCNN"
    description = (
        "Crystal graph convolutional networks (Xie & Grossman 2018) trained here, with calibrated "
        "intervals."
    )


class ALIGNNModel(GraphNetworkModel):
    """Our ALIGNN checkpoints."""

    family = "ALIGNN"
    description = (
        "Line graph networks (after Choudhary & DeCost 2021) trained here, with calibrated "
        "intervals."
    )


class JoinedNetworksModel(GraphNetworkModel):
    """Our checkpoints with networks of several architectures: part of ENSEMBLE."""

    family = ENSEMBLE
    description = "CGCNN and ALIGNN networks trained here, joined, with calibrated intervals."


def graphs_for(
    predictor: CheckpointPredictor,
    structures: Sequence[Structure],
    made: dict[tuple[int, float], PackedGraphs],
) -> PackedGraphs:
    """The graphs that ``predictor`` takes, from ``made`` where an equal one was made before."""
    key = (predictor.runner.k, predictor.runner.cutoff)
    if key not in made:
        made[key] = PackedGraphs.from_structures(structures, k=key[0], cutoff=key[1])
    return made[key]


def check_elements(structure: Structure) -> None:
    """Refuse elements that the networks have no vector for.

    Raises:
        InvalidInputError: code ``unknown_element``.
    """
    beyond = sorted(s for s in set(structure.species) if ATOMIC_NUMBERS[s] > MAX_ATOMIC_NUMBER)
    if beyond:
        raise InvalidInputError(
            f"{structure.formula}: no model knows {', '.join(beyond)}.",
            hint="The networks cover H to Lr.",
            code="unknown_element",
        )
