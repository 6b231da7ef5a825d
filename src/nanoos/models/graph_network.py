"""CGCNN and ALIGNN as property models: networks, calibrated uncertainty, check of the domain."""

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from nanoos.core.errors import InvalidInputError
from nanoos.core.properties import in_order
from nanoos.core.records import OUTSIDE_NOTE, Prediction, PropertyValue, Provenance
from nanoos.features.packed import PackedGraphs
from nanoos.models.checkpoint_model import CheckpointModel, file_sha256
from nanoos.models.checkpoint_predictor import LOADED, CheckpointPredictor, Column
from nanoos.models.checkpoints import ENSEMBLE
from nanoos.models.likely_metals import without_index_of_metals
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
        for path, (columns, reasons) in zip(self.files, self._judged(structures), strict=True):
            assigned = self.assigned(path)
            of = ", ".join(in_order(assigned)).replace("_", " ")
            for row, found in enumerate(reasons):
                if found:
                    outside[row] |= dict.fromkeys(_outside(of, reason) for reason in found)
            for column in columns:
                if column.target.name in assigned:
                    for held, value in zip(properties, column.rows(), strict=True):
                        held[column.target.name] = value
        notes = self.info().notes
        predictions = []
        for values, warnings in zip(properties, outside, strict=True):
            marked, of_metals = without_index_of_metals(
                {name: values[name] for name in self.properties}
            )
            predictions.append(
                Prediction(
                    properties=marked,
                    provenance=self._provenance,
                    notes=(*notes, *warnings, *of_metals),
                )
            )
        return predictions

    def _judged(
        self, structures: Sequence[Structure]
    ) -> list[tuple[list[Column], list[tuple[str, ...]]]]:
        """What each checkpoint says; those that take the same graphs run together."""
        from nanoos.models.bonding import Surroundings
        from nanoos.models.graph_outputs import run_together

        predictors = self.predictors
        alike: dict[tuple[int, float], list[int]] = defaultdict(list)
        for place, predictor in enumerate(predictors):
            alike[predictor.runner.k, predictor.runner.cutoff].append(place)
        judged = {}
        for (k, cutoff), places in alike.items():
            graphs = PackedGraphs.from_structures(structures, k=k, cutoff=cutoff)
            chosen = [predictors[place] for place in places]
            outputs = run_together([predictor.runner for predictor in chosen], graphs)
            surroundings = Surroundings.of(graphs)
            for place, predictor, own in zip(places, chosen, outputs, strict=True):
                judged[place] = predictor.judged(graphs, own, surroundings)
        return [judged[place] for place in range(len(predictors))]


def _outside(properties: str, reason: str) -> str:
    return f"{OUTSIDE_NOTE} ({properties}): {reason}{'' if reason.endswith('?') else '.'}"


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
