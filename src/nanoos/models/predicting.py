"""Predicting many structures of which some cannot be predicted."""

from collections.abc import Sequence

from nanoos.core.errors import NanoosError
from nanoos.core.records import Prediction
from nanoos.models.base import PropertyModel
from nanoos.structures import Structure


def predict_each(
    model: PropertyModel, structures: Sequence[Structure], *, ids: Sequence[str] | None = None
) -> list[Prediction | NanoosError]:
    """A prediction or a refusal for each structure, in order; one that fails never fails the rest.

    A batch that fails is halved until what fails stands alone, so a few bad structures among
    many cost little.

    Args:
        model: Able to predict here.
        structures: Any number.
        ids: As :meth:`PropertyModel.predict`.
    """
    if not structures:
        return []
    try:
        return list(model.predict(structures, ids=ids))
    except Exception as error:  # noqa: BLE001 - foreign model code; one structure ends no batch
        if len(structures) == 1:
            return [_refusal(model, error)]
    middle = len(structures) // 2
    return [
        answer
        for part in (slice(None, middle), slice(middle, None))
        for answer in predict_each(model, structures[part], ids=None if ids is None else ids[part])
    ]


def _refusal(model: PropertyModel, error: Exception) -> NanoosError:
    if isinstance(error, NanoosError):
        return error
    text = str(error).strip().splitlines()
    return NanoosError(
        f"{model.info().name} failed: {type(error).__name__}: {text[0] if text else ''}",
        code="model_failed",
    )
