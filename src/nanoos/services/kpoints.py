"""K-point meshes of structures: predicted, and written into inputs."""

import uuid
from collections.abc import Sequence

from nanoos.core.errors import NanoosError
from nanoos.kpoints import (
    DEFAULT_CONFIDENCE,
    DEFAULT_MODEL,
    KpointModel,
    KpointModelInfo,
    KpointPrediction,
    kpoint_model,
    kpoint_models,
)
from nanoos.services.access import Principal
from nanoos.services.kpoint_inputs import EspressoInput, espresso_input
from nanoos.services.structures import StructureService
from nanoos.structures import Structure


class KpointService:
    """Everything that happens to k-point meshes. Thread-safe: keeps nothing.

    Args:
        structures: Says who may see which structure.
    """

    def __init__(self, structures: StructureService) -> None:
        self._structures = structures

    def models(self) -> list[KpointModelInfo]:
        """Every model, the default first; one that cannot predict here says why."""
        return kpoint_models()

    def structure(self, structure_id: uuid.UUID, who: Principal) -> Structure:
        """A stored structure. Raises NotFoundError where ``who`` sees none."""
        return self._structures.get(structure_id, who).structure

    def predict(
        self,
        structure: Structure,
        *,
        model_name: str = DEFAULT_MODEL,
        confidence: float = DEFAULT_CONFIDENCE,
    ) -> KpointPrediction:
        """Spacing, interval and mesh of a structure as it is.

        Args:
            structure: Anything that was checked.
            model_name: ``RF`` or ``ALIGNN``, in any case.
            confidence: A calibrated level.

        Raises:
            NotFoundError: no such model.
            UnavailableError: it cannot predict here.
            InvalidInputError: another level, or an element that the model does not know.
        """
        return kpoint_model(model_name).predict([structure], confidence=confidence)[0]

    def input(
        self,
        structure: Structure,
        *,
        model_name: str = DEFAULT_MODEL,
        confidence: float = DEFAULT_CONFIDENCE,
        family: str | None = None,
    ) -> tuple[KpointPrediction, EspressoInput]:
        """The prediction, and a complete pw.x input with its mesh.

        Raises:
            NotFoundError: no such model, or the pseudopotentials are not installed.
            UnavailableError: the model cannot predict here.
            InvalidInputError: as :meth:`predict`, or the family lacks an element.
        """
        found = self.predict(structure, model_name=model_name, confidence=confidence)
        return found, espresso_input(structure, found.mesh, family=family)


def predict_each(
    model: KpointModel, structures: Sequence[Structure], *, confidence: float
) -> list[KpointPrediction | NanoosError]:
    """A prediction or a refusal for each; one that fails never fails the rest."""
    try:
        return list(model.predict(structures, confidence=confidence))
    except NanoosError as error:
        if len(structures) == 1:
            return [error]
    return [predict_each(model, [one], confidence=confidence)[0] for one in structures]
