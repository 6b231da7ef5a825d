"""Which model answers ``nanoos predict``: of the code, or with the weights active on this machine."""

import difflib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nanoos.cli.render import say
from nanoos.core.errors import InvalidInputError, NanoosError, UnavailableError

if TYPE_CHECKING:
    from nanoos.models import ModelCatalog, PropertyModel
    from nanoos.services.model_registry import TrainedModel
    from nanoos.services.prediction_models import ActiveModels


def answering_model(
    name: str | None, wanted: Sequence[str] | None
) -> "tuple[PropertyModel, list[str]]":
    """The model named, or the best that is available for each property; and what it is asked for.

    Args:
        name: Of a model, or of a trained one in the laboratory.
        wanted: Properties; None or nothing for all.

    Raises:
        NotFoundError: no such model; the hint gives the nearest name.
        UnavailableError: it cannot predict here, or no model can.
        InvalidInputError: it does not predict one of ``wanted``; names the nearest.
    """
    catalog, named = _models()
    if name is None:
        able = list(catalog.defaults())
        if not able:
            raise UnavailableError("No model is available.", hint="pip install 'nanoos[ml]'")
        _check_known(wanted or (), able, "No model here predicts {!r}.")
        properties = list(dict.fromkeys(wanted or able))
        return catalog.best(properties), properties
    model = named(name)
    info = model.info()
    _check_known(wanted or (), info.supported_properties, info.name + " does not predict {!r}.")
    return model, list(dict.fromkeys(wanted or info.supported_properties))


def described_model(name: str) -> "PropertyModel":
    """A model whether it can predict here or not, or a trained one of the laboratory.

    Raises:
        NotFoundError: no such model; the hint gives the nearest name.
        UnavailableError: the weights of a trained one are gone.
    """
    from nanoos.models.registry import MODEL_REGISTRY

    catalog, named = _models()
    return catalog.get(name) if name in MODEL_REGISTRY else named(name)


def _check_known(wanted: Sequence[str], able: Sequence[str], message: str) -> None:
    for name in wanted:
        if name not in able:
            near = difflib.get_close_matches(name, able, n=1)
            meant = f"Did you mean {near[0]!r}? " if near else ""
            raise InvalidInputError(
                message.format(name), hint=f"{meant}There are: {', '.join(able)}."
            )


def known_models() -> "tuple[ModelCatalog, list[TrainedModel]]":
    """What there is: the models by name with the active weights, and those trained here."""
    active = _laboratory()
    if active is not None:
        try:
            return active.catalog(), active.trained()
        except NanoosError as error:
            _say_unread(error)
    from nanoos.models.registry import CATALOG

    return CATALOG, []


def _models() -> "tuple[ModelCatalog, Callable[[str], PropertyModel]]":
    """What answers by itself, and by name; a database is read only where there is one."""
    active = _laboratory()
    if active is not None:
        try:
            return active.catalog(), active.model
        except NanoosError as error:
            _say_unread(error)
    from nanoos.models.registry import CATALOG

    return CATALOG, CATALOG.usable


def _say_unread(error: NanoosError) -> None:
    say(f"The laboratory cannot be read, so models come as shipped: {error.message}")
    if error.hint:
        say(f"    {error.hint}")


def _laboratory() -> "ActiveModels | None":
    """The models of the configured laboratory; None where there is none yet."""
    from nanoos.config import load_settings
    from nanoos.potentials.installed_weights import set_weights_folder

    settings = load_settings()
    if settings.models_dir:
        set_weights_folder(settings.resolved_models_dir)
    embedded = settings.data_dir / "nanoos.db"
    if not settings.database_url and not embedded.exists():
        return None
    from nanoos.core.logs import configure_logging
    from nanoos.services.prediction_models import stored_models

    configure_logging(settings.log_level)  # unconfigured, warnings would stand in the JSON
    return stored_models(
        settings.resolved_database_url, settings.resolved_artifacts_url, settings.data_dir
    )
