"""Random forests that ``nanoos train`` made, as property models."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from nanoos.core.records import Prediction, PropertyValue, Provenance
from nanoos.models.checkpoint_model import CheckpointModel
from nanoos.models.checkpoints import load_checkpoint
from nanoos.models.forest import FAMILY, Forest, forest_descriptors
from nanoos.models.graph_network import check_elements
from nanoos.structures import Structure


class TrainedForestModel(CheckpointModel):
    """Forests in checkpoints; without uncertainty."""

    family: ClassVar[str] = FAMILY
    description: ClassVar[str] = "Random forests on element statistics and the cell, trained here."

    def check(self, structures: Sequence[Structure]) -> None:
        """Refuse elements beyond Lr. Raises InvalidInputError; code ``unknown_element``."""
        for structure in structures:
            check_elements(structure)

    def _predict_chunk(self, structures: Sequence[Structure]) -> list[Prediction]:
        _, descriptors = forest_descriptors(structures)
        properties: list[dict[str, PropertyValue]] = [{} for _ in structures]
        for path in self.files:
            checkpoint, assigned = load_checkpoint(path), self.assigned(path)
            table = Forest.from_checkpoint(checkpoint).predict(descriptors)
            for column, target in enumerate(checkpoint.header.targets):
                if target.name not in assigned:
                    continue
                lowest = -np.inf if target.lower is None else target.lower
                for row, found in enumerate(properties):
                    found[target.name] = PropertyValue(
                        value=float(max(table[row, column], lowest)),
                        unit=target.unit,
                        level_of_theory=target.level_of_theory,
                    )
        provenance = Provenance(
            producer=self.name, version=self.version, weights_sha256=self.weights_sha256
        )
        return [
            Prediction(properties=found, provenance=provenance, notes=self.info().notes)
            for found in properties
        ]
